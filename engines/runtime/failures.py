"""What an error of torch says: its first line, and whether memory ran out."""

from __future__ import annotations

import torch

HOST_ALLOCATOR = "DefaultCPUAllocator"
_OUT_OF_MEMORY = (HOST_ALLOCATOR, "out of memory", "can't allocate memory", "not enough memory")


def first_line(error: BaseException) -> str:
    """What an error says, without the traces that torch appends."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out, of the device or the host; torch tells it of the host by a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)
