"""pruning/magnitude against torch.nn.utils.prune: the same masks."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils import prune

from engines.api import Trial
from engines.toolbox.pruning import smallest, weights_of
from engines.toolbox.specimen import specimen

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
