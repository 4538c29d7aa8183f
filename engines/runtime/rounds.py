"""The cells of a study, timed: alternatives in interleaved rounds of random order, until the figures are known closely or the time is spent.

A group is built when the memory for it was found to suffice, its alternatives are run once and must agree, and are then timed. In each round
every alternative has one turn: one call that is not timed, which brings caches and threads back, then as many as a window holds. Nothing is
written, logged or collected inside a turn. Where the peak memory of a call is asked for, one call more is watched for it after the rounds.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from engines import probes
from engines.api import Cell, Group
from engines.machinestate import free_memory_mib
from engines.runtime import allocated
from engines.runtime.agreement import disagreement, tensors_of
from engines.runtime.clock import uncollected
from engines.runtime.failures import HOST_ALLOCATOR, ran_out
from engines.runtime.plan import threads_of
from engines.statistics import FEWEST_ROUNDS, median_interval

WINDOW_SECONDS = 0.0005
"""A turn lasts at least so long: thousands of ticks of the clock, and shorter than the slices (a few ms) in which a busy system lets processes
take turns. So most turns are not interrupted, and a median does not see those that are."""
WARM_SECONDS = 0.02
LONG_CALL_SECONDS = 0.1
"""A call of this length brings caches and threads back by itself: it is not preceded by one that is not timed."""
MOST_QUEUED = 100
"""Calls handed to a device without waiting for it: its queue has an end, at which handing over waits too."""
MOST_ROUNDS = 400
LOOKS = frozenset(round(8 * 1.5**k) for k in range(10))
"""Rounds after which it looks whether the figures are known closely: rarely, since each look is a bootstrap."""
NARROW = 1.02
"""An interval is known closely when its limits differ by 2%."""
ROOM = 0.8
"""Share of the free memory that a group may take."""
FAR = 16.0
"""How many times more work may be told from the last size; what takes microseconds says nothing about what takes seconds."""


class StudyError(RuntimeError):
    """A study that cannot be measured; the message is a sentence."""


class Stopped(Exception):
    """The study was told to end; the message says why."""


@dataclass
class Times:
    """Seconds of one call in each round, of every alternative of a group at one x (None: its steps)."""

    group: Group
    seconds: dict[str, list[float]]
    repeats: dict[str, int] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes that a call holds at most beyond what was there before it, where that was asked for."""
    facts: dict[str, dict[str, float]] = field(default_factory=dict)
    """What else the cells say of themselves."""


@dataclass(frozen=True)
class Left:
    """A cell that was left out, and why: the end of a sentence."""

    curve: str
    x: float | None
    why: str


@dataclass
class _Timed:
    cell: Cell
    call: Callable[[], Any]
    threads: int
    pace: float = 0.0
    repeats: int = 1
    facts: dict[str, float] = field(default_factory=dict)


