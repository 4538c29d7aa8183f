"""regularization/weight_drop: fresh masks in training, raw weights untouched, names kept."""

from __future__ import annotations

import copy

import pytest
import torch

from engines.api import Trial
from engines.toolbox.specimen import Surroundings, backward_of, batches, specimen
from plugins.regularization.weight_drop import WeightDrop

TRIAL = Trial(length=6, width=8, vocabulary=13)
NAME = "layers.0.mixer.lstm.weight_hh_l0"


def dropped(p: float = 0.5, **options):
    module = specimen(TRIAL, **options)
    context = Surroundings(module)
    return WeightDrop(p=p).model(module, context), context


def test_every_call_draws_a_fresh_mask_and_the_raw_weight_stays() -> None:
    module, context = dropped()
    ids_BT = batches(TRIAL, 1)[0].inputs_BT
    raw = module.get_parameter(NAME).clone()
    a, b = module.hidden(ids_BT)[0], module.hidden(ids_BT)[0]
    assert not torch.equal(a, b)
    for _ in range(20):
        module.hidden(ids_BT)
    assert torch.equal(module.get_parameter(NAME), raw)
    assert isinstance(module.get_parameter(NAME), torch.nn.Parameter)
    assert module.layers[0].mixer.lstm._flat_weights[1] is module.get_parameter(NAME)
    assert context.effects[0][1]["weights"] == 2 * 4 * 8 * 8


def test_evaluation_is_deterministic_and_names_are_kept() -> None:
    module, _ = dropped()
    plain = specimen(TRIAL)
    assert list(module.state_dict()) == list(plain.state_dict())
    ids_BT = batches(TRIAL, 1)[0].inputs_BT
    assert torch.equal(module.eval().hidden(ids_BT)[0], plain.eval().hidden(ids_BT)[0])


def test_p_zero_trains_bit_equally_and_says_that_nothing_is_dropped() -> None:
    module, context = dropped(p=0.0)
    plain, batch = specimen(TRIAL), batches(TRIAL, 1)[0]
    assert torch.equal(backward_of(module)(batch, None)[0], backward_of(plain)(batch, None)[0])
    assert "Nothing is dropped" in context.effects[0][0]


def test_a_pattern_without_match_says_so() -> None:
    module = specimen(TRIAL)
    context = Surroundings(module)
    WeightDrop(weights="encoder.*").model(module, context)
    assert 'no weight of the model matches "encoder.*"' in context.effects[0][0]


def test_dense_weights_can_be_dropped_too() -> None:
    module = specimen(TRIAL)
    WeightDrop(weights="layers.*.feedforward.linear.weight").model(module, Surroundings(module))
    x_BTD = torch.randn(2, 3, 8, dtype=torch.float64)
    linear = module.layers[0].feedforward.linear
    assert not torch.equal(linear(x_BTD), linear(x_BTD))


def test_an_error_inside_the_call_leaves_no_masked_weight_behind() -> None:
    module, _ = dropped()
    raw = module.get_parameter(NAME)
    with pytest.raises(RuntimeError):
        module.layers[0].mixer.lstm(torch.zeros(1, 2, 3, dtype=torch.float64))
    assert module.layers[0].mixer.lstm._parameters["weight_hh_l0"] is raw


def test_training_after_copying_trains_the_copy() -> None:
    module, _ = dropped()
    copied = copy.deepcopy(module)
    backward_of(copied)(batches(TRIAL, 1)[0], None)
    assert copied.get_parameter(NAME).grad is not None
    assert module.get_parameter(NAME).grad is None
