"""Pruning with repair: the weights that stay make up for those that go."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar, Literal, Self, get_args

import torch
from pydantic import model_validator
from torch import nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.brain_surgery import damped, greedy, inverse, refit, removal, saliency, sweep
from engines.toolbox.calibrated import input_moments
from engines.toolbox.pruning import Scope, WithInputs
from engines.toolbox.pruning_technique import ByCriterion, Removed, Weights

GREEDY = 1e10
"""Up to this many numbers of inverse Hessians touched, greedy takes seconds."""


class OBS(ByCriterion):
    """Optimal brain surgeon, layer by layer

    Hassibi and Stork (1993), Second Order Derivatives for Network Pruning; a layer at a time: Frantar and Alistarh (2022), Optimal Brain
    Compression (order = greedy), and (2023), SparseGPT (order = sweep).

    Equations, for each output row w (I) of a matrix, with the inputs x (I) that the layer sees:

        E = E_x (w'^T x - w^T x)^2 = dw^T H dw / 2,     H = 2 E[x x^T] + lambda I      (1)  exact: outputs are linear in w
        q = argmin w_q^2 / (2 [H^-1]_qq)                                               (2)  the cheapest removal, the others adapted
        dw = -(w_q / [H^-1]_qq) H^-1 e_q                                               (3)  how all others of the row adapt
        H^-1 <- H^-1 - H^-1 e_q e_q^T H^-1 / [H^-1]_qq                                 (4)  the inverse of H without q

    greedy: (2) to (4) for each row, weight by weight; of all rows' steps the cheapest count. sweep: columns from left to right, by the
    Cholesky factor of H^-1, all rows at once, 128 columns' masks at a time; each column's error is made up for by those to its right. It is
    faster and leaves a larger error, the more so the more the inputs depend on one another.
    lambda: damping times the mean diagonal. sequential: each matrix sees the inputs that the matrices cut before it leave.
    Of recurrent layers, the outputs of (1) are what goes into the gates, of convolutions x is the window under the kernel; weights whose inputs
    cannot be seen are left alone and named.
    Cost: sweep O(I^3 + O I^2) a matrix; greedy O(O I^3), for I up to a few hundred; the calibration batches forward once a matrix
    (sequential) or once.
    Does nothing when: s = 0, or no weight matches (it then says so). Speed and size stay as they were in dense kernels and files.
    Parameters: order, damping, sequential, calibration, and those of pruning: sparsity s, layer_sparsity, types, include, exclude, scope, mode, when,
    fine_tune_tokens, fine_tune_lr, begin, end, rounds; granularity is always weight.
    """

    paper: ClassVar[str] = (
        "Hassibi and Stork (1993), https://papers.nips.cc/paper/647-second-order-derivatives-for-network-pruning-optimal-brain-surgeon; "
        "Frantar and Alistarh (2022), https://arxiv.org/abs/2208.11580, and (2023), https://arxiv.org/abs/2301.00774"
    )

    types: tuple[WithInputs, ...] = param(get_args(WithInputs), "Types of modules whose matrices may be cut.")
    scope: Scope = param("layer", "The same sparsity for each matrix (layer) or for each of its rows (row).")
    order: Literal["greedy", "sweep", "auto"] = param(
        "auto", "Weight by weight in each row; column by column for all rows at once; or greedy where O I^3 is at most 10^10, else sweep."
    )
    damping: float = param(0.01, "Added to the diagonal of H, as a share of its mean.", symbol="lambda", gt=0)
    sequential: bool = param(True, "Measure each matrix's inputs after the matrices before it are cut.")
    calibration: int = param(16, "Training batches whose inputs make H.", unit="batches", ge=1)

    @model_validator(mode="after")
    def _layers_alone(self) -> Self:
        if self.scope == "global" or self.granularity != "weight":
            raise ValueError(
                "pruning/obs works on single weights of one matrix, since errors of different layers are not comparable: use scope = "
                '"layer" or "row" and granularity = "weight".'
            )
        return self

    @torch.no_grad()
    def chosen(self, weights: Weights, sparsity: Mapping[str, float], module: nn.Module, ctx: Context) -> Removed:
        """The removed weights of each matrix whose inputs are seen; the others of it are adapted on the way."""
        batches = ctx.calibration(self.calibration)
        earlier: Removed = ctx.state.get("removed", {})
        removed: Removed = {}
        for part in [[name] for name in weights] if self.sequential else [list(weights)]:
            moments = input_moments(module, {name: weights[name] for name in part}, batches)
            for name, moment in moments.items():
                weight = weights[name]
                gone = earlier.get(name, torch.zeros_like(weight, dtype=torch.bool)).to(weight.device)
                adapted, out = self.operate(weight.flatten(1), damped(moment, self.damping), sparsity[name], gone.flatten(1))
                removed[name] = out.view_as(weight)
                weight.copy_(adapted.view_as(weight))
        return removed

    def operate(self, weight: torch.Tensor, H: torch.Tensor, sparsity: float, gone: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(adapted weights, which went) of one matrix."""
        outputs, inputs = weight.shape
        if self.order == "sweep" or (self.order == "auto" and outputs * inputs**3 > GREEDY):
            return sweep(weight, H, sparsity, gone, by_row=self.scope == "row")
        out = greedy(weight, H, sparsity, gone, by_row=self.scope == "row")  # (2), (4)
        return refit(weight, H, out), out  # (3) for all that went at once


def _layer(trial: Trial, outputs: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(x_NI with correlated inputs, W_OI, H) in double precision."""
    torch.manual_seed(trial.seed)
    x_NI = torch.randn(200, inputs, dtype=torch.float64) @ torch.randn(inputs, inputs, dtype=torch.float64)
    return x_NI, torch.randn(outputs, inputs, dtype=torch.float64), 2 * x_NI.T @ x_NI / len(x_NI)


def _error(x_NI: torch.Tensor, w: torch.Tensor, keep: list[int]) -> tuple[float, torch.Tensor]:
    """(least mean squared error of the row's outputs with these weights alone, the weights), by least squares on the inputs themselves."""
    fitted = torch.linalg.lstsq(x_NI[:, keep], x_NI @ w).solution
    return float((x_NI[:, keep] @ fitted - x_NI @ w).square().mean()), fitted


@certificate("(2), (3) and (4) are brute force on 12 weights: the error, the weights and the inverse of a refit without each of them", tolerance=1e-8)
def one_removal(trial: Trial) -> float:
    """Largest relative difference over all weights of a row."""
    x_NI, W, H = _layer(trial, 1, 12)
    w, G = W[0], inverse(H)
    worst = 0.0
    for q in range(12):
        keep = [j for j in range(12) if j != q]
        error, fitted = _error(x_NI, w, keep)
        new, H_less = removal(w, G, q)
        worst = max(worst, abs(float(saliency(w, G.diagonal())[q]) - error) / error, float((new[keep] - fitted).abs().max() / fitted.abs().max()))
        less = torch.linalg.inv(H[keep][:, keep])
        worst = max(worst, float((H_less[keep][:, keep] - less).abs().max() / less.abs().max()))
    return worst


@certificate("Removing one by one by (2) to (4) leaves the weights and the error of one least-squares fit on what is left", tolerance=1e-7)
def many_removals(trial: Trial) -> float:
    """Largest relative difference over three sparsities of a layer of 12 weights; infinite where fewer or more went than asked for."""
    x_NI, W, H = _layer(trial, 2, 6)
    worst = 0.0
    for sparsity in (0.25, 0.5, 0.75):
        new, gone = OBS(order="greedy").operate(W, H, sparsity, torch.zeros_like(W, dtype=torch.bool))
        if int(gone.sum()) != round(sparsity * 12) or bool((new[gone] != 0).any()):
            return float("inf")
        for row in range(2):
            keep = (~gone[row]).nonzero().flatten().tolist()
            if keep:
                _, fitted = _error(x_NI, W[row], keep)
                worst = max(worst, float((new[row, keep] - fitted).abs().max() / fitted.abs().max()))
    return worst


@certificate("With one weight to go, greedy finds the best of all; with H = I it is magnitude pruning and nothing adapts", tolerance=1e-9)
def best_and_magnitude(trial: Trial) -> float:
    """Relative excess over the best single removal by brute force, plus the change of kept weights at H = I."""
    x_NI, W, H = _layer(trial, 1, 12)
    none = torch.zeros_like(W, dtype=torch.bool)
    errors = {keep: _error(x_NI, W[0], list(keep))[0] for keep in combinations(range(12), 11)}
    _, gone = OBS(order="greedy").operate(W, H, 1 / 12, none)
    found = tuple((~gone[0]).nonzero().flatten().tolist())
    worst = errors[found] / min(errors.values()) - 1
    identity = torch.eye(12, dtype=torch.float64)
    for order in ("greedy", "sweep"):
        new, gone = OBS(order=order).operate(W, identity, 0.5, none)
        smallest = torch.zeros_like(none).scatter_(1, W.abs().topk(6, largest=False).indices, True)
        worst = max(worst, float((gone != smallest).sum()), float((new - W)[~gone].abs().max()))
    return worst
