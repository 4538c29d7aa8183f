"""The position-wise feed-forward network, used alone and as an expert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "gelu", "swiglu"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "swiglu": F.silu}


def hidden_width(width: int, hidden: int | None, activation: Activation) -> int:
    """The inner width H: as given, else 4 D, or 8/3 D rounded up to a multiple of 8 for swiglu, whose third matrix then costs no more."""
    if hidden is not None:
        return hidden
    return -(-(8 * width) // (3 * 8)) * 8 if activation == "swiglu" else 4 * width


class FeedForward(nn.Module):
    """y = W_out f(W_in x), row by row.

    relu, gelu:  f(W_in x + b_in), W_in (H, D)
    swiglu:      silu(W_gate x) * (W_in x), without biases
    Shapes: x (..., D) -> (..., D).
    """

    gate: nn.Linear | None

    def __init__(self, width: int, hidden: int, activation: Activation, dropout: float = 0.0) -> None:
        super().__init__()
        gated = activation == "swiglu"
        self.inner = nn.Linear(width, hidden, bias=not gated)
        self.gate = nn.Linear(width, hidden, bias=False) if gated else None
        self.outer = nn.Linear(hidden, width, bias=not gated)
        self.dropout = nn.Dropout(dropout)
        self.function = FUNCTIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        h = self.function(self.inner(x)) if self.gate is None else self.function(self.gate(x)) * self.inner(x)
        y: Tensor = self.outer(self.dropout(h))
        return y
