"""What can be measured from outside the model: process and machine memory, load, GPUs through NVML, the machine's facts. No torch.

Memory figures are in MiB. On Linux they are read from /proc; elsewhere psutil answers and a peak cannot be reset (`reset_peak` says so).
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

MIB = 1024.0 * 1024.0
VERSIONED = ("torch", "numpy", "torchao", "onnxruntime", "tokenizers")
"""Packages whose versions can move a figure."""


# --- Memory of a process ------------------------------------------------------------------------------------------------------------------


def resident_mib(pid: int | None = None) -> float:
    """Resident memory of a process (default: this one). Raises psutil.NoSuchProcess where it is gone."""
    return psutil.Process(pid).memory_info().rss / MIB


def peak_resident_mib(pid: int | None = None) -> float:
    """High-water mark of the resident memory since the start of the process, or since the last `reset_peak`."""
    found = _status_kib("VmHWM", pid)
    if found is not None:
        return found / 1024.0
    information = psutil.Process(pid).memory_info()
    return getattr(information, "peak_wset", information.rss) / MIB


def reset_peak() -> bool:
    """Set this process's high-water mark back to what is resident now. False where the system cannot (then peaks count from the start)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def release_memory() -> None:
    """Give memory that was freed back to the system, as far as the C library can (glibc): what an earlier phase needed would else be counted as
    a later one's."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status_kib(key: str, pid: int | None) -> int | None:
    try:
        text = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    return None


# --- Out of memory ------------------------------------------------------------------------------------------------------------------------


def out_of_memory_kills() -> int:
    """A counter that rises when the kernel kills a process for memory, on the machine or in this control group; 0 where unknown."""
    return _counter(Path("/proc/vmstat"), "oom_kill") + sum(_counter(path, "oom_kill") for path in _memory_events())


def _memory_events() -> list[Path]:
    """Files that count out-of-memory kills of this control group: version 2 (memory.events) and version 1 (memory.oom_control)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            files.append(Path("/sys/fs/cgroup") / group.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(Path("/sys/fs/cgroup/memory") / group.lstrip("/") / "memory.oom_control")
            files.append(Path("/sys/fs/cgroup/memory/memory.oom_control"))
    return list(dict.fromkeys(files))


def _counter(path: Path, key: str) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [key]), 0)


# --- GPUs ---------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as the driver names it."""

    index: int
    name: str
    total_mib: float
    driver: str
    capability: str


