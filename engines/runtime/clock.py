"""What every clock needs: a device that has done what it was given, and no garbage collection inside."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def wait_for(device: torch.device) -> None:
    """Until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection inside; what is garbage goes before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
