"""A Linear with int8 weights and int8 activations whose range is fixed beforehand: integer products, sums in 32 bits.

Plain tensors in its state; torch's own integer product does the work (CPU, and CUDA where shapes allow). Inference only.
Shapes: E outputs, D inputs, N rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from engines.toolbox.quantisers import Scheme, quantise

ACTIVATIONS = Scheme(8, symmetric=False, granularity="tensor")
"""The grid of activations: q = round(x / s) + z - 128 in -128 ... 127."""


def weight_levels(weight_ED: Tensor, per_channel: bool) -> tuple[Tensor, Tensor]:
    """(levels int8 (E, D) in -127 ... 127, scale (E, 1) or (1, 1)): symmetric, w ~ s q."""
    found = quantise(weight_ED, Scheme(8, True, "channel" if per_channel else "tensor"))
    return (found.codes_ED.int() - found.scheme.middle).to(torch.int8), found.scale_RG


class StaticInt8Linear(nn.Module):
    """y = s_x s_w (Q q - z Q 1) + b with q = round(x / s_x) + z, z and s_x fixed; (..., D) -> (..., E)."""

    scale: Tensor
    input_scale: Tensor
    input_zero: Tensor
    row_sums: Tensor

    def __init__(self, in_features: int, out_features: int, *, bias: bool, per_channel: bool) -> None:
        super().__init__()
        self.in_features, self.out_features, self.per_channel = in_features, out_features, per_channel
        self.levels = nn.Parameter(torch.zeros(out_features, in_features, dtype=torch.int8), requires_grad=False)
        self.register_buffer("scale", torch.ones(out_features if per_channel else 1, 1))
        self.register_buffer("input_scale", torch.ones(()))
        self.register_buffer("input_zero", torch.zeros(()))
        # What z adds to every row: Q 1, so that a call need not add up the weights.
        self.register_buffer("row_sums", torch.zeros(out_features, dtype=torch.int32))
        self.bias = nn.Parameter(torch.zeros(out_features), requires_grad=False) if bias else None

    @classmethod
    @torch.no_grad()
    def of(cls, linear: nn.Linear, input_scale: Tensor, input_zero: Tensor, *, per_channel: bool) -> StaticInt8Linear:
        """input_zero: the code of zero among 0 ... 255."""
        made = cls.like(linear, per_channel=per_channel).to(linear.weight.device)
        levels, scale = weight_levels(linear.weight, per_channel)
        made.levels.copy_(levels)
        made.scale.copy_(scale)
        made.input_scale.copy_(input_scale)
        made.input_zero.copy_(input_zero - 128)
        made.row_sums.copy_(levels.sum(1, dtype=torch.int32))
        if made.bias is not None:
            made.bias.copy_(linear.bias)
        return made

    @classmethod
    def like(cls, linear: nn.Linear, *, per_channel: bool) -> StaticInt8Linear:
        """Room for the weights that a state_dict brings."""
        return cls(linear.in_features, linear.out_features, bias=linear.bias is not None, per_channel=per_channel)

    @property
    def weight(self) -> Tensor:
        """The weight as floats, for code that reads rows of it."""
        return self.levels.float() * self.scale

    def codes(self, x_ND: Tensor) -> Tensor:
        """q, int8."""
        return (torch.round(x_ND.float() * (1 / self.input_scale)) + self.input_zero).clamp(-128, 127).to(torch.int8)

    def forward(self, input: Tensor) -> Tensor:
        x_ND = input.reshape(-1, self.in_features)
        sums_NE = integer_product(self.codes(x_ND), self.levels)
        y_NE = (sums_NE - self.input_zero.int() * self.row_sums).float() * (self.input_scale * self.scale.flatten())
        if self.bias is not None:
            y_NE = y_NE + self.bias
        return y_NE.to(input.dtype).view(*input.shape[:-1], self.out_features)


def integer_product(q_ND: Tensor, levels_ED: Tensor) -> Tensor:
    """q Q^T with sums in 32 bits, (N, E), int32."""
    rows, columns = q_ND.shape
    if q_ND.device.type != "cuda":
        return torch._int_mm(q_ND, levels_ED.T)
    # CUDA's kernel takes more than 16 rows, and widths that are multiples of 8: zeros fill up.
    more_rows, more_columns, more_outputs = max(0, 17 - rows), -columns % 8, -len(levels_ED) % 8
    q = nn.functional.pad(q_ND, (0, more_columns, 0, more_rows))
    levels = nn.functional.pad(levels_ED, (0, more_columns, 0, more_outputs)) if more_columns or more_outputs else levels_ED
    product: Any = torch._int_mm(q, levels.T)
    return product[:rows, : len(levels_ED)]
