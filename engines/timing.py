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
import os
import platform
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from engines import probes, statistics
from engines.stopwatches import Stopwatch, StopwatchError
from engines.store import commands, queries
from engines.store.address import store_url
from engines.store.database import Store, StoreError
from engines.store.rows import CANCELLED, DONE, FAILED, LOST, RUNNING, RoundRow
from engines.timetable import ORPHANED, POSTPONED, QUANTITIES, Entrant, close, entrants
from engines.timinglock import machine_to_ourselves

STEPS = 100
"""Next-token steps in a turn, fewer where they would take longer than the window."""
BUDGET_SECONDS = 300.0
"""How long the rounds of one target may take."""
LOOK_SECONDS = 0.5
CANCELLED_EXIT = 130


class Stopped(Exception):
    """The session was told to end."""


def measure(store: Store, experiment_id: int, *, stop: Callable[[], str] = lambda: "", tell: Callable[[str], None] = lambda sentence: None) -> str:
    """Time an experiment on each of its targets; returns done, failed or cancelled.

    stop: asked between turns; a non-empty answer says why and ends the session as cancelled. tell: gets sentences about what goes on.
    """
    candidates = entrants(store, experiment_id)
    if len(candidates) < 2:
        tell("There are no two finished variants to time.")
        return FAILED
    plan = next(variant.plan for variant in queries.variants(store, experiment_id) if variant.baseline)
    known = len(queries.rounds(store, experiment_id, status=None))
    try:
        with _machine_lock(stop, tell):
            if len(queries.rounds(store, experiment_id, status=None)) > known:
                raise Stopped("Called off while it waited for another session.")
            if queries.experiment(store, experiment_id).deleted is not None:
                raise Stopped("The experiment was deleted.")
            # All are open before the first begins: between two targets nobody may take the experiment for timed.
            sessions = [Session(store, experiment_id, candidates, plan, target, stop, tell) for target in plan.get("targets") or [{}]]
            outcomes = [session.run() for session in sessions]
    except Stopped as reason:
        # Nobody called it off where its supervisor went or runs came: it may be made anew.
        close(store, experiment_id, LOST if str(reason) in (ORPHANED, POSTPONED) else CANCELLED, str(reason))
        tell(f"Cancelled. {reason}")
        return CANCELLED
    return FAILED if FAILED in outcomes else DONE


class Session:
    """The rounds on one target; a row of the store for each quantity, open from the start."""

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
        self.loads: list[dict[str, float]] = []
        """What else the machine did before each round."""
        self._order = random.Random(experiment_id)
        process = {"host": platform.node(), "pid": os.getpid(), "started": probes.started(os.getpid())}
        facts = {"window_seconds": self.window, "target": dict(target), "process": process}
        self._ids = {
            key: commands.open_timing(store, experiment_id, target.get("name", ""), key, facts | {"unit": unit, "better": better})
            for key, (unit, better) in QUANTITIES.items()
        }

    def run(self) -> str:
        """Returns done or failed; the store says the same. Raises Stopped, with the session still open."""
        status, facts = FAILED, {"reason": "It ended with an error; its log says which."}
        try:
            status, facts = self._time()
        except Stopped:
            status = ""
            raise
        finally:
            if status:
                for timing_id in self._ids.values():
                    commands.close_timing(self.store, timing_id, status, facts | {"absent": self.absent})
        self._tell(f"{status}. {facts.get('reason') or facts['ended']}")
        return status

    def _time(self) -> tuple[str, dict[str, Any]]:
        runtime = self.target.get("runtime") or "torch"
        if runtime != "torch":
            # Plain torch timed under another runtime's name would be a wrong figure; an ended session keeps it from being due again.
            return FAILED, {"reason": f'Target "{self.target.get("name", "")}": runtime {runtime} is not run by this version; nothing was timed.'}
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
            done, why = self._rounds(watches, plans)
        facts = {
            "load": max(self.loads, key=lambda load: load["machine_percent"]), "loads": self.loads, "plans": {e.name: p for e, p in plans.items()},
            "rounds": done, "ended": why, "seed_of_order": self.experiment_id,
        }  # fmt: skip
        return (DONE if done else FAILED), facts

    def _look_around(self) -> None:
        """What else the machine does: all our processes wait now."""
        probes.load_facts()
        time.sleep(LOOK_SECONDS)
        self.loads.append(probes.load_facts())

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

    def _rounds(self, watches: dict[Entrant, Stopwatch], plans: Mapping[Entrant, Mapping[str, Any]]) -> tuple[int, str]:
        """(rounds made, why no more)."""
        start = time.monotonic()
        for n in range(self.rounds):
            self._look_around()
            self._round(n, watches, plans)
            if self.baseline not in watches:
                return n, "The baseline failed."
            self._tell(f"Round {n + 1} of at most {self.rounds}.")
            if not {session.id for session in queries.rounds(self.store, self.experiment_id, status=RUNNING)} & set(self._ids.values()):
                raise Stopped("Called off in the store.")
            if self._is_known_closely():
                return n + 1, "Every ratio is known as closely as the margin."
            if time.monotonic() - start > BUDGET_SECONDS:
                return n + 1, f"{BUDGET_SECONDS:.0f} s were spent."
        return self.rounds, "All rounds were made."

    def _round(self, n: int, watches: dict[Entrant, Stopwatch], plans: Mapping[Entrant, Mapping[str, Any]]) -> None:
        """One turn each, in random order; stored when all have had theirs."""
        order = self._order.sample(list(watches), len(watches))
        rows: dict[str, list[RoundRow]] = {key: [] for key in self._ids}
        for position, entrant in enumerate(order):
            self._check()
            try:
                figures = watches[entrant].ask(passes=plans[entrant]["passes"], steps=plans[entrant]["steps"])
            except StopwatchError as error:
                self._leave_out(entrant, error)
                del watches[entrant]
                continue
            self.measured.setdefault(entrant, []).append(figures)
            for key in self._ids:
                rows[key].append(RoundRow(entrant.variant_id, n, position, figures[key], entrant.control))
        for key, timing_id in self._ids.items():
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
    """The lock of the machine. Who waits for another session says so once. Raises Stopped."""
    told = False

    def wait(path: Path) -> None:
        nonlocal told
        if not told:
            told = True
            tell(f"Another timing session runs on this machine; waiting for {path}.")
        if reason := stop():
            raise Stopped(reason)

    with machine_to_ourselves(LOOK_SECONDS, wait):
        yield


def main(argv: list[str] | None = None) -> int:
    """Time one experiment. Ends cleanly on Ctrl+C and SIGTERM, and when its standard input, held by who started it, ends.

    What the input said until then is the reason.
    """
    parser = argparse.ArgumentParser(prog="engines.timing", description="Times the finished variants of an experiment in interleaved rounds.")
    parser.add_argument("--store", default=None, help="SQLAlchemy URL of the store")
    parser.add_argument("--experiment", type=int, required=True)
    parser.add_argument("--attached", action="store_true", help="end with the standard input")
    arguments = parser.parse_args(argv)
    reasons: list[str] = []

    def end(number: int, frame: FrameType | None) -> None:
        reasons.append(f"Told to end ({signal.Signals(number).name}).")

    def follow_input() -> None:
        reasons.append(sys.stdin.read().strip() or ORPHANED)

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
