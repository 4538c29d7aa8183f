"""Accumulation and checkpointing on the specimen: same training, less memory, safe to copy."""

from __future__ import annotations

import copy

import pytest
import torch

from engines.api import Trial
from engines.toolbox.batches import detach
from engines.toolbox.optimization import largest_difference
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen
from plugins.memory.gradient_accumulation import GradientAccumulation
from plugins.memory.gradient_checkpointing import GradientCheckpointing
from plugins.regularization.weight_drop import WeightDrop

TRIAL = Trial(batch=4, length=6, width=8, vocabulary=13)


def test_accumulation_divides_once_by_all_targets() -> None:
    seen = []

    def backward(part, state, count=None, scale=1.0):
        seen.append((part.inputs_BT.shape[0], count, scale))
        return torch.tensor(1.0), part.tokens, state, {"auxiliary": torch.tensor(float(part.tokens)), "load": {"layers.0": torch.tensor([1, 2])}}

    context = Surroundings(torch.nn.Linear(1, 1))
    technique = GradientAccumulation(micro_batches=3).gradient(backward, context)
    batch = batches(TRIAL, 1, rows=4)[0]
    loss, count, _, extras = technique(batch, None, scale=0.5)
    assert seen == [(2, 24, 0.5), (1, 24, 0.5), (1, 24, 0.5)]
    assert (float(loss), count) == (3.0, 24)
    assert float(extras["auxiliary"]) == pytest.approx((12 * 12 + 6 * 6 + 6 * 6) / 24)
    assert extras["load"]["layers.0"].tolist() == [3, 6]
    assert context.effects[0][1] == {"passes": 3}


def test_accumulation_of_a_single_row_says_that_nothing_is_split() -> None:
    module = specimen(TRIAL)
    context = Surroundings(module)
    GradientAccumulation(micro_batches=4).gradient(backward_of(module), context)(batches(TRIAL, 1, rows=1)[0], None)
    assert "Nothing is split" in context.effects[0][0]


def test_accumulation_inside_accumulation_still_divides_once() -> None:
    batch = batches(TRIAL, 1)[0]
    whole, nested = specimen(TRIAL), specimen(TRIAL)
    backward_of(whole)(batch, None)
    once = GradientAccumulation(micro_batches=2).gradient(backward_of(nested), Surroundings(nested))
    GradientAccumulation(micro_batches=2).gradient(once, Surroundings(nested))(batch, None)
    assert largest_difference(gradients(nested), gradients(whole)) < 1e-14


def saved_bytes(module: torch.nn.Module, batch) -> int:
    """Bytes that autograd keeps between forward and backward, each storage once, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss, *_ = module(batch, None)
    loss.backward()
    return sum(kept.values())


def test_checkpointing_keeps_less_and_says_what_it_covers() -> None:
    batch = batches(TRIAL, 1)[0]
    module = specimen(TRIAL, layers=4)
    names = set(module.state_dict())
    plain = saved_bytes(module, batch)
    context = Surroundings(module)
    GradientCheckpointing(every=1).model(module, context)
    assert saved_bytes(module, batch) < 0.6 * plain
    assert set(module.state_dict()) == names
    assert context.effects[0][1] == {"checkpointed": 4, "layers": 4}


def test_checkpointing_recomputes_only_where_gradients_are_asked_for() -> None:
    module = specimen(TRIAL, layers=1)
    GradientCheckpointing().model(module, Surroundings(module))
    calls = []
    module.layers[0].mixer.register_forward_hook(lambda *_: calls.append(1))
    batch = batches(TRIAL, 1)[0]
    with torch.no_grad():
        module(batch, None)
    assert len(calls) == 1
    backward_of(module)(batch, None)
    assert len(calls) == 3


def test_checkpointing_a_module_without_layers_says_so() -> None:
    context = Surroundings(torch.nn.Linear(1, 1))
    GradientCheckpointing().model(torch.nn.Linear(1, 1), context)
    assert "Nothing was checkpointed" in context.effects[0][0]


def test_a_copy_of_a_checkpointed_model_computes_with_its_own_weights() -> None:
    module = specimen(TRIAL)
    GradientCheckpointing().model(module, Surroundings(module))
    WeightDrop(p=0.3).model(module, Surroundings(module))
    copied = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    batch = batches(TRIAL, 1)[0]
    backward_of(copied)(batch, None)
    assert all(p.grad is None for p in module.parameters())
    assert copied.layers[0].mixer.lstm.weight_hh_l0.grad is not None
    assert float(copied.hidden(batch.inputs_BT)[0].detach().abs().max()) == 0.0


def test_weight_drop_draws_the_same_mask_in_the_recomputation() -> None:
    def run(checkpointed: bool) -> torch.Tensor:
        module = specimen(TRIAL)
        WeightDrop(p=0.5).model(module, Surroundings(module))
        if checkpointed:
            GradientCheckpointing().model(module, Surroundings(module))
        torch.manual_seed(7)
        state = None
        for batch in batches(TRIAL, 2):
            _, _, state, _ = backward_of(module)(batch, state)
            state = detach(state)
        return gradients(module)

    assert torch.equal(run(True), run(False))
