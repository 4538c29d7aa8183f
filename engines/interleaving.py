"""The interleaved rounds of one programme: who is alive together, in what order they have their turns, and when it is enough.

The variants are timed in blocks of a few processes, each block with the baseline and, once more, the baseline (the A/A control). A round gives
every process of its block one turn, in random order, while all others wait; what drifts (clocks, heat, other work) falls on all of them
alike. Numbers of rounds never occur twice, so that only figures of one round are ever paired. After some rounds all processes of a block are
launched anew: where a process happened to lay its memory makes it a little faster or slower for its whole life. Where two processes do
not fit into memory together they alternate: one loaded at a time, for a few turns.
"""

from __future__ import annotations

import math
import os
import platform
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from engines import probes, statistics
from engines.crew import Crew, Crowded
from engines.machinestate import Observer
from engines.programmes import Entrant, Programme
from engines.stopwatches import STEADY_ALLOCATOR, Stopwatch, StopwatchError
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import DONE, FAILED, RUNNING, RoundRow

ALL_MADE = "All rounds were made; more launches (measure.launches, measure.rounds, or measure.until_narrow) narrow the intervals."
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
        self.control = replace(self.baseline, name=f"{self.baseline.name} (again)", control=True)
        self.variants = [each for each in candidates if each != self.baseline]
        wanted = plan.get("measure", {})
        self.rounds, self.margin = int(wanted.get("rounds", 10)), float(wanted.get("margin", 0.02))
        self.launches = int(wanted.get("launches", 5))
        """Launches are the sample, rounds within one are not independent. Fewer are enough where every ratio is known closely by then."""
        self.limit = float(wanted.get("limit", 300.0))
        """Seconds that the rounds of all blocks together may take. How long models take to load says nothing of how closely they are known."""
        self.until_narrow = bool(wanted.get("until_narrow", False))
        self.measured: dict[Entrant, dict[int, dict[str, float]]] = {}
        """Figures of each round."""
        self.starts: list[int] = []
        """The first round of each launch."""
        self._n = 0
        """Rounds made so far, in all blocks."""
        self._ended: list[str] = []
        self._notes: dict[str, Any] = {}
        self._states: list[dict[str, Any]] = []
        device = programme.target.get("device") or plan.get("device", "cpu")
        self._observer, self._on_gpu = Observer(device), device.startswith(("auto", "cuda"))
        self._order = random.Random(experiment_id)
        self.crew = Crew(programme, self._observer, store.timing_log(experiment_id), self._check, tell)
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
                    commands.close_timing(self.store, timing_id, status, facts | {"absent": self.crew.absent})
        loading, warming, rounds = self.crew.spent.values()
        spent = f"Loading took {loading:.0f} s, warm-up {warming:.0f} s, the rounds {rounds:.0f} s."
        self._tell(f"{status}. {facts.get('reason') or facts['ended']} {spent}")
        return status

    def _time(self) -> tuple[str, dict[str, Any]]:
        blocks = []
        waiting = list(self.variants)
        while waiting and self.baseline.name not in self.crew.absent:
            group = self._next_group(waiting)
            try:
                (self._block if self.crew.room > 1 else self._alternate)(group)
            except Crowded as crowded:
                self.crew.room = crowded.room
                continue
            blocks.append([self.baseline.name, *(entrant.name for entrant in group)])
            waiting = [entrant for entrant in waiting if entrant not in group]
        if self.baseline not in self.measured or not self.measured.keys() - {self.baseline, self.control}:
            return FAILED, {"reason": "The baseline and another variant have to run on the target; see `absent`."}
        return DONE, {
            "states": self._states, "plans": {entrant.name: pace for entrant, pace in self.crew.paces.items()}, "rounds": self._n, "blocks": blocks,
            "launches": self.starts, "spent": self.crew.spent, "ended": " ".join(dict.fromkeys(self._ended)), "seed_of_order": self.experiment_id,
            "allocator": {"kept": STEADY_ALLOCATOR, "why": "memory is kept between steps, so that page faults do not depend on where tensors lie"},
        } | self._notes | ({"memory": self.crew.memory} if self.crew.memory else {})  # fmt: skip

    # --- who is alive together ------------------------------------------------------------------------------------------------------------

    def _next_group(self, waiting: Sequence[Entrant]) -> list[Entrant]:
        """Who is timed next beside the baseline: the control and as many variants as there is room for, blocks of about equal size."""
        if self.crew.room == 1:
            return [self.control, *waiting]
        if self.crew.room == 2:
            return [waiting[0] if self.control in self.measured or self.control.name in self.crew.absent else self.control]
        blocks = math.ceil(len(waiting) / (self.crew.room - 2))
        return [self.control, *waiting[: math.ceil(len(waiting) / blocks)]]

    # --- rounds -----------------------------------------------------------------------------------------------------------------------------

    def _block(self, group: Sequence[Entrant]) -> None:
        """The rounds of the baseline and a group, over several launches of their processes."""
        begun, first = dict(self.crew.spent), self._n
        for launch, rounds in enumerate(self._rounds_of_launches()):
            members = [entrant for entrant in (self.baseline, *group) if entrant.name not in self.crew.absent]
            with ExitStack() as stack:
                self._tell(f"Loading {len(members)} processes: {self.programme.what}.")
                watches = self.crew.launch(stack, members, first=launch == 0)
                for n in range(rounds):
                    if self.baseline not in watches or len(watches) < 2:
                        self._ended.append("The baseline failed." if self.baseline not in watches else "Only the baseline is left.")
                        return
                    if n == 0:
                        self.starts.append(self._n)
                    with self.crew.counted("rounds_s"):
                        self._look_around(len(watches))
                        self._round(watches)
                    if self._is_enough(begun, first, group, launch):
                        return
        self._ended.append(ALL_MADE)

    def _rounds_of_launches(self) -> Iterator[int]:
        """How many rounds each launch has: those that are planned and, where asked for, as many more of the same length as the limit allows."""
        planned = _parts(self.rounds, self.launches)
        yield from planned
        while self.until_narrow:
            yield planned[0]

    def _round(self, watches: dict[Entrant, Stopwatch]) -> None:
        """One turn each, in random order; stored when all have had theirs."""
        figures: dict[Entrant, dict[str, float]] = {}
        for entrant in self._order.sample(list(watches), len(watches)):
            self._check()
            try:
                figures[entrant] = self.crew.turn(entrant, watches[entrant])
            except StopwatchError as error:
                self.crew.leave_out(entrant, watches.pop(entrant), error)
        self._store(figures)

    def _alternate(self, group: Sequence[Entrant]) -> None:
        """The baseline and a group, one loaded at a time; each visit is a few turns, and the visits of one cycle are compared."""
        self._notes["alternated"] = "Two of these models do not fit into memory together: they were loaded one at a time, in turns."
        self._tell(self._notes["alternated"])
        begun, first = dict(self.crew.spent), self._n
        for cycle, rounds in enumerate(self._rounds_of_launches()):
            members = [entrant for entrant in (self.baseline, *group) if entrant.name not in self.crew.absent]
            self._look_around(0)
            visits = {entrant: self.crew.visit(entrant, rounds) for entrant in self._order.sample(members, len(members))}
            if not visits[self.baseline]:
                self._ended.append("The baseline failed.")
                return
            self.starts.append(self._n)
            for turn in range(rounds):
                self._store({entrant: figures[turn] for entrant, figures in visits.items() if turn < len(figures)})
            if self._is_enough(begun, first, group, cycle):
                return
        self._ended.append(ALL_MADE)

    def _store(self, figures: Mapping[Entrant, Mapping[str, float]]) -> None:
        """Put down one round, in the order in which the turns were had."""
        for entrant, found in figures.items():
            self.measured.setdefault(entrant, {})[self._n] = dict(found)
        for key, timing_id in self._ids.items():
            rows = [
                RoundRow(entrant.variant_id, self._n, position, found[key], entrant.control)
                for position, (entrant, found) in enumerate(figures.items())
                if key in found
            ]
            commands.put_rounds(self.store, timing_id, rows)
        self._n += 1

    def _look_around(self, alive: int) -> None:
        """What else the machine does: all our processes wait now."""
        self._states.append({"round": self._n} | self._observer.state(IDLE_SECONDS, alive if self._on_gpu else 0))

    # --- when it ends -------------------------------------------------------------------------------------------------------------------------

    def _is_enough(self, begun: Mapping[str, float], first: int, group: Sequence[Entrant], launch: int) -> bool:
        """Whether a block may end after this round. begun: what had been spent before the block; first: its first round.

        Raises Stopped where the session was called off in the store.
        """
        self._tell(f"Round {self._n}.")
        if not {session.id for session in queries.rounds(self.store, self.experiment_id, status=RUNNING)} & set(self._ids.values()):
            raise Stopped("Called off in the store.")
        if launch > 0 and self._is_known_closely(group):
            self._ended.append("Every ratio is known as closely as the margin.")
            return True
        # Every block has its share of the time, by its variants; one of the control alone counts as one.
        share = self.limit * max(1, sum(entrant in self.variants for entrant in group)) / len(self.variants)
        spent = {what: seconds - begun[what] for what, seconds in self.crew.spent.items()}
        # Fewer rounds would have been for nothing: no verdict stands on them.
        if self._n - first >= statistics.FEWEST_ROUNDS and spent["rounds_s"] > share:
            self._ended.append(f"The {share:.0f} s of its rounds were spent (measure.limit).")
            return True
        # Launches beyond those that the file names would not end where models load for longer than they are timed.
        if self.until_narrow and self._n - first >= max(self.rounds, statistics.FEWEST_ROUNDS) and sum(spent.values()) > share:
            self._ended.append(f"Its {share:.0f} s were spent on {self._n - first} rounds, the loading of models included (measure.limit).")
            return True
        return False

    def _is_known_closely(self, group: Iterable[Entrant]) -> bool:
        """Whether every interval is narrower than the margin. Its width decides, not its verdict: that would favour verdicts by chance."""
        for key in self._ids:
            base = self._figures(self.baseline, key)
            rows = [figures for entrant in group if entrant.name not in self.crew.absent and (figures := self._figures(entrant, key))]
            between = statistics.between_launches([statistics.paired(figures, base) for figures in rows], self.starts)
            for figures in rows:
                found = statistics.interleaved_ratio(figures, base, between)
                if not found.known or found.high / found.low > 1 + self.margin:
                    return False
        return True

    def _figures(self, entrant: Entrant, key: str) -> dict[int, float]:
        return {n: figures[key] for n, figures in self.measured.get(entrant, {}).items() if key in figures}

    def _check(self) -> None:
        reason = self._stop()
        if reason:
            raise Stopped(reason)


def _parts(whole: int, parts: int) -> list[int]:
    """A number in about equal parts, the larger ones first; none of them zero."""
    return [part for n in range(parts) if (part := whole // parts + (n < whole % parts))]
