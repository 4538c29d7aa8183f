"""Pruning by weight times input."""

from __future__ import annotations

from typing import ClassVar, get_args

import torch
from torch import nn

from engines.api import Context, Trial, certificate, param
from engines.toolbox.calibrated import input_norms
from engines.toolbox.pruning import Scope, WithInputs
from engines.toolbox.pruning_technique import ByCriterion, Weights
from engines.toolbox.specimen import Surroundings, batches, specimen


class Activation(ByCriterion):
    """Activation pruning (Wanda)

    Sun, Liu, Bair and Kolter (2024), A Simple and Effective Pruning Approach for Large Language Models.

        score_ij = |W_ij| ||x_j||_2                                         (1)  x_j: input j over all calibration tokens
        removed = the round(s I) smallest scores of each output row         (2)

    W (O, I). A small weight on a loud input does more than a large one on a silent input. Rows are compared within themselves, since (1)
    says nothing of how much each output matters. It is `pruning/obs` with a diagonal Hessian and nothing adapted afterwards.
    Of recurrent layers: x is the layer's input for weight_ih_l0 and the hidden state one step before for the last weight_hh; of convolutions the
    window under the kernel. Weights whose inputs cannot be seen from outside (deeper layers of one module, groups of channels) are left alone
    and named.
    Cost: one forward pass of each calibration batch a round; I numbers a matrix.
    Does nothing when: s = 0, or no weight matches (it then says so). Speed and size stay as they were in dense kernels and files.
    Parameters: calibration, and those of pruning: sparsity s, layer_sparsity, types, include, exclude, scope, granularity, block, mode, when,
    fine_tune_tokens, fine_tune_lr, begin, end, rounds.
    """

    paper: ClassVar[str] = "Sun, Liu, Bair and Kolter (2024), https://arxiv.org/abs/2306.11695"

    types: tuple[WithInputs, ...] = param(get_args(WithInputs), "Types of modules whose matrices may be cut.")
    scope: Scope = param("row", "Rank weights within each output row, within each matrix, or all matrices together.")
    calibration: int = param(8, "Training batches whose inputs are measured.", unit="batches", ge=1)

    def scores(self, weights: Weights, module: nn.Module, ctx: Context) -> dict[str, torch.Tensor]:
        norms = input_norms(module, weights, ctx.calibration(self.calibration))
        return {name: weights[name].detach().abs() * norm.view(weights[name].shape[1:]) for name, norm in norms.items()}  # (1)


@certificate("The score of a weight is the change of its layer's outputs, in Euclidean norm, when it alone becomes zero", tolerance=1e-5)
def change_of_outputs(trial: Trial) -> float:
    """Largest relative difference over the weights of one linear layer."""
    module, data = specimen(trial), batches(trial, 2)
    technique, surroundings = Activation(calibration=2), Surroundings(module)
    surroundings.batches = data
    name = "layers.0.feedforward.linear.weight"
    layer = module.get_submodule(name.rpartition(".")[0])
    weight = module.get_parameter(name)
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_pre_hook(lambda child, args: seen.append(args[0].detach().flatten(0, 1)))
    scores = technique.scores({name: weight}, module, surroundings)[name]
    handle.remove()
    x_NI = torch.cat(seen)
    with torch.no_grad():
        before_NO = x_NI @ weight.T
        worst = 0.0
        for i, j in ((0, 0), (1, weight.shape[1] - 1), (weight.shape[0] - 1, weight.shape[1] // 2)):
            cut = weight.clone()
            cut[i, j] = 0.0
            change = float((x_NI @ cut.T - before_NO).norm())
            worst = max(worst, abs(change - float(scores[i, j])) / max(change, 1e-12))
    return worst
