"""Products of rows with rows, one number a pair, as an operator of its own: written out they are element-wise work, which no count of
operations holds, though they are most of what a tree of tokens computes.

Shapes: P pairs, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("workbench::row_products", mutates_args=())
def row_products(a_PD: Tensor, b_PD: Tensor) -> Tensor:
    """a_p b_p for every p, (P,). Types may differ, as in a product of tensors."""
    return (a_PD * b_PD).sum(dim=-1)


@torch.library.custom_op("workbench::row_products_backward", mutates_args=())
def row_products_backward(g_P: Tensor, a_PD: Tensor, b_PD: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients for a and b, each (P, D), from that of the products."""
    g_P1 = g_P.unsqueeze(1)
    return (g_P1 * b_PD).to(a_PD.dtype), (g_P1 * a_PD).to(b_PD.dtype)


@row_products.register_fake
def _(a_PD: Tensor, b_PD: Tensor) -> Tensor:
    return a_PD.new_empty(a_PD.shape[0], dtype=torch.promote_types(a_PD.dtype, b_PD.dtype))


@row_products_backward.register_fake
def _(g_P: Tensor, a_PD: Tensor, b_PD: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(a_PD), torch.empty_like(b_PD)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _first(ctx: Any, g_P: Tensor) -> tuple[Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor] = row_products_backward(g_P, *ctx.saved_tensors)
    return gradients


def _second(ctx: Any, u_PD: Tensor, v_PD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    g_P, a_PD, b_PD = ctx.saved_tensors
    g_P1 = g_P.unsqueeze(1)
    for_g_P = ((u_PD * b_PD) + (v_PD * a_PD)).sum(dim=-1)
    return for_g_P.to(g_P.dtype), (g_P1 * v_PD).to(a_PD.dtype), (g_P1 * u_PD).to(b_PD.dtype)


row_products.register_autograd(_first, setup_context=_keep)
row_products_backward.register_autograd(_second, setup_context=_keep)
