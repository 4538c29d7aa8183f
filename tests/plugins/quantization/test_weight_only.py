"""quantization/weight_only: what is packed, how large it is, what is said, and that it survives the disk."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from engines.api import Trial
from engines.runtime.effects import Structure
from engines.runtime.evaluate import _size
from engines.toolbox.packed import PackedEmbedding, PackedLinear, PackedLSTM
from engines.toolbox.specimen import Surroundings, batches, specimen
from plugins.quantization.weight_only import WeightOnly

TRIAL = Trial(width=24, vocabulary=60, dtype="float32")


def finished(technique: WeightOnly, **options):
    module = specimen(TRIAL, **options).eval()
    context, original = Surroundings(module), copy.deepcopy(module)
    module, record = technique.finish(module, context)
    return module, record, original, *context.effects[0]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_file_shrinks_to_the_bits_that_are_stated(tmp_path: Path, bits: int) -> None:
    technique = WeightOnly(bits=bits, group_size=8, types=("Linear", "LSTM", "Embedding"))
    module, record, original, sentence, figures = finished(technique, tied=True)
    written = {name: tensor.clone().contiguous() for name, tensor in module.state_dict().items() if not name.startswith("head.output.matrix")}
    save_file(written, tmp_path / "w.safetensors")
    payload = sum(t.numel() * t.element_size() for t in written.values())
    vectors = sum(p.numel() for p in original.parameters() if p.ndim == 1)
    weights = sum(p.numel() for p in original.parameters() if p.ndim > 1)
    assert figures["weights"] == weights
    assert payload - 4 * vectors == figures["stored_bytes"] == weights * bits / 8 + weights / 8 * 4
    assert figures["bits"] == pytest.approx(bits + 4)
    assert f"{bits + 4:.2f} bits each as stored" in sentence
    assert "simulated in speed" in sentence
    restored = technique.restore(original, json.loads(json.dumps(record))).eval()
    restored.load_state_dict(load_file(tmp_path / "w.safetensors"), strict=False)
    ids_BT = batches(TRIAL, 1)[0].inputs_BT
    assert torch.equal(restored.hidden(ids_BT)[0], module.hidden(ids_BT)[0])
    assert torch.equal(restored.head.log_prob(restored.hidden(ids_BT)[0][0]), module.head.log_prob(module.hidden(ids_BT)[0][0]))


def test_numbers_are_counted_as_weights_and_not_as_bytes() -> None:
    module, _, original, _, figures = finished(WeightOnly(bits=2, group_size=8, symmetric=False))
    before, after = Structure.of(original), Structure.of(module)
    assert after.parameters == before.parameters
    assert after.bytes < before.bytes / 2
    counted = {row.key: row.value for row in _size(module, 1)}
    scales = sum(buffer.numel() for buffer in module.buffers())
    assert counted["size/parameters"] == before.parameters + scales
    assert figures["bits"] == pytest.approx(2 + 5)


def test_more_bits_err_less_and_8_bits_hardly() -> None:
    errors = [finished(WeightOnly(bits=bits))[4]["relative_error"] for bits in (2, 3, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


def test_layers_may_have_bits_of_their_own_and_patterns_choose() -> None:
    module, record, _, _, figures = finished(WeightOnly(bits=2, layer_bits={"*.lstm.*": 4, "*weight_hh*": 8}, exclude=("head*",)))
    bits = {name: each["scheme"]["bits"] for name, each in record["matrices"].items()}
    assert bits["layers.0.feedforward.linear.weight"] == 2
    assert bits["layers.1.mixer.lstm.weight_ih_l0"] == 4
    assert bits["layers.1.mixer.lstm.weight_hh_l0"] == 8
    assert isinstance(module.head.output, nn.Linear)
    assert figures["bits layers.0.feedforward.linear.weight"] == pytest.approx(2 + 32 / 24)
    assert figures["error layers.1.mixer.lstm.weight_hh_l0"] < figures["error layers.1.mixer.lstm.weight_ih_l0"]
    with pytest.raises(ValueError, match="codes have 2 to 8"):
        WeightOnly(layer_bits={"*": 9})


def test_a_head_that_loses_its_embedding_is_named() -> None:
    module, _, _, sentence, _ = finished(WeightOnly(), tied=True)
    assert isinstance(module.embedding, nn.Embedding)
    assert "embedding.weight keeps the float table that head.output.weight was tied to" in sentence


def test_types_and_unpacking_once() -> None:
    module, *_ = finished(WeightOnly(types=("Linear", "LSTM", "Embedding"), keep_unpacked=True))
    assert {type(m) for m in module.modules()} >= {PackedLinear, PackedLSTM, PackedEmbedding}
    plain, *_ = finished(WeightOnly(types=("Linear", "LSTM", "Embedding")))
    ids_BT = batches(TRIAL, 1)[0].inputs_BT
    for _ in range(2):
        assert torch.equal(module.hidden(ids_BT)[0], plain.hidden(ids_BT)[0])


def test_nothing_that_matches_is_said() -> None:
    module, record, _, sentence, _ = finished(WeightOnly(include=("nothing*",)))
    assert sentence.startswith("Nothing was quantised: no Linear or LSTM")
    assert record == {"matrices": {}}
    assert isinstance(module.head.output, nn.Linear)
