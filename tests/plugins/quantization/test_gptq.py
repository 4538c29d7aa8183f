"""quantization/gptq: against all roundings there are, inside the engine, and what is said of layers that calibration does not reach."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engines.toolbox.calibration import Moments, output_error, run
from engines.toolbox.inputs import watched
from engines.toolbox.packed import PackedLinear
from engines.toolbox.quantisers import Scheme, quantise
from engines.toolbox.specimen import Surroundings
from plugins.quantization import gptq as plugin
from plugins.quantization.gptq import GPTQ, gptq
from plugins.quantization.kmeans import KMeans
from plugins.quantization.weight_only import WeightOnly
from tests.engines.runtime import session as small


def inputs(rows: int, columns: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) @ torch.randn(columns, columns, generator=generator)


def test_between_nearest_and_the_best_of_all_roundings() -> None:
    scheme, better, errors = Scheme(2, False, "channel"), 0, torch.zeros(3)
    for seed in range(12):
        x = inputs(64, 6, seed)
        H = 2 * x.T.double() @ x.double() / 64
        weight = torch.randn(1, 6, generator=torch.Generator().manual_seed(100 + seed))
        plain, ours = quantise(weight, scheme), gptq(weight, H, scheme, 1e-6)
        levels = torch.tensor(list(itertools.product(range(4), repeat=6)), dtype=torch.float32)
        every = plain.scale_RG * (levels - plain.zero_RG.float())
        all_errors = ((every - weight).double() @ H * (every - weight).double()).sum(1)
        wrong = [quantised.dense().double() - weight for quantised in (ours, plain)]
        three = [float(all_errors.min()), *(float((error @ H * error).sum()) for error in wrong)]
        assert three[0] <= min(three[1:]) * (1 + 1e-9)
        better += three[1] <= three[2] * (1 + 1e-9)
        errors += torch.tensor(three)
    assert better >= 9
    assert errors[1] < 0.8 * errors[2]


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize("group", [48, 500])
def test_wide_layers_are_cut_in_blocks_without_a_trace(act_order: bool, group: int) -> None:
    """Groups that cross the blocks of 128 columns, and held-out inputs of the same kind."""
    x = inputs(1200, 200, 0)
    weight = torch.randn(10, 200, generator=torch.Generator().manual_seed(1))
    H, held = (2 * part.T.double() @ part.double() / 600 for part in (x[:600], x[600:]))
    scheme = Scheme(3, False, "group", group)
    ours, plain = gptq(weight, H, scheme, 0.01, act_order), quantise(weight, scheme)
    assert output_error(ours.dense() - weight, weight, held) < 0.85 * output_error(plain.dense() - weight, weight, held)


def test_inputs_that_are_always_zero_and_pruned_weights_do_no_harm() -> None:
    x = inputs(64, 8, 2)
    x[:, 3] = 0
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(3))
    found = gptq(weight, 2 * x.T.double() @ x.double() / 64, Scheme(4, True, "channel"))
    assert found.dense().isfinite().all()
    assert output_error(found.dense() - weight, weight, 2 * x.T @ x / 64) < 0.2


def test_moments_are_those_of_the_rows_that_matrices_meet() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.linear = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x, state):
            y, state = self.lstm(x, state)
            return self.linear(y).sum(), 1, state, {}

    torch.manual_seed(0)
    model, batches = Model(), [torch.randn(2, 5, 3), torch.randn(2, 5, 3)]
    seen = Moments(products=True)
    names = ["lstm.weight_ih_l0", "lstm.weight_hh_l0", "linear.weight"]
    with watched(model, names, seen.take):
        run(model, batches)
    assert seen.order == names[:2] + names[2:]
    x = torch.cat(batches, dim=1)
    y = model.lstm(x)[0].detach()
    before = torch.cat([torch.zeros(2, 1, 4), y[:, :-1]], dim=1)
    for name, rows in zip(names, (x, before, y), strict=True):
        rows = rows.flatten(0, 1).double()
        assert torch.allclose(seen.hessian(name), 2 * rows.T @ rows / len(rows), atol=1e-6)
        assert torch.allclose(seen.largest[name], rows.abs().amax(0), atol=1e-6)
        assert seen.rows[name] == 20


@pytest.mark.parametrize("sequential", [True, False])
def test_in_the_engine_layers_err_less_than_rounded_to_nearest(tmp_path: Path, sequential: bool) -> None:
    own = {"id": "quantization/gptq", "bits": 3, "group_size": 8, "sequential": sequential, "batches": 6}
    trainer = small.trainer(tmp_path, small.plan([{"id": "optimization/adam", "lr": 0.01}, own], budget={"steps": 60}))
    trainer.train()
    trainer.pipeline.finish()
    sentence = next(each.sentence for each in trainer.pipeline.stated_effects() if each.technique == "quantization/gptq" and each.hook == "stated")
    ours, nearest, each = re.findall(r"calibration batches: ([\d.]+)%; rounding to nearest: ([\d.]+)%. Each: (.*)", sentence)[0]
    assert len(re.findall(r"weight\S* [\d.]+% \([\d.]+%\)", each)) == 3
    assert float(ours) < 0.85 * float(nearest)


def test_what_calibration_does_not_reach_is_named(tmp_path: Path) -> None:
    own = {"id": "quantization/gptq", "include": ["*lstm", "spare"]}
    trainer = small.trainer(tmp_path, small.plan([{"id": "optimization/adam", "lr": 0.01}, own], budget={"steps": 3}))
    trainer.session.model.spare = nn.Linear(4, 4)
    trainer.train()
    trainer.pipeline.finish()
    said = [effect.sentence for effect in trainer.pipeline.stated_effects() if effect.technique == "quantization/gptq"]
    assert any("Rounded to nearest, since calibration shows none of their inputs: spare.weight." in sentence for sentence in said)


class Tied(nn.Module):
    """A head that shares its table with an embedding, behind matrices that read one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.query, self.key, self.head = nn.Embedding(40, 16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 40, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor, state: None = None) -> tuple[torch.Tensor, int, None, dict]:
        x = self.table(ids)
        scores = self.head(self.query(input=x) * self.key(x).sigmoid())
        return nn.functional.cross_entropy(scores.flatten(0, 1), ids.flatten(), reduction="sum"), ids.numel(), None, {}


