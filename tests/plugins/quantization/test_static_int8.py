"""quantization/static_int8: integer products, ranges by calibration, and what is said of layers that it cannot reach."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from engines.toolbox.integer import ACTIVATIONS, StaticInt8Linear, integer_product
from engines.toolbox.quantisers import grid
from tests.engines.runtime import session as small


def trainer_with(folder: Path, **options):
    layer = {"mixer": {"id": "attention/full", "heads": 4}, "feedforward": {"id": "feedforward/dense"}, "repeat": 1, "residual": None, "norm": None}
    model = {"embedding": {"id": "embeddings/lookup", "width": 24}, "layers": [layer], "head": {"id": "softmax/full"}}
    own = {"id": "quantization/static_int8", "batches": 8, **options}
    made = small.trainer(folder, small.plan([{"id": "optimization/adam", "lr": 0.01}, own], model=model, budget={"steps": 60}))
    made.train()
    return made


@pytest.mark.slow
@pytest.mark.parametrize("observer", ["min_max", "moving_average", "percentile", "mse"])
def test_every_observer_keeps_the_quality_of_a_trained_model(tmp_path: Path, observer: str) -> None:
    trainer = trainer_with(tmp_path, observer=observer)
    before = trainer.held_out()[0].value
    trainer.pipeline.finish()
    linears = [m for m in trainer.session.model.modules() if isinstance(m, StaticInt8Linear)]
    assert len(linears) == 7
    assert not any(isinstance(m, nn.Linear) for m in trainer.session.model.modules())
    assert trainer.held_out()[0].value == pytest.approx(before, rel=0.03)
    stated = next(each for each in trainer.pipeline.stated_effects() if each.hook == "stated" and "static" in each.technique)
    assert "products are integer" in stated.sentence
    assert 0 < stated.facts["error head.output"] < 0.05


def test_values_beyond_the_range_are_clamped() -> None:
    linear = nn.Linear(1, 1, bias=False)
    nn.init.ones_(linear.weight)
    form = StaticInt8Linear.of(linear, *grid(torch.tensor(-1.0), torch.tensor(3.0), ACTIVATIONS), per_channel=False)
    assert form(torch.tensor([[-5.0], [0.0], [9.0]])).flatten().tolist() == pytest.approx([-1.0, 0.0, 3.0], abs=0.02)


def test_sums_do_not_overflow_where_16_bits_would() -> None:
    q, levels = torch.full((2, 4096), -128, dtype=torch.int8), torch.full((3, 4096), 127, dtype=torch.int8)
    assert (integer_product(q, levels) == -128 * 127 * 4096).all()


def test_what_calibration_does_not_reach_stays_float(tmp_path: Path) -> None:
    own = {"id": "quantization/static_int8", "include": ["spare", "*mixer*"]}
    trainer = small.trainer(tmp_path, small.plan([{"id": "optimization/adam", "lr": 0.01}, own], budget={"steps": 3}))
    trainer.session.model.spare = nn.Linear(4, 4)
    trainer.train()
    trainer.pipeline.finish()
    assert isinstance(trainer.session.model.spare, nn.Linear)
    said = [each.sentence for each in trainer.pipeline.stated_effects() if each.technique == "quantization/static_int8"]
    assert any(s.startswith("Nothing was quantised") and "spare.weight (calibration shows none of its inputs)" in s for s in said)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(1, 24, 10), (17, 64, 32), (3, 5, 7)])
def test_cuda_gives_the_same_integers(shape: tuple[int, int, int]) -> None:
    rows, columns, outputs = shape
    q = torch.randint(-128, 128, (rows, columns), dtype=torch.int8)
    levels = torch.randint(-127, 128, (outputs, columns), dtype=torch.int8)
    assert torch.equal(integer_product(q.cuda(), levels.cuda()).cpu(), integer_product(q, levels))
