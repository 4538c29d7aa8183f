"""What a machine does beside the work that is measured: load, clocks, throttling, other users of a GPU. No torch.

It is asked between two timed windows, never inside one: some of these questions take milliseconds. What cannot be read is absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from engines import probes

THROTTLE_COUNTERS = Path("/sys/devices/system/cpu")
_CPU_STAT = ("/sys/fs/cgroup/cpu.stat", "/sys/fs/cgroup/cpu/cpu.stat", "/sys/fs/cgroup/cpu,cpuacct/cpu.stat")
_MEMORY_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.stat"),
)
"""Limit, use and details of the control group a container sees as its own, in version 2 and 1; "max" is no number and no limit."""

BUSY_PERCENT = 10.0
"""More of all cores than this in use while every timed process waits is other work."""
MOVED_PERCENT = 25.0
"""A load that differs by more than this between two rounds has changed within the session."""
CLOCK_SHARE = 0.1
"""A clock that differs by more than this share has changed within the session."""


class Observer:
    """Reads the state of the machine. device: of the timed work ("cpu", "cuda:1"); asked about a GPU only where that is one."""

    def __init__(self, device: str = "cpu") -> None:
        self._gpus = probes.Gpus() if device.startswith(("cuda", "auto")) else None
        self._gpu = self._gpus.index_of(device) if self._gpus else None
        self._throttle_files = _throttle_files()

    def state(self, seconds: float, own: int = 0) -> dict[str, Any]:
        """The state as the work left it, the load over `seconds` from now. own: how many of the processes on the GPU are ours.

        machine_percent: share of all cores in use; load_1; memory_available_mib; frequency_mhz: mean over cores; throttle_count: thermal
        events since the machine started; quota_count: how often the control group used up its share of the processor; gpu_processes (others'), and
        gpu_clock_mhz, gpu_throttled ... as `probes.Gpus.figures` has them.
        """
        # Clocks fall and reasons to throttle end within moments of rest: they are read first.
        found: dict[str, Any] = {**self.processor()}
        if self._gpus is not None and self._gpu is not None:
            found |= {f"gpu_{key}": value for key, value in self._gpus.figures(self._gpu).items()}
        found |= probes.load_within(seconds)
        if self._gpus is not None and self._gpu is not None:
            users = self._gpus.processes(self._gpu)
            if users is not None:
                # Counted, not named: in a container the driver knows processes by other numbers.
                found["gpu_processes"] = max(0, users - own)
        return found

    def processor(self) -> dict[str, float]:
        """frequency_mhz, throttle_count and quota_count alone, which take no time."""
        found = {"frequency_mhz": _frequency(), "throttle_count": _sum_of(self._throttle_files), "quota_count": _quota_count()}
        return {key: value for key, value in found.items() if value is not None}

    def gpu_free_mib(self) -> float | None:
        """Free memory of the GPU of the timed work; None where there is none."""
        if self._gpus is None or self._gpu is None:
            return None
        used = self._gpus.used_mib(self._gpu)
        return None if used is None else self._gpus.found[self._gpu].total_mib - used


def free_memory_mib() -> float:
    """Memory of the host that further processes may take: what is available, and no more than the limit of the control group leaves."""
    free = psutil.virtual_memory().available / probes.MIB
    for limit, used, stat in _MEMORY_LIMITS:
        with suppress(OSError, ValueError):
            allowed, taken = (int(Path(place).read_text(encoding="ascii")) for place in (limit, used))
            lines = (line.split() for line in Path(stat).read_text(encoding="ascii").splitlines())
            # Cached files that are not in use make way.
            cached = next((int(value) for key, value in lines if key in ("inactive_file", "total_inactive_file")), 0)
            free = min(free, (allowed - taken + cached) / probes.MIB)
    return max(0.0, free)


def summary(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several states as one: {"load": {"machine_percent": [least, median, most], "load_1": [..]}, "frequency": [..] MHz, "throttled": events,
    "gpu_users": most at a time}; what no state knows is absent."""
    found: dict[str, Any] = {}
    load = {key: limits for key in ("machine_percent", "load_1") if (limits := _limits(states, key))}
    if load:
        found["load"] = load
    for name, key in (("frequency", "frequency_mhz"), ("gpu_frequency", "gpu_clock_mhz")):
        if limits := _limits(states, key):
            found[name] = limits
    events = [_rise(states, key) for key in ("throttle_count", "quota_count")]
    slowed = [state["gpu_throttled"] for state in states if "gpu_throttled" in state]
    if slowed or any(event is not None for event in events):
        found["throttled"] = sum(event or 0 for event in events) + sum(map(bool, slowed))
    users = [state["gpu_processes"] for state in states if "gpu_processes" in state]
    if users:
        found["gpu_users"] = max(users)
    return found


def disturbances(states: Sequence[Mapping[str, Any]]) -> list[str]:
    """What made a measurement unstable, in sentences; empty where the machine was calm and steady."""
    found = []
    loads = [state["machine_percent"] for state in states if "machine_percent" in state]
    if loads and max(loads) > BUSY_PERCENT:
        sentence = f"Other work used up to {max(loads):.0f}% of the machine during the timing; the intervals are wider for it."
        if max(loads) - min(loads) > MOVED_PERCENT:
            sentence = (
                f"Other work changed during the timing, from {min(loads):.0f}% to {max(loads):.0f}% of the machine; the intervals are wider for it."
            )
        found.append(sentence)
    for key, what in (("frequency_mhz", "processor"), ("gpu_clock_mhz", "GPU")):
        clocks = [state[key] for state in states if key in state]
        if clocks and max(clocks) > (1 + CLOCK_SHARE) * min(clocks):
            found.append(f"The clock of the {what} moved between {min(clocks):,.0f} and {max(clocks):,.0f} MHz during the timing.")
    if events := _rise(states, "throttle_count"):
        found.append(f"The processor was throttled for heat {events:,} {'time' if events == 1 else 'times'} during the timing.")
    if events := _rise(states, "quota_count"):
        found.append(f"The processor time allowed to this container ran out {events:,} {'time' if events == 1 else 'times'} during the timing.")
    if any(state.get("gpu_throttled") for state in states):
        found.append("The GPU was slowed by heat or its power limit during the timing.")
    users = max((state.get("gpu_processes", 0) for state in states), default=0)
    if users:
        found.append(f"{users} other {'process' if users == 1 else 'processes'} used the GPU during the timing.")
    return found


def _limits(states: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    values = sorted(state[key] for state in states if key in state)
    return [values[0], values[len(values) // 2], values[-1]] if values else []


def _rise(states: Sequence[Mapping[str, Any]], key: str) -> int | None:
    """By how much a counter has risen from the first state to the last; None where it is not known."""
    values = [state[key] for state in states if key in state]
    return max(0, values[-1] - values[0]) if values else None


def _frequency() -> float | None:
    """Mean clock of the cores, MHz. Virtual machines often have none, or one that never moves."""
    with suppress(OSError, NotImplementedError, AttributeError, RuntimeError, ValueError):
        found = psutil.cpu_freq()
        return float(found.current) if found is not None and found.current > 0 else None
    return None


def _throttle_files() -> list[Path]:
    """Counters of thermal events, one a core; a package's events are counted by each of its cores, so only cores are read."""
    return sorted(THROTTLE_COUNTERS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))


def _sum_of(files: Sequence[Path]) -> int | None:
    found = []
    for file in files:
        with suppress(OSError, ValueError):
            found.append(int(file.read_text(encoding="ascii")))
    return sum(found) if found else None


def _quota_count() -> int | None:
    """How often the control group used up its quota (version 1 and 2); None where there is no such counter."""
    for place in _CPU_STAT:
        with suppress(OSError, ValueError):
            for line in Path(place).read_text(encoding="ascii").splitlines():
                if line.startswith("nr_throttled "):
                    return int(line.split()[1])
    return None
