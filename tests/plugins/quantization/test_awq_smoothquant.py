"""quantization/awq and quantization/smoothquant: where scales go, that models stay what they were, and what is gained."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engines.api import Trial
from engines.toolbox import folding
from engines.toolbox.integer import StaticInt8Linear
from engines.toolbox.quantisers import quantise
from engines.toolbox.specimen import Surroundings, batches, specimen
from plugins.quantization.awq import AWQ
from plugins.quantization.smoothquant import SmoothQuant
from tests.engines.runtime import session as small

TRIAL = Trial(width=24, vocabulary=60, dtype="float32")


def transformer(folder: Path, technique: dict[str, Any], feedforward: str = "relu", steps: int = 60):
    layer = {
        "mixer": {"id": "attention/full", "heads": 4}, "feedforward": {"id": "feedforward/dense", "activation": feedforward}, "repeat": 1,
        "residual": None, "norm": None,
    }  # fmt: skip
    model = {"embedding": {"id": "embeddings/lookup", "width": 24}, "layers": [layer], "head": {"id": "softmax/full"}}
    made = small.trainer(folder, small.plan([{"id": "optimization/adam", "lr": 0.01}, technique], model=model, budget={"steps": steps}))
    made.train()
    return made


def folds_of(trainer) -> dict[str, tuple[str, ...]]:
    model = trainer.session.model
    names = [name for name, child in model.named_modules() if isinstance(child, nn.Linear)]
    batch = next(iter(trainer.session.stream))
    return {fold.producer: fold.consumers for fold in folding.folds(model, names, batch)}


@pytest.mark.parametrize(("feedforward", "outer"), [("relu", "inner"), ("gelu", None), ("swiglu", "inner")])
def test_scales_go_through_norms_values_and_what_is_linear(tmp_path: Path, feedforward: str, outer: str | None) -> None:
    """Through relu, since it is homogeneous, and through the ungated half of swiglu; never through gelu."""
    found = folds_of(transformer(tmp_path, {"id": "optimization/clip_norm", "max_norm": 1.0}, feedforward, 3))
    layer = "layers.0"
    assert set(found[f"{layer}.mixer_norm"]) == {f"{layer}.mixer.{part}" for part in ("query", "key", "value")}
    assert found[f"{layer}.mixer.value"] == (f"{layer}.mixer.output",)
    assert found["final_norm"] == ("head.output",)
    assert f"{layer}.feedforward.network.inner" in found[f"{layer}.feedforward_norm"]
    through = [who for who, readers in found.items() if f"{layer}.feedforward.network.outer" in readers]
    assert through == ([f"{layer}.feedforward.network.{outer}"] if outer else [])


def test_a_norm_that_something_else_reads_takes_no_scale() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

        def forward(self, x, state):
            y = self.norm(x)
            return (self.linear(y).tanh() + y).square().sum(), 1, state, {}

    assert folding.folds(Residual(), ["linear"], torch.randn(3, 8, dtype=torch.float64)) == []


def test_a_tied_table_takes_no_scale() -> None:
    module = specimen(TRIAL, tied=True)
    found = folding.folds(module, ["layers.0.mixer.lstm", "head.output"], batches(TRIAL, 1)[0])
    assert found == []


def test_awq_errs_less_than_rounding_where_inputs_differ(tmp_path: Path) -> None:
    grid = {"bits": 3, "granularity": "channel"}
    module = specimen(TRIAL).eval()
    with torch.no_grad():
        module.final_norm.weight[:2] *= 40
    texts = batches(TRIAL, 4)
    surroundings: Any = Surroundings(module)
    surroundings.calibration = lambda count: texts
    technique, rounded = AWQ(**grid, include=("head.output",)), copy.deepcopy(module)
    finished: Any = technique.finish(copy.deepcopy(module), surroundings)[0]
    weight = rounded.head.output.weight
    weight.data.copy_(quantise(weight, technique.scheme("head.output.weight")).dense())
    held = batches(Trial(width=24, vocabulary=60, dtype="float32", seed=9), 1)[0]
    with torch.no_grad():
        expected, ours, nearest = (m.head.scores(m.hidden(held.inputs_BT)[0].flatten(0, 1)) for m in (module, finished, rounded))
    assert float((ours - expected).square().mean()) < 0.7 * float((nearest - expected).square().mean())
    sentence = surroundings.effects[0][0]
    assert "final_norm takes the scale of head.output" in sentence
    whole: Any = Surroundings(module)
    whole.calibration = lambda count: texts
    AWQ(**grid).finish(copy.deepcopy(module), whole)
    assert "layers.1.feedforward.linear have no norm, linear layer or embedding of their own before them" in whole.effects[0][0]


def test_smoothquant_rescues_int8_from_a_few_wide_channels() -> None:
    module = specimen(TRIAL).eval()
    with torch.no_grad():
        module.final_norm.weight[:1] *= 300
        module.head.output.weight[:, :1] /= 300
    texts, errors = batches(TRIAL, 4), {}
    held = batches(Trial(width=24, vocabulary=60, dtype="float32", seed=9), 1)[0]
    for alpha in (0.5, None):
        surroundings: Any = Surroundings(module)
        surroundings.calibration = lambda count: texts
        own = SmoothQuant(alpha=alpha or 0.5, include=("head.output",))
        if alpha is None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(folding, "folds", lambda *_: [])
                finished: Any = own.finish(copy.deepcopy(module), surroundings)[0]
            assert "rounded as they are" in surroundings.effects[0][0]
        else:
            finished = own.finish(copy.deepcopy(module), surroundings)[0]
            assert surroundings.effects[0][1]["smoothed"] == 1
        assert isinstance(finished.head.output, StaticInt8Linear)
        with torch.no_grad():
            ours, theirs = (m.head.log_prob(m.hidden(held.inputs_BT)[0].flatten(0, 1)) for m in (finished, module))
        errors[alpha] = float((ours - theirs).square().mean())
    assert errors[0.5] < 0.1 * errors[None]


@pytest.mark.parametrize("own", [{"id": "quantization/smoothquant"}, {"id": "quantization/awq", "bits": 4, "group_size": 8}])
def test_in_the_engine_quality_is_kept(tmp_path: Path, own: dict[str, Any]) -> None:
    trainer = transformer(tmp_path, {**own, "batches": 6})
    before = trainer.held_out()[0].value
    trainer.pipeline.finish()
    assert trainer.held_out()[0].value == pytest.approx(before, rel=0.1)
