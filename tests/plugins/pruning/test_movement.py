"""pruning/movement: scores beside the optimizer's weights, masks that move, and what is left of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from engines.api import Trial
from engines.runtime.pipeline import RecipeError
from engines.runtime.train import Trainer
from engines.toolbox.specimen import Surroundings, batches, specimen
from engines.toolbox.straight_through import Gate, gates
from engines.toolbox.substitution import substitutions
from plugins.pruning.movement import Movement
from tests.engines.runtime import session as small

ADAM = {"id": "optimization/adam", "lr": 0.01}
MOVEMENT = {"id": "pruning/movement", "sparsity": 0.75, "begin": 0.25, "end": 0.75}
TRIAL = Trial(length=5, width=8, vocabulary=13)


def made(folder: Path, *techniques: dict[str, Any], steps: int = 40) -> Trainer:
    return small.trainer(folder, small.plan([ADAM, *techniques], budget={"steps": steps}))


def kept(trainer: Trainer) -> dict[str, float]:
    return {name: float(gate.mask(score).float().mean()) for name, gate, score in gates(trainer.session.model)}


def test_the_kept_share_follows_the_cube_and_zeros_are_exact_in_the_end(tmp_path: Path) -> None:
    trainer = made(tmp_path, MOVEMENT)
    seen = [next(iter(kept(trainer).values()))]
    update = trainer.pipeline.update
    moved: list[bool] = []

    def noted() -> None:
        before = {name: gate.mask(score) for name, gate, score in gates(trainer.session.model)}
        update()
        seen.append(next(iter(kept(trainer).values())))
        moved.append(any(bool((gate.mask(score) & ~before[name]).any()) for name, gate, score in gates(trainer.session.model)))

    trainer.pipeline.update = noted
    trainer.train()
    # Step i is made at progress i / 40.
    assert seen[11] == 1.0
    expected = [0.25 + 0.75 * (1 - min(1.0, max(0.0, (i / 40 - 0.25) / 0.5))) ** 3 for i in range(40)]
    assert seen[1:] == pytest.approx(expected, abs=1e-3)
    assert any(moved[15:]), "removed weights may return"
    names = set(trainer.session.model.state_dict())
    trainer.pipeline.finish()
    lstm: Any = trainer.session.model.get_submodule("layers.0.mixer.lstm")
    assert {name for name in names if name.endswith("_score")} == names - set(trainer.session.model.state_dict())
    assert not substitutions(lstm)
    for own in ("weight_ih_l0", "weight_hh_l0"):
        assert int((getattr(lstm, own) == 0).sum()) == round(0.75 * getattr(lstm, own).numel())


def test_the_finished_model_answers_as_the_masked_one_did(tmp_path: Path) -> None:
    trainer = made(tmp_path, MOVEMENT)
    trainer.train()
    before = trainer.held_out()[0].value
    trainer.pipeline.finish()
    assert trainer.held_out()[0].value == pytest.approx(before, rel=1e-6)


def test_scores_have_a_learning_rate_of_their_own_and_no_decay(tmp_path: Path) -> None:
    trainer = small.trainer(tmp_path, small.plan([ADAM | {"weight_decay": 0.1}, MOVEMENT | {"score_lr": 0.3}, {"id": "optimization/cosine"}]))
    optimizer = trainer.session.optimizer
    assert optimizer is not None
    scores = [score for _, _, score in gates(trainer.session.model)]
    groups = [group for group in optimizer.param_groups if any(p is scores[0] for p in group["params"])]
    assert [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups] == [(0.3, 0.0, len(scores))]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(trainer.session.model.parameters()))
    trainer.pipeline.set_learning_rate(0.5)
    assert groups[0]["lr"] == 0.15


def test_with_plain_gradient_descent_the_score_is_the_sum_of_movements_away_from_zero() -> None:
    """S = -eta_S sum_t (dL/dW') W, written out, with masks that change meanwhile."""
    module, technique = specimen(TRIAL), Movement(sparsity=0.5, begin=0.0, end=0.5, score_lr=0.2)
    context = Surroundings(module)
    module = technique.model(module, context)
    optimizer = technique.optimizer(lambda m: torch.optim.SGD(m.parameters(), lr=0.1), context)(module)
    loss_of = technique.loss(module, context)
    expected = {name: torch.zeros_like(score) for name, _, score in gates(module)}
    for i, batch in enumerate(batches(TRIAL, 6)):
        context.progress = i / 6
        optimizer.zero_grad()
        loss, count, _, extras = loss_of(batch, None)
        (loss / count + extras["auxiliary"]).backward()
        for name, gate, score in gates(module):
            weight, mask = module.get_parameter(name), gate.mask(score)
            # Where the mask is 1 the gradient that reaches W is that of W'.
            torch.testing.assert_close(score.grad[mask], (weight.grad * weight.detach())[mask])
            assert bool((weight.grad[~mask] == 0).all())
            expected[name] -= 0.2 * score.grad
        optimizer.step()
    for name, gate, score in gates(module):
        torch.testing.assert_close(score.detach(), expected[name])
        assert 0.4 < float(gate.mask(score).float().mean()) < 0.6


def test_a_soft_threshold_removes_what_the_penalty_pushes_below_it_and_never_all(tmp_path: Path) -> None:
    soft = {"id": "pruning/movement", "threshold": "soft", "tau": 0.4, "penalty": 50.0, "score_lr": 0.05, "begin": 0.1, "end": 0.5}
    trainer = made(tmp_path, soft)
    trainer.train()
    shares = kept(trainer).values()
    assert all(0.004 < share < 0.9 for share in shares)
    assert small.losses(trainer)[-1] < small.losses(trainer)[0]
    free = made(tmp_path / "free", soft | {"penalty": 0.0})
    free.train()
    assert max(shares) < min(kept(free).values()), "without the penalty more stays"


def test_a_soft_gate_keeps_half_a_percent() -> None:
    gate = Gate("soft")
    gate.tau = 0.4
    assert int(gate.mask(torch.full((20, 20), -9.0)).sum()) == 2


def test_a_copy_masks_with_its_own_scores() -> None:
    module = specimen(TRIAL)
    technique = Movement()
    technique.model(module, Surroundings(module))
    copied = copy.deepcopy(module)
    (_, gate, score), *_ = gates(copied)
    gate.kept = 0.5
    with torch.no_grad():
        score.copy_(torch.arange(score.numel()).view_as(score))
    (_, original, own), *_ = gates(module)
    assert bool(original.mask(own).all())
    assert float(gate.mask(score).float().mean()) == 0.5
    technique.finish(copied, Surroundings(copied))
    assert list(gates(module))
    assert not list(gates(copied))


def test_movement_before_the_optimizer_and_bad_shares_are_refused(tmp_path: Path) -> None:
    with pytest.raises((RecipeError, ValueError), match="must stand behind it: move it down in techniques"):
        small.trainer(tmp_path, small.plan([MOVEMENT, ADAM]))
    with pytest.raises(ValidationError, match="begin"):
        Movement(begin=0.8)


def test_no_match_is_said_loudly(tmp_path: Path) -> None:
    trainer = made(tmp_path, MOVEMENT | {"include": ["encoder.*"]}, steps=3)
    trainer.train()
    trainer.pipeline.finish()
    assert any("Nothing was pruned: 0 weights" in sentence for _, sentence, _ in trainer.session.effects)
