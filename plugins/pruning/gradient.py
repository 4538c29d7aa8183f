"""Pruning by the first-order change of the loss."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.calibrated import mean_gradients
from engines.toolbox.pruning_technique import ByCriterion, Weights
from engines.toolbox.specimen import batches, specimen


class Gradient(ByCriterion):
    """Gradient pruning

    Taylor expansion: Molchanov, Tyree, Karras, Aila and Kautz (2017); before training it is SNIP: Lee, Ajanthan and Torr (2019).

        L(w_ij = 0) - L = -g_ij w_ij + O(w_ij^2),   g = dL/dw               (1)
        score_ij = |g_ij w_ij|                                              (2)
        removed = the round(s n) smallest scores                            (3)

    L mean loss a token over some batches of training text, without dropout. when = "before" with scope = "global" is SNIP: (2) at the
    initial weights, where the loss is steep. At a minimum g is about 0 and (2) mostly noise: then `pruning/obd` says more. Blocks and rows
    are ranked by the mean of (2), not by the square of a sum.
    Symbols: s sparsity, n weights of a matrix (scope layer), of all (global) or of a row (row).
    Cost: one forward and backward pass of each calibration batch a round, a copy of the weights meanwhile.
    Does nothing when: s = 0, or no weight matches (it then says so). Speed and size stay as they were in dense kernels and files.
    Parameters: calibration, and those of pruning: sparsity s, layer_sparsity, types, include, exclude, scope, granularity, block, mode, when,
    fine_tune_tokens, fine_tune_lr, begin, end, rounds.
    """

    paper: ClassVar[str] = (
        "Molchanov, Tyree, Karras, Aila and Kautz (2017), https://arxiv.org/abs/1611.06440; "
        "Lee, Ajanthan and Torr (2019), SNIP, https://arxiv.org/abs/1810.02340"
    )

    calibration: int = param(8, "Training batches that (1) is taken over.", unit="batches", ge=1)

    def scores(self, weights: Weights, module: nn.Module, ctx: Context) -> dict[str, torch.Tensor]:
        gradients = mean_gradients(module, weights, ctx.calibration(self.calibration))
        return {name: (gradients[name] * weight.detach()).abs() for name, weight in weights.items()}  # (2)


@certificate("The score is the derivative of the loss along shrinking that one weight, by central differences", tolerance=2e-4)
def finite_differences(trial: Trial) -> float:
    """Largest relative difference over eight weights of each matrix."""
    module, data = specimen(trial), batches(trial, 1)
    weights = Gradient().matched(module)
    gradients = mean_gradients(module, weights, data)
    step = 1e-5 if trial.dtype == "float64" else 1e-2
    worst = 0.0
    with torch.no_grad():
        module.eval()
        for name, weight in weights.items():
            score = (gradients[name] * weight).flatten()
            scale = float(score.abs().max())
            for place in range(0, weight.numel(), max(1, weight.numel() // 8)):
                losses = []
                value = float(weight.view(-1)[place])
                for factor in (1 + step, 1 - step):
                    weight.view(-1)[place] = value * factor
                    loss, count, *_ = module(data[0], None)
                    losses.append(float(loss) / count)
                weight.view(-1)[place] = value
                worst = max(worst, abs((losses[0] - losses[1]) / (2 * step) - float(score[place])) / scale)
    return worst
