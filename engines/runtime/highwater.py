"""How much memory training steps took at most, what is beside them left out."""

from __future__ import annotations

import torch

from engines import probes


class HighWater:
    """Takes what the system and the allocator have as their peaks into the run's, and lets them begin anew."""

    def __init__(self, device: torch.device) -> None:
        self.host_mib: float | None = None
        """Of resident memory, MiB; None where the system cannot tell."""
        self.device_mib: float | None = None
        """Of the allocator of a GPU, MiB; None on other devices."""
        self._device = device
        self._host_is_clean = True

    def note(self) -> None:
        """Up to now it was training."""
        if self._host_is_clean:
            self.host_mib = max(self.host_mib or 0.0, probes.peak_resident_mib())
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device) / probes.MIB
            self.device_mib = max(self.device_mib or 0.0, peak)

    def forget(self) -> bool:
        """Up to now it was something else. False where the system cannot forget; then there is no host peak: it would include more than training."""
        self._host_is_clean = probes.reset_peak() and self._host_is_clean
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        return self._host_is_clean
