"""quantization/qat: gradients against torch's own fake quantisation, ranges that come and stay, and what training with rounding gains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from engines.toolbox.fake import FakeInput, fake_quantise
from engines.toolbox.integer import ACTIVATIONS, StaticInt8Linear
from engines.toolbox.packed import PackedLinear, PackedLSTM
from plugins.quantization.qat import QuantisationAwareTraining
from tests.engines.runtime import session as small

ADAM = {"id": "optimization/adam", "lr": 0.01}


def finished(folder: Path, technique: dict, steps: int = 60):
    trainer = small.trainer(folder, small.plan([ADAM, technique], budget={"steps": steps}))
    trainer.train()
    before = trainer.held_out()[0].value
    records = trainer.pipeline.finish()
    return trainer, before, records[-1]["record"]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_values_and_gradients_are_torchs(bits: int) -> None:
    x = torch.randn(6, 40, generator=torch.Generator().manual_seed(bits), requires_grad=True)
    scale, zero, top = torch.rand(6) * 0.2 + 0.05, torch.randint(2**bits, (6,)), 2**bits - 1
    ours = fake_quantise(x, scale[:, None], zero[:, None].float(), top)
    theirs = torch.fake_quantize_per_channel_affine(x, scale, zero.int(), 0, 0, top)
    assert torch.equal(ours, theirs)
    cotangent = torch.randn_like(x)
    mine, other = (torch.autograd.grad(y, x, cotangent)[0] for y in (ours, theirs))
    assert torch.equal(mine, other)
    assert 0 < int((mine == 0).sum()) < mine.numel() or bits == 8
    whole = torch.fake_quantize_per_tensor_affine(x, float(scale[0]), int(zero[0]), 0, top)
    assert torch.equal(fake_quantise(x, scale[0], zero[0].float(), top), whole)


def test_ranges_are_averages_until_they_are_frozen() -> None:
    memory: dict = {"rounding": True}
    linear = nn.Linear(4, 2)
    linear.register_forward_pre_hook(FakeInput("it", ACTIVATIONS, 0.25, memory), with_kwargs=True)
    data = [torch.randn(3, 4) + i for i in range(4)]
    expected = None
    for x in data[:3]:
        linear(x)
        fresh = torch.stack([x.min(), x.max()])
        expected = fresh if expected is None else expected + 0.25 * (fresh - expected)
        assert torch.allclose(memory["ranges"]["it"], expected)
    linear.eval()(100 * data[3])
    memory["frozen"] = True
    linear.train()(100 * data[3])
    assert torch.allclose(memory["ranges"]["it"], expected)


@pytest.mark.slow
def test_training_that_sees_two_bits_beats_rounding_to_two_bits(tmp_path: Path) -> None:
    grid = {"bits": 2, "granularity": "channel"}
    trained, before, _ = finished(tmp_path / "qat", {"id": "quantization/qat", "begin": 0.5, **grid}, 120)
    rounded, _, _ = finished(tmp_path / "ptq", {"id": "quantization/weight_only", **grid}, 120)
    after = trained.held_out()[0].value
    assert after == pytest.approx(before, rel=1e-5), "what is packed is what was trained"
    assert after < 0.95 * rounded.held_out()[0].value
    model = trained.session.model
    assert isinstance(model.head.output, PackedLinear)
    assert any(isinstance(module, PackedLSTM) for module in model.modules())


def test_integer_products_at_the_end(tmp_path: Path) -> None:
    own = {"id": "quantization/qat", "bits": 8, "granularity": "channel", "types": ["Linear"], "activations": True}
    trainer, before, record = finished(tmp_path, own)
    assert record == {"modules": ["head.output"]}
    assert isinstance(trainer.session.model.head.output, StaticInt8Linear)
    assert trainer.held_out()[0].value == pytest.approx(before, rel=1e-5)
    with pytest.raises(ValueError, match="ends in integer products of 8 bits"):
        QuantisationAwareTraining(activations=True)


def test_it_begins_when_it_is_told_to(tmp_path: Path) -> None:
    recipes = [[ADAM], [ADAM, {"id": "quantization/qat", "bits": 2, "begin": 0.5}]]
    plain, late = (small.trainer(tmp_path / str(i), small.plan(recipe, budget={"steps": 20})) for i, recipe in enumerate(recipes))
    for trainer in (plain, late):
        trainer.train()
    assert small.losses(plain)[:10] == small.losses(late)[:10]
    assert small.losses(plain)[11:] != small.losses(late)[11:]
