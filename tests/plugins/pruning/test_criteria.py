"""The criteria, schedules and moments of pruning, on a small model that really trains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from engines.api import Trial
from engines.toolbox import brain_surgery
from engines.toolbox.calibrated import input_moments, squared_gradients, visit_inputs
from engines.toolbox.pruning import smallest
from engines.toolbox.pruning_technique import ByCriterion
from engines.toolbox.specimen import Surroundings, backward_of, batches, specimen
from plugins.pruning.activation import Activation
from plugins.pruning.gradient import Gradient
from plugins.pruning.magnitude import Magnitude
from plugins.pruning.obd import OBD
from plugins.pruning.obs import OBS
from plugins.pruning.random import Random
from tests.engines.runtime import session as small

TRIAL = Trial(length=5, width=8, vocabulary=13)
CRITERIA = [Magnitude, Random, Gradient, Activation, OBD, OBS]


class Training(Surroundings):
    """A context whose `train` really runs updates through the technique's own hooks."""

    def __init__(self, module: Any, technique: ByCriterion) -> None:
        super().__init__(module, torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01))
        self.batches = batches(TRIAL, 8)
        self.technique = technique
        self.trained: list[tuple[int, float]] = []
        self.sparsities: list[float] = []
        self.backward = technique.gradient(backward_of(module), self)
        self.update = technique.step(self._optimizer_step, self)

    def _optimizer_step(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def updates(self, n: int) -> None:
        for batch in batches(TRIAL, n):
            self.backward(batch, None)
            self.update()
            self.sparsities.append(zeros(self.model, self.technique))
            self.step += 1
            self.tokens += batch.tokens

    def train(self, *, tokens: int, lr_scale: float = 1.0) -> None:
        self.trained.append((tokens, lr_scale))
        self.updates(2)


def zeros(module: nn.Module, technique: ByCriterion) -> float:
    weights = technique.matched(module).values()
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_every_criterion_cuts_exactly_and_its_zeros_survive_fine_tuning(criterion: type[ByCriterion], sparsity: float) -> None:
    module, technique = specimen(TRIAL), criterion(sparsity=sparsity, fine_tune_tokens=64)
    context = Training(module, technique)
    context.updates(2)
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    if sparsity == 0:
        assert not context.state.get("removed")
        technique.cut(matched := technique.matched(module), dict.fromkeys(matched, 0.0), module, context)
        assert all(torch.equal(before[name], weight) for name, weight in module.named_parameters())
    _, record = technique.finish(module, context)
    assert context.trained == [(64, 0.1)]
    assert zeros(module, technique) == sparsity
    assert record["zero_weights"] == sparsity * record["prunable_weights"]
    assert record["sparsity of layers.0.feedforward.linear.weight"] == sparsity


@pytest.mark.parametrize("criterion", CRITERIA)
def test_iterative_pruning_cuts_the_same_share_each_round_and_nests(criterion: type[ByCriterion]) -> None:
    technique = criterion(mode="iterative", sparsity=0.75, rounds=2, fine_tune_tokens=101, fine_tune_lr=0.5)
    context = Training(specimen(TRIAL), technique)
    context.updates(1)
    technique.finish(context.model, context)
    assert context.trained == [(50, 0.5), (51, 0.5)]
    assert context.sparsities == [0.0, 0.5, 0.5, 0.75, 0.75]
    gone = context.state["removed"]
    again = technique.cut(matched := technique.matched(context.model), dict.fromkeys(matched, 0.8), context.model, context)
    assert all(bool((again[name] | ~gone[name]).all()) for name in gone)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_before_training_means_before_its_first_forward_pass(criterion: type[ByCriterion]) -> None:
    module, technique = specimen(TRIAL), criterion(when="before", sparsity=0.5)
    context = Training(module, technique)
    seen: list[float] = []
    module.register_forward_pre_hook(lambda *_: seen.append(zeros(module, technique)))
    context.updates(3)
    assert seen[-3:] == [0.5, 0.5, 0.5]
    assert context.sparsities == [0.5, 0.5, 0.5]
    first = {name: gone.clone() for name, gone in context.state["removed"].items()}
    technique.finish(module, context)
    assert context.trained == [], "the training after the cut was the training"
    assert all(torch.equal(first[name], gone) for name, gone in context.state["removed"].items())


def test_one_shot_during_training_cuts_when_its_share_is_spent() -> None:
    technique = Magnitude(when="during", begin=0.5, sparsity=0.5)
    context = Training(specimen(TRIAL), technique)
    for i in range(4):
        context.progress = (i + 1) / 4
        context.updates(1)
    assert context.sparsities == [0.0, 0.5, 0.5, 0.5]


def test_groups_go_as_a_whole_and_are_ranked_by_their_mean() -> None:
    score = torch.arange(20.0).view(4, 5).flip(0)
    blocks = smallest({"w": score}, 0.5, "layer", "block", (2, 2))["w"]
    assert blocks.int().tolist() == [[0, 0, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 1]] * 2
    rows = smallest({"w": score.view(4, 5, 1)}, 0.25, "layer", "row")["w"]
    assert rows[..., 0].int().tolist() == [[0] * 5, [0] * 5, [0] * 5, [1] * 5]
    across = smallest({"a": torch.tensor([[1.0, 1.0], [9.0, 9.0]]), "b": torch.tensor([[2.0, 3.0], [0.0, 0.0]])}, 0.5, "global", "row")
    assert across["a"].int().tolist() == [[1, 1], [0, 0]]
    assert across["b"].int().tolist() == [[0, 0], [1, 1]]
    within = smallest({"w": torch.tensor([[3.0, 1.0, 2.0, 4.0], [30.0, 10.0, 40.0, 20.0]])}, 0.5, "row")["w"]
    assert within.int().tolist() == [[0, 1, 1, 0], [0, 1, 0, 1]]


def test_schedules_that_cannot_be_are_refused_with_what_to_do() -> None:
    with pytest.raises(ValidationError, match='mode = "gradual" cuts during training, not after'):
        Magnitude(mode="gradual", when="after")
    with pytest.raises(ValidationError, match='choose scope = "layer" or "global"'):
        Activation(granularity="row")
    with pytest.raises(ValidationError, match="both sides must be at least 1"):
        Random(granularity="block", block=(0, 4))
    for wrong in ({}, {"sparsity": 0.5, "mode": "iterative"}):
        with pytest.raises(ValidationError, match=r'set sparsity = 0.5 and mode = "one_shot"'):
            Magnitude(granularity="2:4", **wrong)
    with pytest.raises(ValidationError, match="errors of different layers are not comparable"):
        OBS(scope="global")


def test_the_squared_gradient_of_a_batch_is_not_that_of_its_examples() -> None:
    module, data = specimen(TRIAL), batches(TRIAL, 1)
    weights = OBD().matched(module)
    module.zero_grad()
    loss, count, *_ = module(data[0], None)
    loss.backward()
    each = squared_gradients(module, weights, data)
    assert all(not torch.allclose(each[name], weight.grad.square() / count, rtol=0.1) for name, weight in weights.items())


def test_what_is_measured_leaves_gradients_modes_and_random_numbers_alone() -> None:
    module = specimen(TRIAL, dropout=0.5)
    weights = OBD().matched(module)
    for weight in weights.values():
        weight.grad = torch.ones_like(weight)
    random = torch.get_rng_state()
    squared_gradients(module, weights, batches(TRIAL, 2))
    input_moments(module, weights, batches(TRIAL, 2))
    assert all(bool((weight.grad == 1).all()) for weight in weights.values())
    assert module.training
    assert torch.equal(random, torch.get_rng_state())


def test_the_inputs_of_recurrent_weights_are_those_that_make_the_gates() -> None:
    """Every gate's sum of an LSTM is W x + U h + b with the inputs that are shown: the states that follow are the module's own."""
    module = specimen(TRIAL, layers=1).double()
    lstm = module.layers[0].mixer.lstm
    outputs: list[torch.Tensor] = []
    handle = lstm.register_forward_hook(lambda child, args, output: outputs.append(output[0].detach().flatten(0, 1)))
    seen: dict[str, list[torch.Tensor]] = {"weight_ih_l0": [], "weight_hh_l0": []}
    names = {f"layers.0.mixer.lstm.{own}": lstm.get_parameter(own) for own in seen}
    visit_inputs(module, names, batches(TRIAL, 2), lambda name, x: seen[name.rpartition(".")[2]].append(x))
    handle.remove()
    x, h = (torch.cat(seen[own]).view(2 * TRIAL.batch, TRIAL.length, -1) for own in seen)
    c = torch.zeros(TRIAL.batch, TRIAL.width, dtype=torch.float64)
    after = []
    for segment in range(2):
        rows = slice(segment * TRIAL.batch, (segment + 1) * TRIAL.batch)
        for t in range(TRIAL.length):
            gates = x[rows, t] @ lstm.weight_ih_l0.T + h[rows, t] @ lstm.weight_hh_l0.T + lstm.bias_ih_l0 + lstm.bias_hh_l0
            i, f, g, o = gates.chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            after.append(o.sigmoid() * c.tanh())
    expected = torch.cat([torch.stack(after[:TRIAL.length], 1).flatten(0, 1), torch.stack(after[TRIAL.length :], 1).flatten(0, 1)])
    torch.testing.assert_close(torch.cat(outputs), expected)


def test_weights_whose_inputs_are_hidden_are_left_alone_and_named() -> None:
    module = specimen(TRIAL, layers=1)
    module.layers[0].mixer.lstm = nn.LSTM(TRIAL.width, TRIAL.width, 2, batch_first=True).double()
    technique = Activation(sparsity=0.5, fine_tune_tokens=0)
    context = Training(module, technique)
    technique.finish(module, context)
    assert "2 matched matrices were left alone" in context.effects[-1][0]
    assert "weight_hh_l0" in context.effects[-1][0]
    assert bool((module.layers[0].mixer.lstm.weight_ih_l1 != 0).all())
    assert float((module.layers[0].mixer.lstm.weight_ih_l0 == 0).float().mean()) == 0.5


@pytest.mark.parametrize("order", ["sweep", "greedy"])
@pytest.mark.parametrize("by_row", [False, True])
def test_brain_surgery_leaves_a_smaller_error_than_the_same_count_by_magnitude(order: str, by_row: bool) -> None:
    torch.manual_seed(0)
    x_NI = torch.randn(500, 40, dtype=torch.float64) @ (torch.eye(40) + 0.1 * torch.randn(40, 40)).double()
    W, none = torch.randn(6, 40, dtype=torch.float64), torch.zeros(6, 40, dtype=torch.bool)
    H = brain_surgery.damped(x_NI.T @ x_NI / len(x_NI), 0.01)
    gone = smallest({"w": W.abs()}, 0.5, "row" if by_row else "layer")["w"]
    plain = (x_NI @ (W - W.masked_fill(gone, 0)).T).square().mean()
    refitted = (x_NI @ (W - brain_surgery.refit(W, H, gone)).T).square().mean()
    if order == "sweep":
        new, out = brain_surgery.sweep(W, H, 0.5, none, by_row=by_row)
    else:
        out = brain_surgery.greedy(W, H, 0.5, none, by_row=by_row)
        new = brain_surgery.refit(W, H, out)
    assert int(out.sum()) == 120
    assert not by_row or out.sum(dim=1).tolist() == [20] * 6
    ours = (x_NI @ (W - new).T).square().mean()
    assert ours < (refitted if order == "greedy" else plain)


def test_the_sweep_in_blocks_is_the_sweep_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mask given, blocks of columns change only the order of sums."""
    torch.manual_seed(1)
    x_NI = torch.randn(300, 24, dtype=torch.float64) @ torch.randn(24, 24, dtype=torch.float64)
    W = torch.randn(5, 24, dtype=torch.float64)
    H = brain_surgery.damped(x_NI.T @ x_NI / len(x_NI), 0.01)
    gone = (torch.arange(24) % 2 == 0).expand(5, 24).contiguous()
    whole, _ = brain_surgery.sweep(W, H, 0.5, gone, by_row=True)
    monkeypatch.setattr(brain_surgery, "COLUMNS", 6)
    parts, out = brain_surgery.sweep(W, H, 0.5, gone, by_row=True)
    assert torch.equal(out, gone)
    torch.testing.assert_close(parts, whole)


@pytest.mark.slow
def test_brain_surgery_at_ninety_percent_costs_at_most_seven_tenths_of_magnitude(tmp_path: Path) -> None:
    """One cut of a trained language model, nothing trained afterwards: the increase of the held-out loss."""
    layer = {"mixer": {"id": "recurrent/lstm", "width": 48}, "feedforward": {"id": "feedforward/dense"}, "repeat": 1, "residual": None, "norm": None}
    model = {"embedding": {"id": "embeddings/lookup", "width": 48}, "layers": [layer], "head": {"id": "softmax/full"}}
    increase = {}
    for id in ("magnitude", "obs"):
        cut = {"id": f"pruning/{id}", "sparsity": 0.9, "fine_tune_tokens": 0}
        measure = {"evaluations": 0, "held_out_tokens": 0, "margin": 0.02}
        plan = small.plan([{"id": "optimization/adam", "lr": 0.01}, cut], model=model, budget={"steps": 400}, measure=measure)
        trainer = small.trainer(tmp_path / id, plan)
        trainer.train()
        dense = math.log(trainer.held_out()[0].value)
        trainer.pipeline.finish()
        increase[id] = math.log(trainer.held_out()[0].value) - dense
    assert 0 < increase["obs"] <= 0.7 * increase["magnitude"]
