"""Energy from counters of the hardware: NVML's of a GPU, RAPL's of a processor on Linux. No torch, no estimate from data sheets.

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
from typing import Protocol

import psutil

from engines import probes

POWERCAP = Path("/sys/class/powercap")
SHORTEST_SECONDS = 2.0
"""Counters move every 1 to 100 ms: a shorter window says little."""
NOTE_SECONDS = 60.0
"""How often a long window is read, so that no counter runs over twice between two reads."""
BUSY_PERCENT = 10.0
"""More of the device than this in use while everything of ours rests is other work, whose energy cannot be told from ours."""
_PROBE_SECONDS = 0.5
_PROBE_STEP = 0.001


class NotMeasurable(Exception):
    """Energy cannot be measured here and now; the message says why, as a clause without a full stop."""


class Meter(Protocol):
    """A counter of one device."""

    scope: str
    """What it counts, for people."""

    def joules(self) -> float:
        """Energy since the meter was made; never falls. Raises NotMeasurable where the counter does not answer any more."""

    def busy_percent(self) -> float:
        """Share of the device in use since the last call, by everybody."""


# --- RAPL -----------------------------------------------------------------------------------------------------------------------------------


@dataclass
class _Domain:
    """One counter of RAPL: microjoules that begin anew after `span`."""

    path: Path
    name: str
    span: int
    last: int = 0
    total: int = 0

    def read(self) -> int:
        raw = int((self.path / "energy_uj").read_text(encoding="ascii"))
        self.total += (raw - self.last) % self.span if raw < self.last else raw - self.last
        self.last = raw
        return self.total


class Rapl:
    """The processor packages, and the memory where it has a counter of its own. Raises NotMeasurable."""

    def __init__(self, folder: Path = POWERCAP) -> None:
        self._domains = [_domain(path) for path in _counters(folder)]
        self.scope = f"processor ({', '.join(sorted({domain.name for domain in self._domains}))}; RAPL)"
        self.joules()
        for domain in self._domains:
            domain.total = 0
        self.busy_percent()

    def joules(self) -> float:
        try:
            return sum(domain.read() for domain in self._domains) / 1e6
        except (OSError, ValueError) as error:
            raise NotMeasurable(f"the RAPL counters stopped answering ({error})") from error

    def busy_percent(self) -> float:
        return psutil.cpu_percent(interval=None)


def _counters(folder: Path) -> list[Path]:
    """Folders of the counters that add up without counting anything twice: packages, and the memory below each.

    Cores and graphics are parts of their package; `psys` and the `mmio` interface count packages again.
    """
    if not folder.is_dir():
        raise NotMeasurable(f"this system has no RAPL counters ({folder} does not exist)")
    packages = [path for path in sorted(folder.glob("intel-rapl:*")) if path.name.count(":") == 1 and _name(path).startswith("package")]
    if not packages:
        raise NotMeasurable(f"the processor has no RAPL counter in {folder}")
    return packages + [path for package in packages for path in sorted(folder.glob(f"{package.name}:*")) if _name(path) == "dram"]


def _name(path: Path) -> str:
    try:
        return (path / "name").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _domain(path: Path) -> _Domain:
    try:
        span = int((path / "max_energy_range_uj").read_text(encoding="ascii")) + 1
        domain = _Domain(path, _name(path), span, last=int((path / "energy_uj").read_text(encoding="ascii")))
    except PermissionError as error:
        raise NotMeasurable(f"the RAPL counter {path / 'energy_uj'} is readable for root alone; root can allow it with chmod a+r") from error
    except (OSError, ValueError) as error:
        raise NotMeasurable(f"the RAPL counter {path / 'energy_uj'} does not answer ({error})") from error
    return domain


# --- NVML -----------------------------------------------------------------------------------------------------------------------------------


class GpuMeter:
    """The total energy counter of one NVIDIA GPU. index: NVML's. Raises NotMeasurable."""

    def __init__(self, gpus: probes.Gpus, index: int) -> None:
        self._gpus, self._index = gpus, index
        self.scope = f"GPU {index} alone, without its host (NVML)"
        first = gpus.energy_joules(index)
        if first is None:
            raise NotMeasurable(f"GPU {index} has no energy counter (GPUs before Volta have none)")
        self._first = first

    def joules(self) -> float:
        now = self._gpus.energy_joules(self._index)
        if now is None:
            raise NotMeasurable(f"the energy counter of GPU {self._index} stopped answering")
        return now - self._first

    def busy_percent(self) -> float:
        return self._gpus.busy_percent(self._index) or 0.0


def meter_of(device: str, gpus: probes.Gpus | None = None, folder: Path = POWERCAP) -> Meter:
    """The counter of a torch device ("cpu", "cuda", "cuda:1"). Raises NotMeasurable."""
    if device.startswith("cuda"):
        gpus = gpus or probes.Gpus()
        index = gpus.index_of(device)
        if index is None:
            raise NotMeasurable("NVML does not know the GPU")
        return GpuMeter(gpus, index)
    if device != "cpu":
        raise NotMeasurable(f"there is no energy counter for the device {device}")
    return Rapl(folder)


# --- Measuring ------------------------------------------------------------------------------------------------------------------------------


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
