"""Counters of energy that the hardware has: NVML's of a GPU, RAPL's of a processor on Linux. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from engines import probes

POWERCAP = Path("/sys/class/powercap")


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
