"""A worker under watch: samples of what it and the machine use, taken from outside, until they are stored."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from engines import meters, probes
from engines.custody import Custody
from engines.store.rows import SeriesBatch

Series = tuple[str, str, str]
"""Key, unit, better."""
HOST_MEMORY: Series = ("memory/host_mib", "MiB", "lower")
DEVICE_MEMORY: Series = ("memory/device_mib", "MiB", "lower")
WORKER_LOAD: Series = ("load/cpu_percent", "%", "none")
MACHINE_LOAD: Series = ("load/machine_percent", "%", "none")
GPU_LOAD: Series = ("load/gpu_percent", "%", "none")
GPU_POWER: Series = ("power/gpu_w", "W", "lower")
PROCESSOR_POWER: Series = ("power/processor_w", "W", "lower")
_OF_GPU = {"used_mib": DEVICE_MEMORY, "busy_percent": GPU_LOAD, "power_w": GPU_POWER}


class Watch:
    """One worker and its samples that are not stored yet. gpu: NVML's index of the GPU it may use, or None."""

    def __init__(self, custody: Custody, gpus: probes.Gpus, gpu: int | None) -> None:
        self.custody = custody
        self.step = 0
        """The step the run last reported; samples are drawn there."""
        self.death_notice = os.pidfd_open(custody.pid) if hasattr(os, "pidfd_open") else None
        """Readable as soon as the worker is dead, where the system has that."""
        self.supervisor_seconds = 0.0
        """This run's part of the processor time of who watches it."""
        self._gpus, self._gpu = gpus, gpu
        self._pending: dict[Series, list[tuple[float, float]]] = {}
        self._memory: dict[str, float] = {}

    def sample(self, machine_percent: float, processor_w: float | None = None) -> None:
        """Measure once. machine_percent: share of all cores in use; processor_w: what the processor draws, where that is known.

        Memory, load and power of the device are the driver's figures for the whole GPU.
        """
        seen = self.custody.sample()
        if seen is None:
            return
        figures = [(HOST_MEMORY, seen.host_mib), (WORKER_LOAD, seen.cpu_percent), (MACHINE_LOAD, machine_percent)]
        self._memory["host_mib"] = seen.host_mib
        if processor_w is not None:
            figures.append((PROCESSOR_POWER, processor_w))
        seen_gpu = self._gpus.figures(self._gpu) if self._gpu is not None else {}
        figures += [(series, seen_gpu[name]) for name, series in _OF_GPU.items() if name in seen_gpu]
        if "used_mib" in seen_gpu:
            self._memory["device_mib"] = seen_gpu["used_mib"]
        for series, value in figures:
            self._pending.setdefault(series, []).append((seen.time, value))

    def progress(self) -> dict[str, float]:
        """For progress bars: memory when last seen (host_mib, and device_mib where there is a GPU), and supervisor_cpu_s."""
        return {key: round(value, 1) for key, value in self._memory.items()} | {"supervisor_cpu_s": round(self.supervisor_seconds, 3)}

    def take(self) -> list[SeriesBatch]:
        """What is pending, ready to store."""
        pending, self._pending = self._pending, {}
        return [
            SeriesBatch(key, unit, better, [self.step] * len(points), [at for at, _ in points], [value for _, value in points])
            for (key, unit, better), points in pending.items()
        ]

    def close(self) -> None:
        """Wait for its death no longer."""
        if self.death_notice is not None:
            os.close(self.death_notice)
            self.death_notice = None


class ProcessorPower:
    """What the processor draws between two looks at its counter of energy."""

    def __init__(self) -> None:
        self._meter: meters.Meter | None = None
        with suppress(meters.NotMeasurable):
            self._meter = meters.Rapl()
        self._seen = (0.0, time.monotonic())

    def watts(self) -> float | None:
        """The mean since the last call; None where the processor has no counter that we may read."""
        if self._meter is None:
            return None
        try:
            joules, now = self._meter.joules(), time.monotonic()
        except meters.NotMeasurable:
            self._meter = None
            return None
        before, self._seen = self._seen, (joules, now)
        return (joules - before[0]) / (now - before[1]) if now > before[1] else None
