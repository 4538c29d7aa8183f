"""Matrices with zeros in sparse formats, and products with them. Shapes: B rows, I inputs, O outputs, N = I = O."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.toolbox.pruning import two_of_four
from engines.toolbox.studies import drawn

Format = Literal["csr", "bsr", "2:4"]

TRANSPOSED_FROM = {torch.sparse_csr: 2, torch.sparse_bsr: 32}
"""Rows from which on the transposed product was faster (1024 wide, densities 0.01 to 0.5, AVX-512, torch 2.13): BSR 2 to 3 times slower below."""


def operands(density: float, width: int, batch: int, format: Format, block: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(x_BI, w_OI) on the host. Of w as many numbers (csr), or square blocks (bsr), as the density says are not zero, one at least, at random
    places; of each four numbers in a row the two largest (2:4)."""
    x_BI, w_OI = drawn(batch, width, seed=1), drawn(width, width, seed=2)
    if format == "2:4":
        return x_BI.to(dtype), w_OI.masked_fill(two_of_four(w_OI.abs()), 0.0).to(dtype)
    side = width // block if format == "bsr" else width
    kept = torch.zeros(side * side, dtype=torch.bool)
    kept[torch.randperm(side * side, generator=torch.Generator().manual_seed(3))[: max(1, round(density * side * side))]] = True
    kept_OI = kept.view(side, side)
    if format == "bsr":
        kept_OI = kept_OI.repeat_interleave(block, 0).repeat_interleave(block, 1)
    return x_BI.to(dtype), (w_OI * kept_OI).to(dtype)


def as_format(w_OI: Tensor, format: Format, block: int) -> Tensor:
    """The matrix as it is stored in a format."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(Sparse CSR|semi_structured|SparseSemiStructured).*")
        if format == "2:4":
            from torch.sparse import to_sparse_semi_structured

            found: Tensor = to_sparse_semi_structured(w_OI)
            return found
        return w_OI.to_sparse_csr() if format == "csr" else w_OI.to_sparse_bsr((block, block))


def sparse_product(x_BI: Tensor, stored_OI: Tensor) -> Tensor:
    """X W^T, (B, O), by the one of torch's two ways that is faster on the CPU: for many rows the transposed product, W X^T."""
    if len(x_BI) < TRANSPOSED_FROM.get(stored_OI.layout, len(x_BI) + 1):
        return F.linear(x_BI, stored_OI)
    transposed: Any = stored_OI @ x_BI.T
    result: Tensor = transposed.T
    return result


def unavailable_2_4() -> str:
    """Why there is no product with two of four numbers here, as a sentence; the empty string where there is one."""
    if not torch.cuda.is_available():
        return "Only CUDA GPUs multiply it, and torch finds none here."
    capability = torch.cuda.get_device_capability()
    if capability < (8, 0):
        return f"It needs CUDA capability 8.0, and this GPU has {capability[0]}.{capability[1]}."
    return ""
