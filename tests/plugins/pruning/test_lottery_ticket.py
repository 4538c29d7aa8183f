"""pruning/lottery_ticket and the rewinding underneath, in the real training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engines.runtime import checkpoint
from engines.runtime.price import Trained, own_price
from engines.runtime.train import Cancelled, Trainer
from tests.engines.runtime import session as small

ADAM = {"id": "optimization/adam", "lr": 0.01}
COSINE = {"id": "optimization/cosine"}
DROP = {"id": "regularization/weight_drop"}
BPTT = {"id": "batching/random_bptt"}
TICKET = {"id": "pruning/lottery_ticket", "sparsity": 0.5, "rounds": 2, "rewind_step": 5}
RECIPES = {"plain": [ADAM], "all that may differ": [ADAM, COSINE, DROP, BPTT]}


def made(folder: Path, *techniques: dict[str, Any], **changes: Any) -> Trainer:
    return small.trainer(folder, small.plan(list(techniques), **({"budget": {"steps": 16}} | changes)))


def finished(trainer: Trainer) -> dict[str, torch.Tensor]:
    trainer.pipeline.finish()
    return {name: tensor.clone() for name, tensor in trainer.session.model.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("k", [0, 5])
@pytest.mark.parametrize("budget", [{"steps": 16}, {"tokens": 1500}])
def test_without_a_cut_the_rest_of_training_is_repeated_bit_for_bit(tmp_path: Path, recipe: list[Any], k: int, budget: dict[str, int]) -> None:
    """Optimiser, schedule, order of data, random numbers, carried state: were one of them not put back, these weights would differ."""
    plain = made(tmp_path / "plain", *recipe, budget=budget)
    plain.train()
    ticket = made(tmp_path / "ticket", *recipe, TICKET | {"sparsity": 0.0, "rewind_step": k}, budget=budget)
    ticket.train()
    again = finished(ticket)
    assert all(torch.equal(tensor, again[name]) for name, tensor in plain.session.model.state_dict().items())
    steps = plain.session.step
    series = small.losses(ticket)
    assert series[:steps] == small.losses(plain)
    assert series[steps:] == 2 * small.losses(plain)[k:]
    assert ticket.session.step == steps + 2 * (steps - k)


def test_every_token_of_the_search_is_in_the_price(tmp_path: Path) -> None:
    trainer = made(tmp_path, ADAM, TICKET)
    trainer.train()
    before = Trained.of(trainer.session)
    trainer.pipeline.finish()
    per_step = 8 * 12
    assert before.tokens == 16 * per_step
    figures = {figure.key: (figure.value, detail) for figure, detail in own_price(trainer.session, before, trainer.work, trainer.work_tokens)}
    assert figures["cost/train_tokens"][0] == (16 + 2 * 11) * per_step
    assert figures["cost/train_tokens"][1] == {"fine_tuning_tokens": 2 * 11 * per_step}
    assert figures["cost/train_flops"][0] == pytest.approx(trainer.work.flops * (16 + 2 * 11))
    assert figures["cost/train_s"][1]["fine_tuning_s"] > 0


def test_survivors_begin_each_round_as_they_were_at_step_k_and_zeros_stay(tmp_path: Path) -> None:
    early = made(tmp_path / "early", ADAM, budget={"steps": 5})
    early.train()
    theta_k = early.session.model.state_dict()
    trainer = made(tmp_path / "ticket", ADAM, TICKET)
    trainer.train()
    fine_tune, starts = trainer.session.fine_tune, []

    def noted(*args: Any) -> None:
        starts.append({name: tensor.clone() for name, tensor in trainer.session.model.state_dict().items()})
        fine_tune(*args)

    trainer.session.fine_tune = noted
    end = finished(trainer)
    assert len(starts) == 2
    for name, removed in trainer.pipeline.contexts["pruning/lottery_ticket"].state["removed"].items():
        assert int(removed.sum()) == round(0.5 * removed.numel())
        assert torch.equal(starts[-1][name], theta_k[name].masked_fill(removed, 0.0))
        assert bool((end[name][removed] == 0).all())
        assert bool((end[name][~removed] != theta_k[name][~removed]).any())
    others = theta_k.keys() - trainer.pipeline.contexts["pruning/lottery_ticket"].state["removed"].keys()
    assert others
    assert all(torch.equal(starts[-1][name], theta_k[name]) for name in others)


@pytest.mark.parametrize("control", ["reinitialised", "random_mask"])
def test_controls_train_something_else_at_the_same_sparsity(tmp_path: Path, control: str) -> None:
    ends = []
    for kind in ("none", control):
        trainer = made(tmp_path / kind, ADAM, TICKET | {"control": kind})
        trainer.train()
        ends.append(finished(trainer))
    name = "layers.0.mixer.lstm.weight_hh_l0"
    assert int((ends[0][name] == 0).sum()) == int((ends[1][name] == 0).sum())
    assert torch.equal(ends[0][name] == 0, ends[1][name] == 0) == (control == "reinitialised")
    assert not torch.equal(ends[0][name], ends[1][name])


def test_a_run_that_is_resumed_after_step_k_rewinds_to_it_all_the_same(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole", ADAM, COSINE, TICKET)
    whole.train()
    first = made(tmp_path / "parts", ADAM, COSINE, TICKET)
    update = first.pipeline.update

    def update_and_ask() -> None:
        update()
        first.control.stop = first.session.step == 9

    first.pipeline.update = update_and_ask
    with pytest.raises(Cancelled):
        first.train()
    found = checkpoint.find(tmp_path / "parts" / "checkpoint")
    assert found is not None
    plan = small.plan([ADAM, COSINE, TICKET], budget={"steps": 16})
    second = small.trainer(tmp_path / "parts", plan, earlier=checkpoint.load(found))
    second.train()
    expected, ours = finished(whole), finished(second)
    assert all(torch.equal(tensor, ours[name]) for name, tensor in expected.items())


def test_a_step_that_training_never_reached_is_refused_with_what_to_do(tmp_path: Path) -> None:
    trainer = made(tmp_path, ADAM, TICKET | {"rewind_step": 99})
    trainer.train()
    with pytest.raises(ValueError, match=r"rewind to step 99, but training made 16 steps .* choose an earlier step or a larger budget"):
        trainer.pipeline.finish()


def test_a_model_of_another_structure_cannot_be_rewound(tmp_path: Path) -> None:
    trainer = made(tmp_path, ADAM, TICKET)
    trainer.train()
    trainer.session.model.add_module("grown", torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="gave the finished model another structure"):
        trainer.pipeline.finish()