class Gpus:
    """NVML, opened once. Without a driver it is an empty list. Only `processes` asks for their list: that call slows the application."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        self.found: list[Gpu] = []
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            driver = _text(pynvml.nvmlSystemGetDriverVersion())
            for index in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
                total = pynvml.nvmlDeviceGetMemoryInfo(handle).total / MIB
                self.found.append(Gpu(index, _text(pynvml.nvmlDeviceGetName(handle)), total, driver, f"{major}.{minor}"))
                self._handles.append(handle)
        except pynvml.NVMLError:
            self.found, self._handles = [], []
            return
        self._nvml = pynvml

    def _asked(self, index: int, ask: Callable[[Any, Any], float]) -> float | None:
        """What the driver answers about one GPU; None where there is none of this number, or no answer."""
        if 0 <= index < len(self._handles):
            with suppress(self._nvml.NVMLError):
                return float(ask(self._nvml, self._handles[index]))
        return None

    def used_mib(self, index: int) -> float | None:
        """Memory in use on one GPU as the driver counts it, by every process on it; None where the driver does not answer."""
        return self._asked(index, lambda nvml, handle: nvml.nvmlDeviceGetMemoryInfo(handle).used / MIB)

    def busy_percent(self, index: int) -> float | None:
        """Share of the last moments (up to a second) in which one GPU computed, for whomever; None where the driver does not say."""
        return self._asked(index, lambda nvml, handle: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)

    def energy_joules(self, index: int) -> float | None:
        """Energy one GPU has used since the driver was loaded; the counter moves every 20 to 100 ms. None where there is no counter."""
        return self._asked(index, lambda nvml, handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000.0)

    def processes(self, index: int) -> int | None:
        """How many processes compute on one GPU; None where the driver does not answer. Takes milliseconds: not for a timed window, nor often."""
        found = self._asked(index, lambda nvml, handle: len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)))
        return None if found is None else int(found)

    def figures(self, index: int) -> dict[str, float]:
        """What one GPU does now: used_mib, busy_percent, power_w, temperature_c, clock_mhz, throttled (1: by heat or power).

        What the driver does not say is absent.
        """
        if not 0 <= index < len(self._handles):
            return {}
        nvml, handle = self._nvml, self._handles[index]
        slowed = nvml.nvmlClocksThrottleReasonSwThermalSlowdown | nvml.nvmlClocksThrottleReasonHwSlowdown | nvml.nvmlClocksThrottleReasonSwPowerCap
        asked: dict[str, Callable[[], float]] = {
            "used_mib": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / MIB,
            "busy_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0,
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            "clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "throttled": lambda: bool(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) & slowed),
        }
        found = {}
        for name, ask in asked.items():
            with suppress(nvml.NVMLError):
                found[name] = float(ask())
        return found

    def index_of(self, device: str) -> int | None:
        """NVML's index for a device of an experiment ("auto", "cuda", "cuda:1"); None for a device that is no NVIDIA GPU.

        torch counts what CUDA_VISIBLE_DEVICES leaves over, NVML counts all.
        """
        if not self.found or not (device == "auto" or device.startswith("cuda")):
            return None
        position = int(device.partition(":")[2] or 0)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            return position
        names = [name.strip() for name in visible.split(",") if name.strip()]
        if position >= len(names):
            return None
        if names[position].isdigit():
            return int(names[position])
        return self._index_of_uuid(names[position])

    def _index_of_uuid(self, prefix: str) -> int | None:
        uuids = (_text(self._nvml.nvmlDeviceGetUUID(handle)) for handle in self._handles)
        return next((index for index, uuid in enumerate(uuids) if uuid.startswith(prefix)), None)


def _text(answer: str | bytes) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer


# --- The machine --------------------------------------------------------------------------------------------------------------------------


def version_of(distribution: str) -> str:
    """Installed version of a package from its metadata (nothing is imported); the empty string where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def usable_cores() -> int:
    """Cores this process may use (affinity, containers), not those the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_facts(gpus: Gpus | None = None) -> dict[str, Any]:
    """What a figure depends on: hardware, system, versions. Nothing in it changes between two runs on an unchanged machine."""
    memory = psutil.virtual_memory()
    return {
        "host": platform.node(),
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "cores_physical": psutil.cpu_count(logical=False) or 0,
        "memory_mib": round(memory.total / MIB),
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: version for name in VERSIONED if (version := version_of(name))},
        "gpus": [
            {"name": gpu.name, "memory_mib": round(gpu.total_mib), "driver": gpu.driver, "capability": gpu.capability}
            for gpu in (gpus or Gpus()).found
        ],
    }


def fingerprint(facts: dict[str, Any]) -> str:
    """Short name of a machine: figures of two fingerprints are not compared without a warning."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def load_facts() -> dict[str, float]:
    """What else the machine is doing now: share of all cores in use since the last call (%), load average of a minute, free memory (MiB)."""
    averages = os.getloadavg() if hasattr(os, "getloadavg") else (0.0, 0.0, 0.0)
    return {
        "machine_percent": psutil.cpu_percent(interval=None),
        "load_1": averages[0],
        "memory_available_mib": psutil.virtual_memory().available / MIB,
    }


def load_within(seconds: float) -> dict[str, float]:
    """As `load_facts`, of the next `seconds`: the caller waits, so that what it does itself does not count."""
    load_facts()
    time.sleep(seconds)
    return load_facts()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith(("model name", "Model\t", "Hardware")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def started(pid: int) -> float:
    """When a process started (unix seconds): with the pid it names one process for ever. Raises psutil.NoSuchProcess."""
    return psutil.Process(pid).create_time()


def is_alive(pid: int, pid_started: float) -> bool:
    """Whether exactly that process still runs: a pid that was given to another process does not count, nor does a zombie."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - pid_started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
