"""A sparsity of its own for each layer, under every criterion, schedule and moment; kernels of convolutions among the matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from engines.toolbox.specimen import Surroundings
from engines.toolbox.straight_through import gates
from plugins.pruning.activation import Activation
from plugins.pruning.magnitude import Magnitude
from plugins.pruning.obs import OBS
from tests.engines.runtime import session as small

ADAM = {"id": "optimization/adam", "lr": 0.01}
OWN = {"sparsity": 0.0, "layer_sparsity": {"*lstm*": 0.75, "*hh*": 0.5}}


def shares(trainer: Any) -> dict[str, float]:
    lstm = trainer.session.model.get_submodule("layers.0.mixer.lstm")
    return {own: float((lstm.get_parameter(own) == 0).float().mean()) for own in ("weight_ih_l0", "weight_hh_l0")}


@pytest.mark.parametrize(
    "cut",
    [
        {"id": "pruning/magnitude"},
        {"id": "pruning/magnitude", "mode": "gradual"},
        {"id": "pruning/magnitude", "mode": "iterative", "rounds": 2},
        {"id": "pruning/random", "when": "before"},
        {"id": "pruning/obs"},
        {"id": "pruning/lottery_ticket", "rounds": 2},
        {"id": "pruning/movement"},
    ],
    ids=lambda each: "-".join(map(str, each.values())),
)
def test_each_layer_comes_to_its_own_share_and_the_last_pattern_wins(cut: dict[str, Any], tmp_path: Path) -> None:
    trainer = small.trainer(tmp_path, small.plan([ADAM, cut | OWN], budget={"steps": 12}))
    trainer.train()
    trainer.pipeline.finish()
    assert shares(trainer) == {"weight_ih_l0": 0.75, "weight_hh_l0": 0.5}


def test_on_the_way_each_share_follows_the_schedule(tmp_path: Path) -> None:
    movement = small.trainer(tmp_path, small.plan([ADAM, {"id": "pruning/movement", "begin": 0.25, "end": 0.75} | OWN], budget={"steps": 20}))
    movement.train()
    kept = {name.rpartition(".")[2]: gate.kept for name, gate, _ in gates(movement.session.model)}
    assert kept == {"weight_ih_l0": 0.25, "weight_hh_l0": 0.5}


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ValidationError, match='"head" is given sparsity 1: it is a share'):
        Magnitude(layer_sparsity={"head": 1.0})
    with pytest.raises(ValidationError, match='scope = "global" ranks all matrices together'):
        Magnitude(layer_sparsity={"head": 0.5}, scope="global")
    with pytest.raises(ValidationError, match="leave layer_sparsity out"):
        Magnitude(layer_sparsity={"head": 0.5}, granularity="2:4", sparsity=0.5)


class Convolved(nn.Module):
    """Two convolutions of a text, the second over two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(4, 6, 3, padding=1), nn.Conv2d(1, 5, (2, 6), padding=(1, 0))

    def forward(self, x: torch.Tensor, state: None = None) -> tuple[torch.Tensor, int, None, dict]:
        y = self.one(x).relu().transpose(1, 2)
        return self.two(y.unsqueeze(1)).square().sum(), x.shape[0], None, {}


def test_the_kernel_of_a_convolution_is_repaired_to_the_least_squares_of_what_stays() -> None:
    torch.manual_seed(0)
    module = Convolved().double()
    around = Surroundings(module)
    around.batches = [torch.randn(8, 4, 10, dtype=torch.float64) for _ in range(4)]
    before, x = module.one.weight.detach().flatten(1).clone(), torch.cat(around.batches)
    OBS(sparsity=0.5, damping=1e-10, fine_tune_tokens=0, include=("one*",)).finish(module, around)
    seen = nn.functional.unfold(x.unsqueeze(2), (1, 3), 1, (0, 1), 1).transpose(1, 2).flatten(0, 1)
    new = module.one.weight.detach().flatten(1)
    assert int((new == 0).sum()) == 36
    for row, old in zip(new, before, strict=True):
        kept = row.nonzero().flatten()
        fitted = torch.linalg.lstsq(seen[:, kept], seen @ old).solution
        torch.testing.assert_close(row[kept], fitted, rtol=1e-6, atol=1e-6)


def test_the_score_of_a_kernel_weight_is_the_change_of_the_outputs_without_it() -> None:
    torch.manual_seed(0)
    module = Convolved().double()
    around = Surroundings(module)
    around.batches = [torch.randn(8, 4, 10, dtype=torch.float64)]
    scores = Activation(calibration=1).scores({"two.weight": module.two.weight}, module, around)["two.weight"]
    y = module.one(around.batches[0]).relu().transpose(1, 2).unsqueeze(1)
    for place in ((0, 0, 0, 0), (3, 0, 1, 4)):
        changed = module.two.weight.detach().clone()
        changed[place] = 0.0
        difference = nn.functional.conv2d(y, changed, module.two.bias, padding=(1, 0)) - module.two(y)
        assert float(difference.detach().norm()) == pytest.approx(float(scores[place]), rel=1e-9)
