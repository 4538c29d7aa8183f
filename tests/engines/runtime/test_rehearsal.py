"""Training steps outside a run are the steps of a run."""

from __future__ import annotations

import pytest
import torch

from engines.runtime import losses
from engines.runtime.plan import PlanError
from engines.runtime.rehearsal import Rehearsal
from tests.engines.runtime import session as small

RECIPE = [{"id": "optimization/adam", "lr": 1e-2}, {"id": "optimization/clip_norm", "max_norm": 0.5}, {"id": "regularization/weight_drop"}]


def test_the_steps_are_those_of_a_run(tmp_path):
    plan = small.plan(RECIPE, budget={"steps": 12})
    trained = small.trainer(tmp_path, plan)
    trained.train()
    rehearsal = Rehearsal(plan, seed=0, text=small.text())
    tokens = sum(rehearsal.step() for _ in range(12))
    rehearsal.wait()
    assert tokens == trained.session.tokens == rehearsal.session.tokens
    kept = rehearsal.session.model.state_dict()
    for name, tensor in trained.session.model.state_dict().items():
        assert torch.equal(tensor, kept[name]), name


def test_a_missing_teacher_is_named():
    plan = small.plan([{"id": "optimization/adam"}, {"id": "distillation/soft_labels", "teacher": "large"}])
    with pytest.raises(PlanError, match='"large"'):
        Rehearsal(plan, text=small.text())


def test_losses_are_read_on_request_alone(monkeypatch):
    monkeypatch.setattr(losses, "READ_SECONDS", -1.0)  # a run would read them after every step
    rehearsal = Rehearsal(small.plan([{"id": "optimization/adam"}]), text=small.text())
    read: list[tuple[int, float, float]] = []
    monkeypatch.setattr(rehearsal._trainer.recorder, "add_many", lambda key, points, *rest: read.extend(points))
    for _ in range(3):
        rehearsal.step()
    assert read == []
    rehearsal.check()
    assert [point[0] for point in read] == [1, 2, 3]
    with torch.no_grad():
        for parameter in rehearsal.session.model.parameters():
            parameter.fill_(float("nan"))
    rehearsal.step()
    with pytest.raises(losses.Diverged, match="at step 4"):
        rehearsal.check()