class Rounds:
    """Times groups.

    seconds: time for each cell. seed: of the order. clock: seconds that only rise. stop: asked between turns, raises Stopped. tell: gets what
    goes on, one event each. room: free bytes of a device. memory: whether the peak memory of a call is measured too.
    """

    def __init__(
        self, seconds: float, *, seed: int = 0, clock: Callable[[], float] = time.perf_counter, stop: Callable[[], None] = lambda: None,
        tell: Callable[..., None] = lambda **event: None, room: Callable[[str], float] | None = None, memory: bool = False,
    ) -> None:  # fmt: skip
        self._memory = memory
        self.seconds, self._clock, self._stop, self._tell = seconds, clock, stop, tell
        self._room = room or free_bytes
        self._order = random.Random(seed)
        self._last: dict[str, tuple[float, float]] = {}
        self.left: list[Left] = []

    def run(self, groups: Sequence[Group]) -> Iterator[Times]:
        """The times of every group of which something could be measured, as soon as they are known."""
        total, done = sum(len(group.cells) for group in groups), 0
        for group in groups:
            self._stop()
            self._tell(event="progress", done=done, total=total, x=group.x, curves=[cell.curve for cell in group.cells])
            with torch.no_grad(), uncollected():
                times = self._group(group)
            if times is not None:
                yield times
            done += len(group.cells)
        self._tell(event="progress", done=done, total=total, x=None, curves=[])

    def _group(self, group: Group) -> Times | None:
        cells = [cell for cell in group.cells if self._in_time(group, cell)]
        cells = self._fitting(group, cells)
        if not cells:
            return None
        before = len(self.left)
        try:
            return self._measured(group, cells)
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            for cell in cells:
                if cell.curve not in {each.curve for each in self.left[before:]}:
                    self._leave(cell.curve, group.x, _words(error))
            return None

    def _measured(self, group: Group, cells: Sequence[Cell]) -> Times | None:
        timed = self._prepared(group, cells)
        if not timed:
            return None
        for each in timed:
            self._warm(each)
        seconds: dict[str, list[float]] = {each.cell.curve: [] for each in timed}
        start = self._clock()
        for n in range(1, MOST_ROUNDS + 1):
            for each in self._order.sample(timed, len(timed)):
                self._stop()
                seconds[each.cell.curve].append(self._turn(each))
            if self._clock() - start >= self.seconds * len(timed):
                break
            if n in LOOKS and all(_narrow(seconds[each.cell.curve]) for each in timed):
                break
        for each in timed:
            # The shortest: a larger size is left out for its own length, not for what else the machine does.
            self._last[each.cell.curve] = each.cell.work, min(seconds[each.cell.curve])
        repeats, facts = {each.cell.curve: each.repeats for each in timed}, {each.cell.curve: each.facts for each in timed}
        return Times(group, seconds, repeats, self._held(timed) if self._memory else {}, facts)

    def _held(self, timed: Sequence[_Timed]) -> dict[str, int]:
        """Peak bytes of one call of each."""
        held = {}
        for each in timed:
            self._stop()
            torch.set_num_threads(each.threads)
            held[each.cell.curve] = allocated.highest_of(each.call, torch.device(each.cell.device))
        return held

    # --- What can be measured ---------------------------------------------------------------------------------------------------------------

    def _in_time(self, group: Group, cell: Cell) -> bool:
        work, seconds = self._last.get(cell.curve, (0.0, 0.0))
        if group.x is None or not work or not cell.work or not 1.0 < cell.work / work <= FAR:
            return True
        expected = seconds * cell.work / work
        if expected * FEWEST_ROUNDS <= self.seconds:
            return True
        why = f"a call would take about {expected:.2g} s, too long for {FEWEST_ROUNDS} of them in seconds = {self.seconds:g}"
        self._leave(cell.curve, group.x, why)
        # Still larger ones are judged by it.
        self._last[cell.curve] = cell.work, expected
        return False

    def _fitting(self, group: Group, cells: Sequence[Cell]) -> list[Cell]:
        """Those for which there is memory, in their order."""
        room = {"cpu": ROOM * self._room("cpu") - group.host_bytes}
        fitting = []
        for cell in cells:
            room.setdefault(cell.device, ROOM * self._room(cell.device) if cell.device != "cpu" else room["cpu"])
            short = "cpu" if cell.host_bytes > room["cpu"] or room["cpu"] < 0 else cell.device if cell.device_bytes > room[cell.device] else ""
            if short:
                need = group.host_bytes + cell.host_bytes if short == "cpu" else cell.device_bytes
                where = "host memory" if short == "cpu" else f"memory of {short}"
                free = self._room(short) / 2**20
                self._leave(cell.curve, group.x, f"it needs {need / 2**20:,.0f} MiB of {where}, of which {free:,.0f} MiB are free")
                continue
            room["cpu"] -= cell.host_bytes
            if cell.device != "cpu":
                room[cell.device] -= cell.device_bytes
            fitting.append(cell)
        return fitting

    def _prepared(self, group: Group, cells: Sequence[Cell]) -> list[_Timed]:
        """The callables, run once each, whose results agree with the first's. Raises StudyError where they do not."""
        shared = group.build()
        timed, reference = [], None
        for cell in cells:
            self._stop()
            each = _Timed(cell, lambda: None, threads_of(cell.threads or None))
            torch.set_num_threads(each.threads)
            try:
                each.call = cell.build(shared)
                start = self._clock()
                found = each.call()
                _wait(cell)
                each.pace = self._clock() - start
            except (MemoryError, RuntimeError) as error:
                # Also what torch raises where a kernel does not exist for a type or a device.
                self._leave(cell.curve, group.x, _words(error))
                continue
            values = tensors_of(found)
            if reference is None:
                # A copy: alternatives may write into the same place.
                reference = cell.curve, [value.clone() for value in values]
            place = cell.curve + ("" if group.x is None else f" at {group.x:g}")
            if wrong := disagreement(place, values, *reference, group.tolerance if cell.tolerance is None else cell.tolerance):
                raise StudyError(wrong)
            if cell.facts is not None:
                each.facts = dict(cell.facts(each.call))
            timed.append(each)
        return timed

    def _leave(self, curve: str, x: float | None, why: str) -> None:
        self.left.append(Left(curve, x, why))
        self._tell(event="left", curve=curve, x=x, why=why)

    # --- Timing -----------------------------------------------------------------------------------------------------------------------------

    def _warm(self, each: _Timed) -> None:
        """Run it until it is warm, and find how many calls fill a window."""
        torch.set_num_threads(each.threads)
        # The first call, which compared values, met cold memory. One that took long is not made again for that.
        if each.pace < LONG_CALL_SECONDS:
            start, calls, spent = self._clock(), 0, 0.0
            while calls < 2 or spent < WARM_SECONDS:
                self._stop()
                each.call()
                _wait(each.cell)
                calls += 1
                spent = self._clock() - start
            each.pace = spent / calls
        each.repeats = max(1, math.ceil(WINDOW_SECONDS / max(each.pace, 1e-7)))
        if not each.cell.wait:
            each.repeats = min(each.repeats, MOST_QUEUED)

    def _turn(self, each: _Timed) -> float:
        """Seconds of one call, as the mean over a window."""
        torch.set_num_threads(each.threads)
        call, cell, repeats, clock = each.call, each.cell, range(each.repeats), self._clock
        if each.pace < LONG_CALL_SECONDS:
            call()
            _wait(cell)
        if cell.device == "cpu" or not cell.wait:
            start = clock()
            for _ in repeats:
                call()
            spent = clock() - start
            _wait(cell, always=True)
        else:
            start = clock()
            for _ in repeats:
                call()
                _wait(cell)
            spent = clock() - start
        return spent / each.repeats


def free_bytes(device: str) -> float:
    """Memory that is free on the host ("cpu") or on a CUDA device."""
    if device == "cpu":
        return free_memory_mib() * probes.MIB
    place = torch.device(device)
    # What torch keeps of the device without using it is there for the next tensor.
    kept = torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
    return float(torch.cuda.mem_get_info(place)[0] + kept)


def _words(error: Exception) -> str:
    """Why a cell is left out: the end of a sentence."""
    first = next(iter(str(error).splitlines()), "").rpartition(f"{HOST_ALLOCATOR}: ")[2] or type(error).__name__
    return f"the memory ran out ({first})" if ran_out(error) else f"torch cannot do it here ({first})"


def _narrow(seconds: Sequence[float]) -> bool:
    found = median_interval([math.log(value) for value in seconds])
    return found.known and found.high - found.low <= math.log(NARROW)


def _wait(cell: Cell, *, always: bool = False) -> None:
    if cell.device.startswith("cuda") and (cell.wait or always):
        torch.cuda.synchronize(torch.device(cell.device))
