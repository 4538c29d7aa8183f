"""quantization/dynamic_int8: what is exchanged, what is kept, and that a finished model survives the disk."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engines.api import Trial
from engines.toolbox.int8 import Int8Linear, Int8LSTM
from engines.toolbox.specimen import Surroundings, batches, specimen
from plugins.quantization.dynamic_int8 import DynamicInt8

TRIAL = Trial(width=24, vocabulary=60, dtype="float32")


def finished(technique: DynamicInt8, **options):
    module = specimen(TRIAL, **options).eval()
    context = Surroundings(module)
    original = copy.deepcopy(module)
    module, record = technique.finish(module, context)
    return module, record, original, context.effects[0][0]


def test_every_linear_and_lstm_is_exchanged_and_the_model_still_computes_nearly_the_same() -> None:
    module, record, original, sentence = finished(DynamicInt8())
    assert [type(m).__name__ for m in module.modules() if isinstance(m, (nn.Linear, nn.LSTM))] == []
    assert len(record["modules"]) == 5
    batch = batches(TRIAL, 1)[0]
    hidden, state, _ = module.hidden(batch.inputs_BT)
    again, *_ = module.hidden(batch.inputs_BT, state)
    expected, *_ = original.hidden(batch.inputs_BT)
    assert hidden.shape == again.shape
    assert 0 < float((hidden - expected).detach().abs().max()) < 0.2
    ours, theirs = (m.head.nll(h.flatten(0, 1), batch.targets_BT.flatten()).mean() for m, h in ((module, hidden), (original, expected)))
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=0.02)
    assert "in 5 modules became int8" in sentence


def test_parameters_keep_their_number_and_lose_three_quarters_of_their_bytes() -> None:
    module, _, original, _ = finished(DynamicInt8())
    assert sum(p.numel() for p in module.parameters()) == sum(p.numel() for p in original.parameters())
    int8 = [p for p in module.parameters() if p.dtype == torch.int8]
    assert sum(p.numel() for p in int8) == 2 * (2 * 96 * 24 + 24 * 24) + 60 * 24


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_restores_from_safetensors(tmp_path: Path, tied: bool, per_channel: bool) -> None:
    technique = DynamicInt8(per_channel=per_channel)
    module, record, original, _ = finished(technique, tied=tied)
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, tmp_path / "w.safetensors")
    restored = technique.restore(original, json.loads(json.dumps(record))).eval().requires_grad_(False)
    restored.load_state_dict(load_file(tmp_path / "w.safetensors"))
    x_BT = batches(TRIAL, 1)[0].inputs_BT
    ours, theirs = restored.hidden(x_BT)[0], module.hidden(x_BT)[0]
    assert torch.equal(ours, theirs)
    assert torch.equal(restored.head.log_prob(ours[0]), module.head.log_prob(theirs[0]))


def test_loading_other_weights_packs_anew() -> None:
    linear = nn.Linear(8, 4)
    module = Int8Linear.of(linear, per_channel=False)
    x = torch.randn(3, 8)
    first = module(x)
    with torch.no_grad():
        linear.weight.neg_()
        linear.bias.zero_()
    module.load_state_dict(Int8Linear.of(linear, per_channel=False).state_dict())
    assert not torch.equal(first, module(x))
    assert torch.equal(module(x), Int8Linear.of(linear, per_channel=False)(x))


def test_copies_compute_alike_and_weights_can_be_read_as_floats() -> None:
    module = Int8LSTM.of(nn.LSTM(6, 5, num_layers=2, bidirectional=True), per_channel=True)
    x = torch.randn(4, 2, 6)
    y, _ = module(x)
    assert torch.equal(copy.deepcopy(module)(x)[0], y)
    linear = nn.Linear(6, 5)
    assert float((Int8Linear.of(linear, per_channel=True).weight - linear.weight).detach().abs().max()) < 0.01


def test_a_tied_head_is_quantised_and_the_table_it_leaves_behind_is_named() -> None:
    module, record, _, sentence = finished(DynamicInt8(), tied=True)
    assert "head.output" in record["modules"]
    assert module.embedding.weight.dtype == torch.float32
    assert "embedding keeps the float table that head.output was tied to" in sentence
    kept, record, _, _ = finished(DynamicInt8(exclude=("head*",)), tied=True)
    assert "head.output" not in record["modules"]
    assert kept.head.output.weight is kept.embedding.weight


def test_what_has_no_kernel_is_skipped_by_name() -> None:
    module = nn.Sequential(nn.LSTM(4, 4, bias=False), nn.LSTM(4, 4, proj_size=2))
    context = Surroundings(module)
    _, record = DynamicInt8().finish(module, context)
    assert record["modules"] == []
    assert context.effects[0][0].startswith("Nothing was quantised")
    assert "0 (an LSTM without biases has no int8 kernel)" in context.effects[0][0]


def test_empty_and_extreme_weights_stay_numbers() -> None:
    linear = nn.Linear(4, 3)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    for per_channel in (False, True):
        assert torch.equal(Int8Linear.of(linear, per_channel)(torch.randn(2, 4)), linear.bias.detach().expand(2, 3))


def test_other_devices_are_refused_with_a_sentence() -> None:
    with pytest.raises(RuntimeError, match="move model and input to the CPU"):
        Int8Linear.of(nn.Linear(4, 3), per_channel=False)(torch.zeros(1, 4, device="meta"))
