"""The interleaved rounds of one programme: who is alive together, in what order they have their turns, and when it is enough.

The variants are timed in blocks of a few processes, each block with the baseline and, once more, the baseline (the A/A control). A round gives
every process of its block one turn, in random order, while all others wait; what drifts (clocks, heat, other work) falls on all of them
alike. Numbers of rounds never occur twice, so that only figures of one round are ever paired. After some rounds all processes of a block are
started anew: where a process happened to lay its memory makes it a little faster or slower for its whole life. Where two processes do
not fit into memory together, they alternate: one loaded at a time, a few turns each.
"""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engines import probes, statistics
from engines.programmes import Entrant, Programme
from engines.stopwatches import Stopwatch, StopwatchError
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import DONE, FAILED, RUNNING, RoundRow

MOST_ALIVE = 6
"""Processes of a block, baseline and control among them."""
BUDGET_SECONDS = 300.0
"""How long the rounds of one programme may take."""
IDLE_SECONDS = 0.25
"""How long it looks, before each round, at what else the machine does."""


class Stopped(Exception):
    """The session was told to end."""


class Session:
    """The rounds of one programme; a row of the store for each quantity, open from the start."""

    def __init__(
        self, store: Store, experiment_id: int, candidates: Sequence[Entrant], plan: Mapping[str, Any], programme: Programme,
        stop: Callable[[], str], tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.store, self.experiment_id, self.programme, self._stop, self._tell = store, experiment_id, programme, stop, tell
        baseline = next(variant.id for variant in queries.variants(store, experiment_id) if variant.baseline)
        self.baseline = next(each for each in candidates if each.variant_id == baseline)
        again = self.baseline
        self.entrants = [*candidates, Entrant(f"{again.name} (again)", again.variant_id, again.folder, True, again.seed, again.teachers)]
        wanted = plan.get("measure", {})
        self.rounds, self.margin = int(wanted.get("rounds", 10)), float(wanted.get("margin", 0.02))
        self.measured: dict[Entrant, list[dict[str, float]]] = {}
        self.absent: dict[str, str] = {}
        self.loads: list[dict[str, float]] = []
        """What else the machine did before each round."""
        self._order = random.Random(experiment_id)
        process = {"host": platform.node(), "pid": os.getpid(), "started": probes.started(os.getpid())}
        facts = {"what": programme.what, "windows": dict(programme.windows), "target": dict(programme.target), "process": process}
        self._ids = {
            key: commands.open_timing(store, experiment_id, programme.name, key, facts | {"unit": unit, "better": better})
            for key, (unit, better) in programme.quantities.items()
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
        log = Path(self.store.folder) / "timing" / f"experiment-{self.experiment_id}.log"
        with ExitStack() as stack:
            self._tell(f"Loading {len(self.entrants)} processes: {self.programme.what}.")
            watches = {entrant: stack.enter_context(Stopwatch(self.programme.arguments(entrant), log)) for entrant in self.entrants}
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
        time.sleep(IDLE_SECONDS)
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
        for key, sentence in pace.pop("absent", {}).items():
            self.absent[f"{entrant.name}: {key}"] = sentence
        return pace | {"counts": self.programme.counts(pace["seconds"])}

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
                figures = watches[entrant].ask(turn=plans[entrant]["counts"])
            except StopwatchError as error:
                self._leave_out(entrant, error)
                del watches[entrant]
                continue
            self.measured.setdefault(entrant, []).append(figures)
            for key in self._ids.keys() & figures.keys():
                rows[key].append(RoundRow(entrant.variant_id, n, position, figures[key], entrant.control))
        for key, timing_id in self._ids.items():
            commands.put_rounds(self.store, timing_id, rows[key])

    def _is_known_closely(self) -> bool:
        """Whether every interval is narrower than the margin. Its width decides, not its verdict: that would favour verdicts by chance."""
        base = self.measured[self.baseline]
        for entrant, figures in self.measured.items():
            if entrant == self.baseline or len(figures) != len(base):
                continue
            for key in self._ids:
                pairs = [(own[key], other[key]) for own, other in zip(figures, base, strict=True) if key in own and key in other]
                if not pairs:
                    continue
                found = statistics.median_ratio([own for own, _ in pairs], [other for _, other in pairs])
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
