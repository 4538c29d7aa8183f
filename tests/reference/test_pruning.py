"""Masks against torch.nn.utils.prune and torch.ao.pruning: the same."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import nn
from torch.ao.pruning import WeightNormSparsifier
from torch.nn.utils import prune

from engines.api import Trial
from engines.toolbox.pruning import smallest, weights_of
from engines.toolbox.specimen import Surroundings, batches, specimen
from plugins.pruning.gradient import Gradient
from plugins.pruning.random import Random

TRIAL = Trial(width=16, vocabulary=40)


def parts(module):
    names = weights_of(module, ["Linear", "LSTM", "Embedding"], ["*"], [])
    return {name: (module.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names}


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.83])
def test_layer_masks_equal_l1_unstructured(amount: float) -> None:
    module = specimen(TRIAL)
    ours = smallest({name: getattr(child, own).detach().abs() for name, (child, own) in parts(module).items()}, amount, "layer")
    for name, (child, own) in parts(specimen(TRIAL)).items():
        prune.l1_unstructured(child, own, amount=amount)
        assert torch.equal(ours[name], getattr(child, f"{own}_mask") == 0)


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.83])
def test_global_masks_equal_global_unstructured(amount: float) -> None:
    module, reference = specimen(TRIAL), specimen(TRIAL)
    ours = smallest({name: getattr(child, own).detach().abs() for name, (child, own) in parts(module).items()}, amount, "global")
    theirs = parts(reference)
    prune.global_unstructured(list(theirs.values()), pruning_method=prune.L1Unstructured, amount=amount)
    for name, (child, own) in theirs.items():
        assert torch.equal(ours[name], getattr(child, f"{own}_mask") == 0)


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.83])
def test_random_masks_equal_random_unstructured(amount: float) -> None:
    module = specimen(TRIAL)
    weights = weights_of(module, ["Linear", "LSTM"], ["*"], [])
    context = Surroundings(module)
    context.seed = 7
    ours = Random(exclude=()).chosen(weights, dict.fromkeys(weights, amount), module, context)
    reference = specimen(TRIAL).float()  # torch draws in the type of the weight
    torch.manual_seed(7)
    for name, (child, own) in parts(reference).items():
        if name in weights:
            prune.random_unstructured(child, own, amount=amount)
            assert torch.equal(ours[name], getattr(child, f"{own}_mask") == 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_two_of_four_masks_equal_torch_ao() -> None:
    """Of matrices with rows of 64 and 24 numbers; and each four by brute force, the pair that keeps most of |w|."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 24), nn.Linear(24, 5))
    ours = smallest({f"{i}.weight": module[i].weight.detach().abs() for i in range(2)}, 0.5, "layer", "2:4")
    sparsifier = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    weight = {name: module.get_parameter(name).detach().clone() for name in ours}
    sparsifier.prepare(module, [{"tensor_fqn": name} for name in ours])
    sparsifier.step()
    for i in range(2):
        assert torch.equal(ours[f"{i}.weight"], module[i].parametrizations.weight[0].mask == 0)
    for name, removed in ours.items():
        for four, gone in zip(weight[name].abs().view(-1, 4), removed.view(-1, 4), strict=True):
            best = max(combinations(range(4), 2), key=lambda pair: float(four[list(pair)].sum()))
            assert tuple((~gone).nonzero().flatten().tolist()) == best


@pytest.mark.parametrize("amount", [0.25, 0.5])
def test_row_masks_equal_ln_structured(amount: float) -> None:
    module = specimen(TRIAL)
    ours = smallest({name: getattr(child, own).detach().abs() for name, (child, own) in parts(module).items()}, amount, "layer", "row")
    for name, (child, own) in parts(specimen(TRIAL)).items():
        prune.ln_structured(child, own, amount=amount, n=1, dim=0)
        assert torch.equal(ours[name], getattr(child, f"{own}_mask") == 0)


@pytest.mark.parametrize("amount", [0.3, 0.9])
def test_taylor_masks_equal_torch_with_importance_scores(amount: float) -> None:
    """The scores by a plain backward pass, the masks by torch, all matrices together."""
    module, data = specimen(TRIAL), batches(TRIAL, 1)
    ours = Gradient(exclude=(), scope="global").chosen(weights_of(module, ["Linear", "LSTM"], ["*"], []), amount, module, _with(module, data))
    reference = specimen(TRIAL).eval()
    loss, count, *_ = reference(data[0], None)
    (loss / count).backward()
    theirs = {name: part for name, part in parts(reference).items() if name in ours}
    scores = {part: (getattr(*part).grad * getattr(*part)).detach().abs() for part in theirs.values()}
    prune.global_unstructured(list(theirs.values()), pruning_method=prune.L1Unstructured, importance_scores=scores, amount=amount)
    for name, (child, own) in theirs.items():
        assert torch.equal(ours[name], getattr(child, f"{own}_mask") == 0)


def _with(module, data) -> Surroundings:
    context = Surroundings(module)
    context.batches = data
    return context