@pytest.mark.parametrize("technique", [GPTQ(bits=2), KMeans(bits=2), WeightOnly(bits=2)], ids=lambda each: type(each).__name__)
def test_a_table_that_is_not_packed_stays_bit_for_bit(technique: Any) -> None:
    torch.manual_seed(0)
    module = Tied().eval()
    table, around = module.table.weight.detach().clone(), Surroundings(module)
    around.batches = [torch.randint(40, (2, 12)) for _ in range(3)]
    technique.finish(module, around)
    assert torch.equal(module.table.weight, table)
    assert isinstance(module.head, PackedLinear)


def test_matrices_that_read_one_tensor_share_a_pass_and_are_what_a_pass_for_each_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    made, passes = [], [0, 0]
    for apart in (False, True):
        torch.manual_seed(0)
        module = Tied().eval()
        around = Surroundings(module)
        around.batches = [torch.randint(40, (2, 12)) for _ in range(3)]
        calls = module.register_forward_hook(lambda *_, own=int(apart): passes.__setitem__(own, passes[own] + 1))
        if apart:
            monkeypatch.setattr(plugin, "readers", lambda module, names, run: [[name] for name in names])
        GPTQ(bits=3, group_size=8).finish(module, around)
        calls.remove()
        made.append(module.state_dict())
    assert made[0].keys() == made[1].keys()
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert passes == [3 + 1 + 2 * 3, 3 + 3 * 3]
