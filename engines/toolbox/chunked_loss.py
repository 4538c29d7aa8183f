"""Cross entropy of a linear layer's scores without ever holding all of them, with gradients made in the forward pass.

Shapes: N rows, E width, V classes, C rows of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from engines.toolbox.heads import IGNORED, exact_products

LIFT = 4096.0
"""Factor on probabilities in float16, which would lose all below 6e-8 to zero. A power of two: exact."""


def chunked_cross_entropy(h_NE: Tensor, weight_VE: Tensor, bias_V: Tensor | None, target_N: Tensor, rows: int) -> Tensor:
    """Sum of -log softmax(W h + b)[target] over the rows that are not IGNORED, as a scalar of float32 or wider.

    Products are made in the type of `h_NE` or, under autocast, in autocast's; scores, probabilities and the sums of gradients are kept in
    float32 or wider. Works for a second backward pass over a retained graph (which computes the gradients anew); a gradient of the gradient
    is refused.
    """
    factors = products_type(h_NE, weight_VE)
    # where no gradient can be asked for, none is made
    wanted = [torch.is_grad_enabled() and tensor is not None and tensor.requires_grad for tensor in (h_NE, weight_VE, bias_V)]
    return _ChunkedCrossEntropy.apply(h_NE, weight_VE, bias_V, target_N, rows, factors, wanted)


def products_type(h_NE: Tensor, weight_VE: Tensor) -> torch.dtype:
    """The type that a linear layer would multiply in here: autocast's, or that of both. Raises TypeError where they differ."""
    kind = h_NE.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    if h_NE.dtype != weight_VE.dtype:
        raise TypeError(f"The hidden states are {h_NE.dtype} and the output matrix is {weight_VE.dtype}: give both one type, or use autocast.")
    return h_NE.dtype


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Forward makes the loss and its gradients for an upstream gradient of 1, which a scalar loss lets backward scale afterwards."""

    @staticmethod
    def forward(
        ctx: Any, h_NE: Tensor, weight_VE: Tensor, bias_V: Tensor | None, target_N: Tensor, rows: int, factors: torch.dtype, wanted: list[bool]
    ) -> Tensor:
        loss, ctx.gradients = _loss_and_gradients(h_NE, weight_VE, bias_V, target_N, rows, factors, wanted)
        ctx.save_for_backward(h_NE, weight_VE, bias_V, target_N)
        ctx.how = rows, factors, wanted
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("The chunked loss has no gradient of its gradient: call backward without create_graph, or use the full softmax.")
        h_NE, weight_VE, bias_V, target_N = ctx.saved_tensors
        # handed out once: whoever gets them may keep and change them
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            _, gradients = _loss_and_gradients(h_NE, weight_VE, bias_V, target_N, *ctx.how)
        pairs = zip(gradients, (h_NE, weight_VE, bias_V), strict=True)
        scaled = [None if gradient is None or tensor is None else gradient.mul_(upstream).to(tensor.dtype) for gradient, tensor in pairs]
        return *scaled, None, None, None, None


def _loss_and_gradients(
    h_NE: Tensor, weight_VE: Tensor, bias_V: Tensor | None, target_N: Tensor, rows: int, factors: torch.dtype, wanted: list[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """The summed loss, and d loss / d h, W, b in float32 or wider (None where it is not wanted)."""
    wide = torch.promote_types(factors, torch.float32)
    dh_NE, dw_VE, db_V = (
        torch.zeros_like(tensor, dtype=wide) if want and tensor is not None else None
        for tensor, want in zip((h_NE, weight_VE, bias_V), wanted, strict=True)
    )
    loss = torch.zeros((), dtype=wide, device=h_NE.device)
    # one buffer for all chunks: fresh pages cost more than the arithmetic on them
    buffer_CV = torch.empty(min(rows, len(h_NE)), len(weight_VE), dtype=wide, device=h_NE.device)
    lift = LIFT if factors == torch.float16 else 1.0
    with exact_products(h_NE.device):
        w_VE = weight_VE.to(factors)
        for first in range(0, len(h_NE), rows):
            h_CE, y_C = h_NE[first : first + rows].to(factors), target_N[first : first + rows]
            kept_C1 = (y_C != IGNORED).unsqueeze(1)
            y_C1 = y_C.unsqueeze(1).where(kept_C1, 0)
            s_CV = _product(h_CE, w_VE.T, out=buffer_CV[: len(h_CE)])
            if bias_V is not None:
                s_CV += bias_V
            own_C1, most_C1 = s_CV.gather(1, y_C1), s_CV.amax(dim=1, keepdim=True)
            e_CV = s_CV.sub_(most_C1).exp_()
            total_C1 = e_CV.sum(dim=1, keepdim=True)
            loss += (total_C1.log() + most_C1 - own_C1).where(kept_C1, 0.0).sum()
            if not any(wanted):
                continue
            g_CV = e_CV.mul_((lift / total_C1).where(kept_C1, 0.0))  # softmax - onehot
            g_CV.scatter_add_(1, y_C1, kept_C1.to(wide) * -lift)
            if db_V is not None:
                db_V += g_CV.sum(dim=0)
            g_CV = g_CV.to(factors)
            if dh_NE is not None:
                _product(g_CV, w_VE, out=dh_NE[first : first + rows])
            if dw_VE is not None:
                _add_product(dw_VE, g_CV.T, h_CE)
    gradients = [dh_NE, dw_VE, db_V]
    if lift != 1.0:
        gradients = [None if gradient is None else gradient.div_(lift) for gradient in gradients]
    return loss, gradients


def _product(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """a b into `out`, which may be wider than the factors."""
    if a.dtype == out.dtype:
        return torch.mm(a, b, out=out)
    return out.copy_(torch.mm(a, b, out_dtype=out.dtype) if a.is_cuda else a @ b)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a b; the sum over chunks is never rounded to the factors' type."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total += torch.mm(a, b, out_dtype=total.dtype) if a.is_cuda else a @ b
