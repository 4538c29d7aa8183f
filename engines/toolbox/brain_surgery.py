"""Optimal brain surgery on one layer: which weights cost least, and how the others make up for them.

The outputs of a layer are linear in its weights, so the squared error that removal makes in them is exactly quadratic, with the same Hessian
H = 2 E[x x^T] for every output row. Shapes: O rows, I inputs, W (O, I), H (I, I), G = H^-1. Everything is computed in double precision where
the device has it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

ELEMENTS = 1 << 24
"""Numbers of inverse Hessians held at once, 128 MiB in double precision."""
COLUMNS = 128
"""Columns whose mask the sweep chooses at once."""


def damped(moment_II: Tensor, damping: float) -> Tensor:
    """H = 2 E[x x^T] + damping * mean diagonal, so that inputs that never vary, or too few rows, leave it invertible."""
    H = 2 * (moment_II if moment_II.device.type == "mps" else moment_II.double())
    mean = float(H.diagonal().mean()) or 1.0
    return H + damping * mean * torch.eye(len(H), dtype=H.dtype, device=H.device)


def inverse(H: Tensor) -> Tensor:
    return torch.cholesky_inverse(torch.linalg.cholesky(H))


def saliency(w: Tensor, diagonal: Tensor) -> Tensor:
    """What removing each weight alone costs, the others adapted: w_q^2 / (2 G_qq)."""
    return w.square() / (2 * diagonal)


def removal(w: Tensor, G: Tensor, q: int) -> tuple[Tensor, Tensor]:
    """(w + dw, G down-dated) of one row when weight q goes: dw = -(w_q / G_qq) G e_q; G - G e_q e_q^T G / G_qq is the inverse of H without q."""
    column = G[:, q]
    return w - w[q] / G[q, q] * column, G - torch.outer(column, column) / G[q, q]


def greedy(W: Tensor, H: Tensor, sparsity: float, gone: Tensor, *, by_row: bool) -> Tensor:
    """Which weights go, bool (O, I), round(sparsity n) of them: each row loses its cheapest weight, again and again, with the others adapted
    in between; over the whole layer the cheapest steps of all rows count, a row's dearer steps never before its cheaper ones.

    gone: what is removed already, and goes first.
    """
    outputs, inputs = W.shape
    if by_row:
        counts = torch.full((outputs,), round(sparsity * inputs), device=W.device)
    orders, costs = [], []
    for rows in _chunks(outputs, inputs * inputs):
        order, cost = _trace(W[rows].to(H), inverse(H), gone[rows])
        orders.append(order)
        costs.append(cost)
    order_OI = torch.cat(orders)
    if not by_row:
        cost_OI = torch.cat(costs).cummax(dim=1).values
        chosen = torch.zeros(outputs * inputs, dtype=torch.bool, device=W.device)
        chosen[torch.topk(cost_OI.flatten(), k=round(sparsity * outputs * inputs), largest=False).indices] = True
        counts = chosen.view(outputs, inputs).sum(dim=1)
    place_OI = torch.empty_like(order_OI).scatter_(1, order_OI, torch.arange(inputs, device=W.device).expand(outputs, inputs))
    return place_OI < counts[:, None]


def _trace(W: Tensor, G: Tensor, gone: Tensor) -> tuple[Tensor, Tensor]:
    """For rows at once: the order in which all weights go, and what each step costs, both (R, I)."""
    R, inputs = W.shape
    W, G_RII, left = W.clone(), G.repeat(R, 1, 1), torch.ones_like(gone)
    each = torch.arange(R, device=W.device)
    order, cost = [], []
    for _ in range(inputs):
        s_RI = saliency(W, G_RII.diagonal(dim1=1, dim2=2)).masked_fill(gone, -1.0).masked_fill(~left, torch.inf)
        c_R, q_R = s_RI.min(dim=1)
        column_RI = G_RII[each, :, q_R]
        d_R = column_RI[each, q_R]
        W -= (W[each, q_R] / d_R)[:, None] * column_RI
        G_RII -= column_RI[:, :, None] * (column_RI / d_R[:, None])[:, None, :]
        left[each, q_R] = False
        # What is gone stays out of further steps exactly, not up to rounding.
        G_RII[each, q_R] = 0.0
        G_RII[each, :, q_R] = 0.0
        G_RII[each, q_R, q_R] = 1.0
        W[each, q_R] = 0.0
        order.append(q_R)
        cost.append(c_R)
    return torch.stack(order, dim=1), torch.stack(cost, dim=1)


def refit(W: Tensor, H: Tensor, gone: Tensor) -> Tensor:
    """The weights that are left, at the least squared error in the outputs: w_k = (H_kk)^-1 (H w)_k. The same as removing one by one with (2)."""
    out = torch.zeros_like(W)
    for rows in _chunks(len(W), W.shape[1] ** 2):
        keep = (~gone[rows]).to(H)
        # Removed weights become a diagonal block of their own, so that rows with other counts are solved together.
        A = H * keep[:, :, None] * keep[:, None, :] + torch.diag_embed(1 - keep)
        b = (W[rows].to(H) @ H) * keep
        out[rows] = torch.cholesky_solve(b[:, :, None], torch.linalg.cholesky(A))[:, :, 0].to(W)
    return out.masked_fill(gone, 0.0)


def sweep(W: Tensor, H: Tensor, sparsity: float, gone: Tensor, *, by_row: bool) -> tuple[Tensor, Tensor]:
    """(new weights, which went), column by column: the error of what a column loses is made up for by the columns to its right.

    With U the upper Cholesky factor of G, U_ii^2 is 1 / (the inverse's diagonal) once all columns before i are dealt with, for every row at
    once: one factorisation a layer instead of one down-date a weight.
    """
    outputs, inputs = W.shape
    U = torch.linalg.cholesky(inverse(H), upper=True)
    W, out = W.to(H).clone(), torch.zeros_like(gone)
    for start in range(0, inputs, COLUMNS):
        stop = min(start + COLUMNS, inputs)
        s = W[:, start:stop].square() / U.diagonal()[start:stop].square()
        s = s.masked_fill(gone[:, start:stop], -1.0)
        size = inputs if by_row else outputs * inputs
        k = round(sparsity * size * stop / inputs) - round(sparsity * size * start / inputs)
        ranked = s if by_row else s.flatten()
        mask = torch.zeros_like(ranked, dtype=torch.bool)
        mask.scatter_(-1, torch.topk(ranked, k=k, largest=False).indices, True)
        out[:, start:stop] = mask = mask.view_as(s)
        errors = torch.zeros_like(s)
        for i in range(start, stop):
            errors[:, i - start] = W[:, i] * mask[:, i - start] / U[i, i]
            W[:, i:stop] -= torch.outer(errors[:, i - start], U[i, i:stop])
        W[:, stop:] -= errors @ U[start:stop, stop:]
    return W.masked_fill(out, 0.0), out


def _chunks(rows: int, each: int) -> Iterator[slice]:
    size = max(1, ELEMENTS // each)
    return (slice(start, start + size) for start in range(0, rows, size))
