"""What a module multiplies with on calibration batches: second moments and sizes of its inputs, by matrix.

Shapes: N rows (tokens), D inputs of a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def run(module: nn.Module, batches: Sequence[Any]) -> None:
    """Each batch through the model's one entry, in evaluation mode, without gradients; carried states as in training."""
    state = None
    with torch.no_grad():
        for batch in batches:
            _, _, state, _ = module(batch, state)


class Moments:
    """Sums over all rows seen: x x^T (D, D) in double, |x| (D), max |x| (D), and their number."""

    def __init__(self, *, products: bool) -> None:
        self.products = products
        self.xx: dict[str, Tensor] = {}
        self.size: dict[str, Tensor] = {}
        self.largest: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}
        self.order: list[str] = []
        """Matrices in the order of their first call."""

    def take(self, name: str, rows_ND: Tensor) -> None:
        x = rows_ND.double()
        if name not in self.rows:
            self.order.append(name)
        self.rows[name] = self.rows.get(name, 0) + len(x)
        found = [(self.size, x.abs().sum(0)), *([(self.xx, x.T @ x)] if self.products else [])]
        for sums, fresh in found:
            sums[name] = sums[name] + fresh if name in sums else fresh
        top = x.abs().amax(0)
        self.largest[name] = torch.maximum(self.largest[name], top) if name in self.largest else top

    def hessian(self, name: str) -> Tensor:
        """H = 2 mean of x x^T, that of |W x - W^ x|^2 in each row of W, (D, D)."""
        return 2 * self.xx[name] / self.rows[name]


def output_error(error_ED: Tensor, weight_ED: Tensor, H_DD: Tensor) -> float:
    """|error x| over |W x|, root mean square over the calibration rows: the relative error of what a layer gives out."""
    H = H_DD.double()
    wrong, whole = (float(((part.double() @ H) * part.double()).sum()) for part in (error_ED, weight_ED))
    return (max(wrong, 0.0) / whole) ** 0.5 if whole > 0 else 0.0
