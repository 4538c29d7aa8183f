"""Pruning weights at random: the control of every other criterion."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from engines.api import Context, Trial, certificate
from engines.toolbox.pruning_technique import ByCriterion, Weights
from engines.toolbox.specimen import Surroundings, specimen


class Random(ByCriterion):
    """Random pruning

    The control: what any criterion must beat at the same sparsity; Blalock et al. (2020), What is the State of Neural Network Pruning?

        score_ij = -u_ij,   u_ij ~ Uniform(0, 1)                            (1)
        removed = the round(s n) smallest scores                            (2)

    Symbols: s sparsity, n weights of a matrix (scope layer), of all (global) or of a row (row). The draws follow the run's seed, and are the
    same in each round, so that later masks hold the earlier ones.
    Cost: one random number a weight and round.
    Does nothing when: s = 0, or no weight matches (it then says so). Speed and size stay as they were in dense kernels and files.
    Parameters: sparsity s, layer_sparsity, types, include, exclude, scope, granularity, block, mode, when, fine_tune_tokens, fine_tune_lr,
    begin, end, rounds.
    """

    paper: ClassVar[str] = "Blalock, Gonzalez Ortiz, Frankle and Guttag (2020), https://arxiv.org/abs/2003.03033"

    def scores(self, weights: Weights, module: nn.Module, ctx: Context) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(ctx.seed)  # of the CPU, so that every device cuts the same
        return {name: -torch.rand(weight.shape, generator=generator).to(weight.device) for name, weight in weights.items()}  # (1)


@certificate("Exactly round(s n) weights go; a higher sparsity removes all that a lower one does; another seed removes others", tolerance=0.0)
def counted_nested_seeded(trial: Trial) -> float:
    """Number of violations."""
    removed = {}
    for seed in (0, 1):
        for sparsity in (0.3, 0.7):
            module = specimen(trial)
            surroundings = Surroundings(module)
            surroundings.seed = seed
            Random(sparsity=sparsity, fine_tune_tokens=0).finish(module, surroundings)
            removed[seed, sparsity] = surroundings.state["removed"]
    wrong = sum(abs(int(gone.sum()) - round(s * gone.numel())) for (_, s), masks in removed.items() for gone in masks.values())
    few, many = removed[0, 0.3], removed[0, 0.7]
    wrong += sum(int((few[name] & ~many[name]).sum()) for name in few)
    return float(wrong + all(torch.equal(gone, removed[1, 0.3][name]) for name, gone in few.items()))
