"""Energy of work above that of the idle device, with bounds, from counters of the hardware (`engines.meters`). No torch, no estimate.

    meter = meter_of("cuda:0")               # raises NotMeasurable with the reason
    idle = rest(meter)                       # two seconds in which nothing of ours runs
    tally = Tally(meter, idle)
    tally.start(tokens); ...; tally.stop(tokens)
    tally.figure().joules_per_token          # above idle, with bounds

A counter belongs to a whole device: what other programs use while it counts is in the figure, which is why idle power is measured just before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from engines import probes
from engines.meters import POWERCAP, GpuMeter, Meter, NotMeasurable, Rapl

SHORTEST_SECONDS = 2.0
"""Counters move every 1 to 100 ms: a shorter window says little."""
NOTE_SECONDS = 60.0
"""How often a long window is read, so that no counter runs over twice between two reads."""
BUSY_PERCENT = 10.0
"""More of the device than this in use while everything of ours rests is other work, whose energy cannot be told from ours."""
_PROBE_SECONDS = 0.5
_PROBE_STEP = 0.001


@dataclass(frozen=True)
class Idle:
    """What the device uses while we rest. interval: seconds between two moves of the counter, the longest that was seen."""

    watts: float
    seconds: float
    interval: float


def rest(
    meter: Meter, seconds: float = SHORTEST_SECONDS, *, clock: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep
) -> Idle:
    """Measure idle power; the caller does nothing meanwhile. Raises NotMeasurable where the counter stands still or others are at work."""
    meter.busy_percent()
    before, start = meter.joules(), clock()
    sleep(seconds)
    used, took = meter.joules() - before, clock() - start
    busy = meter.busy_percent()
    if busy > BUSY_PERCENT:
        raise NotMeasurable(f"other work used {busy:.0f}% of the device while idle power was measured")
    return Idle(used / took, took, _interval(meter, clock, sleep))


def _interval(meter: Meter, clock: Callable[[], float], sleep: Callable[[float], None]) -> float:
    """The longest time between two moves of the counter, looked for half a second."""
    start = clock()
    last, moves = meter.joules(), []
    while clock() - start < _PROBE_SECONDS:
        sleep(_PROBE_STEP)
        now = meter.joules()
        if now != last:
            last = now
            moves.append(clock())
    if len(moves) < 3:
        raise NotMeasurable(f"the energy counter moved fewer than three times in {_PROBE_SECONDS} s: it is too slow, or stands still")
    return max(later - earlier for earlier, later in pairwise(moves))


@dataclass(frozen=True)
class Energy:
    """What was used in one or several windows. joules: all of it, idle included; tokens: worked through in the windows."""

    joules: float
    seconds: float
    windows: int
    tokens: int
    idle: Idle

    @property
    def above_idle(self) -> float:
        """Joules beyond what the idle device would have used."""
        return self.joules - self.idle.watts * self.seconds

    @property
    def uncertainty(self) -> float:
        """Joules by which `above_idle` may be wrong: at either end of a window, and of the idle window, the counter lags up to one move."""
        lag = self.windows * self.idle.interval * self.joules / self.seconds
        return lag + self.idle.watts * self.idle.interval / self.idle.seconds * self.seconds

    @property
    def joules_per_token(self) -> float:
        return self.above_idle / self.tokens

    def facts(self) -> dict[str, float]:
        return {
            "joules": self.joules, "above_idle_joules": self.above_idle, "uncertainty_joules": self.uncertainty, "seconds": self.seconds,
            "windows": self.windows, "tokens": self.tokens, "idle_watts": self.idle.watts, "counter_interval_s": self.idle.interval,
        }  # fmt: skip


class Tally:
    """Adds up the energy of windows of work. The counter is read at the ends of a window, and once a minute inside a long one.

    A counter that stops answering disturbs no work: `figure` tells.
    """

    def __init__(self, meter: Meter, idle: Idle, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.meter, self._idle, self._clock = meter, idle, clock
        self._last, self._broken = 0.0, ""
        self._joules = self._seconds = 0.0
        self._windows = self._tokens = 0
        self._began: tuple[float, float, int] | None = None
        self._noted = clock()

    def start(self, tokens: int) -> None:
        """A window begins; tokens: worked through so far."""
        self._began = self._read(), self._clock(), tokens
        self._noted = self._began[1]

    def note(self) -> None:
        """Inside a window, as often as one likes."""
        if self._clock() - self._noted > NOTE_SECONDS:
            self._read()
            self._noted = self._clock()

    def stop(self, tokens: int) -> None:
        """The window ends; one in which nothing was worked through is left out."""
        if self._began is None:
            return
        joules, moment, before = self._began
        self._began = None
        if tokens > before:
            self._joules += self._read() - joules
            self._seconds += self._clock() - moment
            self._tokens += tokens - before
            self._windows += 1

    def figure(self) -> Energy:
        """What the closed windows used. Raises NotMeasurable where that is too short or too little for the counter."""
        if self._broken:
            raise NotMeasurable(self._broken)
        if self._seconds < SHORTEST_SECONDS:
            raise NotMeasurable(f"it took {self._seconds:.1f} s, and a window needs {SHORTEST_SECONDS:g} s")
        found = Energy(self._joules, self._seconds, self._windows, self._tokens, self._idle)
        if found.above_idle <= found.uncertainty:
            raise NotMeasurable(f"it used {found.above_idle:.3g} J above idle, which its counter cannot tell from {found.uncertainty:.2g} J")
        return found

    def _read(self) -> float:
        try:
            self._last = self.meter.joules()
        except NotMeasurable as error:
            self._broken = str(error)
        return self._last


def survey(gpus: probes.Gpus | None = None, folder: Path = POWERCAP) -> list[tuple[str, bool, str]]:
    """(device, whether its energy can be measured, what counts it or why not), for every device of this machine."""
    gpus = gpus or probes.Gpus()
    found = []
    for name, make in [("cpu", lambda: Rapl(folder)), *((f"gpu {gpu.index}", _maker(gpus, gpu.index)) for gpu in gpus.found)]:
        try:
            found.append((name, True, f"counted by {make().scope}"))
        except NotMeasurable as error:
            found.append((name, False, f"not measurable on this machine: {error}"))
    return found


def _maker(gpus: probes.Gpus, index: int) -> Callable[[], Meter]:
    return lambda: GpuMeter(gpus, index)
