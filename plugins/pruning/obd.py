"""Pruning by the second-order change of the loss, one weight at a time."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.calibrated import squared_gradients
from engines.toolbox.optimization import largest_difference
from engines.toolbox.pruning_technique import ByCriterion, Weights
from engines.toolbox.specimen import batches, gradients, specimen


class OBD(ByCriterion):
    """Optimal brain damage

    LeCun, Denker and Solla (1990), Optimal Brain Damage; with the diagonal of the empirical Fisher matrix for that of the Hessian, as in
    Theis, Korshunova, Tejani and Huszar (2018).

        L(w + dw) - L = g^T dw + dw^T H dw / 2 ~ sum_ij h_ij dw_ij^2 / 2    (1)  at a minimum, where g = 0; H taken as diagonal
        saliency_ij = h_ij w_ij^2 / 2                                       (2)  what removing that weight costs
        h_ij ~ (1 / N) sum_b (dL_b / dw_ij)^2                               (3)  L_b: loss of example b, N tokens

    An example is one row of a training batch. (3) squares each example's own gradient: the square of a batch's gradient would be about zero
    at a minimum. It equals the Hessian in expectation where the model's distribution is right, and says little of a model that is not trained.
    Symbols: s sparsity; removed are the round(s n) smallest (2) of a matrix (scope layer), of all (global) or of each row (row).
    Cost: one forward and backward pass a row of each calibration batch, slower than a batch at once; two copies of the weights meanwhile.
    Does nothing when: s = 0, or no weight matches (it then says so). Speed and size stay as they were in dense kernels and files.
    Parameters: calibration, and those of pruning: sparsity s, layer_sparsity, types, include, exclude, scope, granularity, block, mode, when,
    fine_tune_tokens, fine_tune_lr, begin, end, rounds.
    """

    paper: ClassVar[str] = (
        "LeCun, Denker and Solla (1990), https://papers.nips.cc/paper/250-optimal-brain-damage; "
        "Theis, Korshunova, Tejani and Huszar (2018), https://arxiv.org/abs/1801.05787"
    )

    calibration: int = param(4, "Training batches whose rows are the examples of (3).", unit="batches", ge=1)

    def scores(self, weights: Weights, module: nn.Module, ctx: Context) -> dict[str, torch.Tensor]:
        h = squared_gradients(module, weights, ctx.calibration(self.calibration))
        return {name: h[name] * weight.detach().square() / 2 for name, weight in weights.items()}  # (2)


@certificate("(3) is the mean of squared gradients of examples trained on alone, state carried", tolerance=1e-6)
def examples_alone(trial: Trial) -> float:
    """Largest difference, relative to the largest value, over two batches."""
    module, data = specimen(trial), batches(trial, 2)
    weights = OBD().matched(module)
    ours = torch.cat([h.flatten() for h in squared_gradients(module, weights, data).values()])
    total, tokens = torch.zeros_like(ours), 0
    module.eval()
    for row in range(trial.batch):
        state = None
        for batch in data:
            module.zero_grad(set_to_none=True)
            loss, count, state, _ = module(batch.split(trial.batch)[row], state)
            state = tuple((tuple(part.detach() for part in own)) for own in state)
            loss.backward()
            total += torch.cat([weight.grad.flatten() for weight in weights.values()]).square()  # type: ignore[union-attr]
            tokens += count
    if not bool(gradients(module).isfinite().all()):
        return float("inf")
    return largest_difference(ours, total / tokens) / float(total.max() / tokens)
