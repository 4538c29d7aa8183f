"""A timing session: the finished variants of an experiment, timed in interleaved rounds.

    python -m engines.timing --store URL --experiment ID

Every variant lives in a process of its own, the baseline in two (the second is the A/A control). Each round gives every process one turn, in
random order, while all others wait; so what drifts (clocks, heat, other work) falls on all of them alike. A lock makes it the only timing on
this machine, whatever the store. It ends when every ratio is known as closely as the margin asks, after `measure.rounds` rounds, or when its
time is spent. No torch here, and nothing is written while a process has its turn.
"""

from __future__ import annotations

import argparse
import math
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout

from engines import probes, statistics
from engines.stopwatches import Stopwatch, StopwatchError
from engines.store import commands, queries
from engines.store.address import store_url, user_folder
from engines.store.database import Store, StoreError
from engines.store.rows import CANCELLED, DONE, FAILED, RoundRow, RunRow

QUANTITIES = {"speed/infer_tokens_per_s": ("tokens/s", "higher"), "latency/p50_ms": ("ms", "lower"), "latency/p95_ms": ("ms", "lower")}
STEPS = 100
"""Next-token steps in a turn, fewer where they would take longer than the window."""
BUDGET_SECONDS = 300.0
"""How long the rounds of one target may take."""
LOOK_SECONDS = 0.5
CANCELLED_EXIT = 130


@dataclass(frozen=True)
class Entrant:
    """A process to be timed: a variant's finished model, or the baseline's once more."""

    name: str
    variant_id: int
    folder: Path
    control: bool = False


class Stopped(Exception):  # noqa: N818 (no error)
    """The session was told to end."""


def is_due(store: Store, experiment_id: int) -> bool:
    """Whether all runs of an experiment have ended, there is something to compare, and nobody has timed it or is timing it."""
    runs = queries.runs(store, experiment_id)
    if not runs or any(run.smoke or not run.over for run in runs) or queries.rounds(store, experiment_id, status=None):
        return False
    return len(entrants(store, experiment_id)) > 1


def entrants(store: Store, experiment_id: int) -> list[Entrant]:
    """Who would be timed: each variant with a finished model, all of the lowest seed that the baseline has; empty without a baseline."""
    finished: dict[int, dict[int, RunRow]] = {}
    for run in queries.runs(store, experiment_id, status=DONE):
        if (_model(store, run) / "plan.json").exists():
            finished.setdefault(run.variant_id, {})[run.seed] = run
    variants = queries.variants(store, experiment_id)
    baseline = next((variant for variant in variants if variant.baseline), None)
    if baseline is None or baseline.id not in finished:
        return []
    seed = min(finished[baseline.id])
    found = []
    for variant in variants:
        runs = finished.get(variant.id)
        if runs:
            found.append(Entrant(variant.name, variant.id, _model(store, runs.get(seed) or runs[min(runs)])))
    return found


def measure(store: Store, experiment_id: int, *, stop: Callable[[], str] = lambda: "", tell: Callable[[str], None] = lambda sentence: None) -> str:
    """Time an experiment on each of its targets; returns done, failed or cancelled.

    stop: asked between turns; a non-empty answer says why and ends the session as cancelled. tell: gets sentences about what goes on.
    """
    candidates = entrants(store, experiment_id)
    if len(candidates) < 2:
        tell("There are no two finished variants to time.")
        return FAILED
    plan = next(variant.plan for variant in queries.variants(store, experiment_id) if variant.baseline)
    outcomes = []
    try:
        with _machine_lock(stop, tell):
            for target in plan.get("targets") or [{}]:
                outcomes.append(Session(store, experiment_id, candidates, plan, target, stop, tell).run())
    except Stopped as reason:
        tell(str(reason))
        outcomes.append(CANCELLED)
    return next((outcome for outcome in (CANCELLED, FAILED) if outcome in outcomes), DONE)


