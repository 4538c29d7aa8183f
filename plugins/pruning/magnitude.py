"""Pruning the smallest weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from engines.api import Context, Trial, certificate
from engines.toolbox.pruning_technique import ByCriterion, Weights
from engines.toolbox.specimen import Surroundings, specimen


class Magnitude(ByCriterion):
    """Magnitude pruning

    Han, Pool, Tran and Dally (2015), Learning both Weights and Connections for Efficient Neural Networks; gradual schedule: Zhu and Gupta
    (2017), To prune, or not to prune.

    Equations, for the n weights w of one matrix (scope layer), of all matched ones together (global) or of one output row (row):

        removed = the round(s n) smallest |w|                               (1)
        w_removed <- 0, now and after every further update                  (2)
        s_t = s (1 - (1 - (p - b) / (e - b))^3)     for b <= p <= e         (3)  gradual: (1) anew in k rounds with a growing s_t
        s_j = 1 - (1 - s)^(j / k)                   for j = 1 ... k         (4)  iterative: each round cuts the same share of what is left

    one_shot: cut once by (1), after training (then fine-tune under (2)), before it, or when b of it is spent. gradual: cut by (3) while
    training goes on; a weight cut early may not return. iterative: after training, k times cut by (4) and fine-tune.
    Symbols: s sparsity, p spent share of the budget, b and e where cutting begins and ends, k rounds. Blocks and rows are ranked by the mean
    |w| of theirs. 2:4: of each four neighbours in a row the two smallest go (Mishra et al., 2021), a pattern that GPUs multiply and CPUs do not.
    Cost: one sort of the weights a round, one pass over them a step, one bit of mask a weight (a byte here); fine-tuning is training.
    Does nothing when: s = 0, or no weight matches (it then says so). Speed and size stay as they were in dense kernels and files.
    Parameters: sparsity s, layer_sparsity, types, include, exclude, scope, granularity, block, mode, when, fine_tune_tokens, fine_tune_lr,
    begin b, end e, rounds k.

    Embeddings and everything in the head are spared unless named. Vectors are never cut.
    """

    paper: ClassVar[str] = (
        "Han, Pool, Tran and Dally (2015), https://arxiv.org/abs/1506.02626; Zhu and Gupta (2017), https://arxiv.org/abs/1710.01878"
    )

    def scores(self, weights: Weights, module: nn.Module, ctx: Context) -> dict[str, torch.Tensor]:
        return {name: weight.detach().abs() for name, weight in weights.items()}  # (1)


@certificate("Exactly round(s n) weights become zero, none larger than any that stays; the others keep every bit; s = 0 changes none", tolerance=0.0)
def exact_count(trial: Trial) -> float:
    """Number of violations, over both scopes."""
    violations = 0
    for scope in ("layer", "global"):
        for sparsity in (0.0, 0.37, 0.8):
            module, plain = specimen(trial), specimen(trial)
            technique = Magnitude(sparsity=sparsity, scope=scope, fine_tune_tokens=0)
            technique.finish(module, Surroundings(module))
            groups = list(technique.matched(plain))
            for names in [groups] if scope == "global" else [[name] for name in groups]:
                old = torch.cat([plain.get_parameter(name).detach().flatten() for name in names])
                new = torch.cat([module.get_parameter(name).detach().flatten() for name in names])
                gone = new == 0
                violations += abs(int(gone.sum()) - round(sparsity * len(old))) + int((new != old)[~gone].sum())
                violations += int(bool(gone.any()) and float(old[gone].abs().max()) > float(old[~gone].abs().min()))
    return float(violations)
