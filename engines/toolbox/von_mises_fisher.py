"""The von Mises-Fisher distribution: directions in R^m that gather around a mean direction, the more the larger kappa is.

    density at the unit vector e with the mean direction x / |x|, kappa = |x|:   C_m(kappa) exp(x . e)                (1)
    log C_m(kappa) = v log kappa - (m / 2) log(2 pi) - log I_v(kappa),  v = m / 2 - 1                                (2)
    d log C_m / d kappa = -A_m(kappa) = -I_(v+1)(kappa) / I_v(kappa)                                                 (3)

I_v (the modified Bessel function) underflows for m in the hundreds and small kappa; kappa^v and it cancel. Both are taken together here:

    v log kappa - log I_v(kappa) = v log(v + r) - r + log(2 pi r) / 2 - log(sum_k U_k(v / r) / v^k),  r = sqrt(v^2 + kappa^2)      (4)

the uniform expansion for large orders (DLMF 10.41), good where v is large; a small v is led back to a large one by

    q_n = I_(n+1) / (kappa I_n) = 1 / (2 (n + 1) + kappa^2 q_(n+1)),   (2) at n = (2) at n + 1, plus log q_n               (5)

Run from a large n downwards, where errors shrink, (5) also gives (3) = -kappa q_v. Everything is finite at kappa = 0, and computed in float64.

Shapes: N values of kappa.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

LARGE = 64.0
"""The least order for (4)."""
START, STEPS = 256.0, 64
"""(5) starts from this order or higher, and takes as many steps at least."""


def log_normaliser(kappa_N: Tensor, dimensions: int) -> Tensor:
    """log C_m(kappa) in the type of kappa, differentiable once."""
    result: Tensor = _LogNormaliser.apply(kappa_N, dimensions)
    return result


class _LogNormaliser(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kappa_N: Tensor, dimensions: int) -> Tensor:
        value_N, slope_N = value_and_slope(kappa_N.double(), dimensions)
        ctx.save_for_backward(slope_N.to(kappa_N.dtype))
        return value_N.to(kappa_N.dtype)

    @staticmethod
    def backward(ctx: Any, upstream_N: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("The von Mises-Fisher normaliser has no gradient of its gradient: call backward without create_graph.")
        (slope_N,) = ctx.saved_tensors
        return upstream_N * slope_N, None


def value_and_slope(kappa_N: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    """log C_m(kappa) and its derivative, for kappa >= 0 in float64."""
    order = dimensions / 2 - 1
    climb = max(0, math.ceil(LARGE - order))
    q_N, climbed_N = _ratio(kappa_N.square(), order, climb)
    value_N = _expansion(kappa_N, order + climb) + climbed_N - dimensions / 2 * math.log(2 * math.pi)
    return value_N, -kappa_N * q_N  # (3)


def _ratio(square_N: Tensor, order: float, climb: int) -> tuple[Tensor, Tensor]:
    """(5): q at `order`, and the sum of log q at the `climb` orders from there on; square: kappa^2."""
    steps = max(STEPS, math.ceil(START - order))
    last = order + steps
    q_N = 1 / (last + 0.5 + ((last + 1) ** 2 + square_N).sqrt())  # between two known bounds; its error dies out on the way down
    climbed_N = torch.zeros_like(square_N)
    for step in range(steps - 1, -1, -1):
        q_N = 1 / (2 * (order + step + 1) + square_N * q_N)
        if step < climb:
            climbed_N = climbed_N + q_N.log()
    return q_N, climbed_N


def _expansion(kappa_N: Tensor, v: float) -> Tensor:
    """(4)."""
    r_N = (v * v + kappa_N.square()).sqrt()
    p2_N = (v / r_N).square()
    u1_N = (3 - 5 * p2_N) / 24
    u2_N = (81 + p2_N * (-462 + p2_N * 385)) / 1152
    u3_N = (30375 + p2_N * (-369603 + p2_N * (765765 - p2_N * 425425))) / 414720
    u4_N = (4465125 + p2_N * (-94121676 + p2_N * (349922430 + p2_N * (-446185740 + p2_N * 185910725)))) / 39813120
    # U_k(p) / v^k has the factor (p / v)^k = 1 / r^k
    more_N = (u1_N + (u2_N + (u3_N + u4_N / r_N) / r_N) / r_N) / r_N
    return v * (v + r_N).log() - r_N + (2 * math.pi * r_N).log() / 2 - more_N.log1p()