class Session:
    """The rounds on one target; a row of the store for each quantity. candidates: the baseline is that of the first variant marked so."""

    def __init__(
        self, store: Store, experiment_id: int, candidates: Sequence[Entrant], plan: Mapping[str, Any], target: Mapping[str, Any],
        stop: Callable[[], str], tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.store, self.experiment_id, self.target, self._stop, self._tell = store, experiment_id, target, stop, tell
        baseline = next(variant.id for variant in queries.variants(store, experiment_id) if variant.baseline)
        again = next(each for each in candidates if each.variant_id == baseline)
        self.entrants = [*candidates, Entrant(f"{again.name} (again)", again.variant_id, again.folder, control=True)]
        self.baseline = again
        wanted = plan.get("measure", {})
        self.rounds, self.window = int(wanted.get("rounds", 10)), float(wanted.get("seconds", 1.0))
        self.margin = float(wanted.get("margin", 0.02))
        self.measured: dict[Entrant, list[dict[str, float]]] = {}
        self.absent: dict[str, str] = {}
        self._order = random.Random(experiment_id)

    def run(self) -> str:
        """Returns done, failed or cancelled; the store says the same."""
        name = self.target.get("name", "")
        facts = {"window_seconds": self.window, "target": dict(self.target)}
        ids = {
            key: commands.open_timing(self.store, self.experiment_id, name, key, facts | {"unit": unit, "better": better})
            for key, (unit, better) in QUANTITIES.items()
        }
        status, more = FAILED, {"reason": "The timing process ended early."}
        try:
            status, more = self._time(ids)
        except Stopped as reason:
            status, more = CANCELLED, {"reason": str(reason)}
        finally:
            for timing_id in ids.values():
                commands.close_timing(self.store, timing_id, status, more | {"absent": self.absent})
        self._tell(f"{status}. {more.get('reason', '')}".strip())
        return status

    def _time(self, ids: Mapping[str, int]) -> tuple[str, dict[str, Any]]:
        log = Path(self.store.folder) / "timing" / f"experiment-{self.experiment_id}.log"
        with ExitStack() as stack:
            self._tell(f"Loading {len(self.entrants)} models.")
            watches = {entrant: stack.enter_context(Stopwatch(entrant.folder, self.target, log)) for entrant in self.entrants}
            plans = {entrant: plan for entrant in self.entrants if (plan := self._warm(entrant, watches[entrant])) is not None}
            for entrant in self.entrants:
                if entrant not in plans:
                    del watches[entrant]
            if self.baseline not in plans or len({entrant.variant_id for entrant in plans}) < 2:
                return FAILED, {"reason": "The baseline and another variant have to run on the target; see `absent`."}
            # All processes wait now: what is measured here is what else the machine does.
            probes.load_facts()
            time.sleep(LOOK_SECONDS)
            facts = {"load": probes.load_facts(), "plans": {entrant.name: plan for entrant, plan in plans.items()}}
            done, why = self._rounds(ids, watches, plans)
        return (DONE if done else FAILED), facts | {"rounds": done, "ended": why, "seed_of_order": self.experiment_id}

    def _warm(self, entrant: Entrant, watch: Stopwatch) -> dict[str, Any] | None:
        """What a turn of this entrant consists of; None where it cannot be timed here."""
        self._check()
        try:
            watch.loaded()
            pace = watch.ask(warm=True)
        except StopwatchError as error:
            self._leave_out(entrant, error)
            return None
        passes = max(1, math.ceil(self.window / max(pace["pass_seconds"], 1e-6)))
        steps = max(10, min(STEPS, math.ceil(self.window / max(pace["step_seconds"], 1e-6))))
        return pace | {"passes": passes, "steps": steps}

    def _rounds(self, ids: Mapping[str, int], watches: dict[Entrant, Stopwatch], plans: Mapping[Entrant, Mapping[str, Any]]) -> tuple[int, str]:
        """(rounds made, why no more)."""
        start = time.monotonic()
        for n in range(self.rounds):
            self._round(n, ids, watches, plans)
            if self.baseline not in watches:
                return n, "The baseline failed."
            self._tell(f"Round {n + 1} of at most {self.rounds}.")
            if self._is_known_closely():
                return n + 1, "Every ratio is known as closely as the margin."
            if time.monotonic() - start > BUDGET_SECONDS:
                return n + 1, f"{BUDGET_SECONDS:.0f} s were spent."
        return self.rounds, "All rounds were made."

    def _round(self, n: int, ids: Mapping[str, int], watches: dict[Entrant, Stopwatch], plans: Mapping[Entrant, Mapping[str, Any]]) -> None:
        """One turn each, in random order; stored when all have had theirs."""
        order = self._order.sample(list(watches), len(watches))
        rows: dict[str, list[RoundRow]] = {key: [] for key in ids}
        for position, entrant in enumerate(order):
            self._check()
            try:
                figures = watches[entrant].ask(passes=plans[entrant]["passes"], steps=plans[entrant]["steps"])
            except StopwatchError as error:
                self._leave_out(entrant, error)
                del watches[entrant]
                continue
            self.measured.setdefault(entrant, []).append(figures)
            for key in ids:
                rows[key].append(RoundRow(entrant.variant_id, n, position, figures[key], entrant.control))
        for key, timing_id in ids.items():
            commands.put_rounds(self.store, timing_id, rows[key])

    def _is_known_closely(self) -> bool:
        """Whether every interval is narrower than the margin. Its width decides, not its verdict: that would favour verdicts by chance."""
        base = self.measured[self.baseline]
        for entrant, figures in self.measured.items():
            if entrant == self.baseline or len(figures) != len(base):
                continue
            for key in QUANTITIES:
                found = statistics.median_ratio([each[key] for each in figures], [each[key] for each in base])
                if not found.known or found.high / found.low > 1 + self.margin:
                    return False
        return True

    def _leave_out(self, entrant: Entrant, error: StopwatchError) -> None:
        self.absent[entrant.name] = str(error)
        self._tell(f"{entrant.name} is not timed: {error}")

    def _check(self) -> None:
        reason = self._stop()
        if reason:
            raise Stopped(reason)


@contextmanager
def _machine_lock(stop: Callable[[], str], tell: Callable[[str], None]) -> Iterator[None]:
    """Held by the one timing session of this machine and user, across stores. Others wait and say so. Raises Stopped."""
    path = user_folder() / "timing.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    told = False
    while True:
        try:
            lock.acquire(timeout=LOOK_SECONDS)
            break
        except Timeout:
            if not told:
                told = True
                tell(f"Another timing session runs on this machine; waiting for {path}.")
            if reason := stop():
                raise Stopped(reason) from None
    try:
        yield
    finally:
        lock.release()


def _model(store: Store, run: RunRow) -> Path:
    return Path(store.folder) / "runs" / str(run.id) / "model"


def main(argv: list[str] | None = None) -> int:
    """Time one experiment. Ends cleanly on Ctrl+C and SIGTERM, and when its standard input, held by who started it, ends."""
    parser = argparse.ArgumentParser(prog="engines.timing", description="Times the finished variants of an experiment in interleaved rounds.")
    parser.add_argument("--store", default=None, help="SQLAlchemy URL of the store")
    parser.add_argument("--experiment", type=int, required=True)
    parser.add_argument("--attached", action="store_true", help="end with the standard input")
    arguments = parser.parse_args(argv)
    reasons: list[str] = []

    def end(number: int, frame: FrameType | None) -> None:
        reasons.append(f"Told to end ({signal.Signals(number).name}).")

    def follow_input() -> None:
        sys.stdin.read()
        reasons.append("Who started the timing is gone.")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if arguments.attached:
        threading.Thread(target=follow_input, name="input", daemon=True).start()
    try:
        store = Store.open(store_url(arguments.store))
        try:
            outcome = measure(store, arguments.experiment, stop=lambda: reasons[0] if reasons else "", tell=_say)
        finally:
            store.close()
    except StoreError as error:
        _say(str(error))
        return 1
    return {DONE: 0, CANCELLED: CANCELLED_EXIT}.get(outcome, 1)


def _say(sentence: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
