"""What torch's allocator hands out while something is called: workspaces inside operators count, which the lives of tensors do not show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def highest_of(call: Callable[[], Any], device: torch.device) -> int:
    """Bytes that one call holds at most beyond what was there before it; what it returns counts.

    On the CPU by the events of torch's allocator: what a library allocates by itself is not among them.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    return highest(seen)


def highest(seen: profile) -> int:
    """The highest sum of the allocations on the CPU that a profile with memory has seen, in bytes, from 0 at its start."""
    results: Any = seen.profiler.kineto_results  # type: ignore[union-attr]
    events = [event for event in results.events() if event.name() == "[memory]" and event.device_type().name == "CPU"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
