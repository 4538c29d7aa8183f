"""Numbers in types whose logarithms and sums can be trusted."""

from __future__ import annotations

from torch import Tensor, bfloat16, float16


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32, all else stays as it is."""
    return x.float() if x.dtype in (float16, bfloat16) else x
