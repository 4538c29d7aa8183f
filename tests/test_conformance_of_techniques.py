"""What every technique must be, whoever wrote it: effective, true to its promises, restorable, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engines import catalogue
from engines.api import Technique
from engines.runtime import checkpoint
from engines.runtime.effects import Structure
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.train import Cancelled, Trainer
from tests.engines.runtime import session as small
from tests.test_conformance import SGD, choice, plugins
from tests.test_conformance_of_blocks import batch_of

STEPS = 3
CLOSE = 1e-3
"""What a technique that promises `close` may change in a loss of this model, relative, within STEPS steps."""


def recipe(id: str, earlier: bool = True) -> list[dict[str, Any]]:
    """The technique with what it needs. An optimizer stands alone."""
    entry = catalogue.entry(id)
    needed = [choice(name) for name in entry["requires"] if "/" in name]
    own = [choice(id)] if earlier else []
    return [*([] if entry["group"] == "optimizer" else [SGD]), *needed, *own]


def trained(folder: Path, techniques: list[dict[str, Any]], steps: int = STEPS) -> Trainer:
    trainer = small.trainer(folder, small.plan(techniques, budget={"steps": steps}))
    trainer.train()
    return trainer


def technique_ids() -> list[Any]:
    reasons = {id: catalogue.load(id).unavailable() for id in plugins(Technique)}
    return [pytest.param(id, marks=[pytest.mark.skip(reason=reason)] if reason else []) for id, reason in reasons.items()]


@pytest.mark.parametrize("id", technique_ids())
def test_a_technique_trains_and_keeps_its_promise_about_numbers(id: str, tmp_path: Path) -> None:
    entry = catalogue.entry(id)
    trainer = trained(tmp_path / "with", recipe(id), 12)
    losses = small.losses(trainer)
    assert len(losses) == 12
    without = recipe(id, earlier=False) or [SGD | {"lr": 0.01}]
    plain = trained(tmp_path / "without", without, 12)
    if entry["numerics"] == "same":
        assert losses == small.losses(plain)
    elif entry["numerics"] == "close":
        assert losses[:STEPS] == pytest.approx(small.losses(plain)[:STEPS], rel=CLOSE)
    else:
        trainer.pipeline.finish()
        plain.pipeline.finish()
        assert losses != small.losses(plain) or not equal_models(trainer.session.model, plain.session.model), "it had no effect"


@pytest.mark.parametrize("id", technique_ids())
def test_a_technique_says_what_it_changed_and_swaps_only_what_it_declares(id: str, tmp_path: Path) -> None:
    trainer = trained(tmp_path, recipe(id))
    before = Structure.of(trainer.session.model).types
    original = Structure.of(trained(tmp_path / "plain", recipe(id, earlier=False) or [SGD]).session.model).types
    trainer.pipeline.finish()
    gone = original - Structure.of(trainer.session.model).types
    declared = set(catalogue.entry(id)["replaces"])
    assert set(gone) <= declared, f"swaps out {dict(gone)}, but declares {sorted(declared)}"
    if declared:
        assert gone, f"declares to replace {sorted(declared)}, and replaced nothing"
    assert sum(before.values()) > 0
    stated = [effect for effect in trainer.pipeline.stated_effects() if effect.technique == id]
    assert stated
    assert all(effect.sentence.endswith((".", "!")) for effect in stated)


@pytest.mark.slow
@pytest.mark.parametrize("id", technique_ids())
def test_the_finished_model_survives_saving_and_restoring(id: str, tmp_path: Path) -> None:
    trainer = trained(tmp_path, recipe(id))
    records = trainer.pipeline.finish()
    model: Any = trainer.session.model.eval()
    save_finished(model, trainer.session.plan, records, tmp_path / "model", trainer.session.text.fingerprint)
    loaded: Any = load_finished(tmp_path / "model", "cpu", trainer.session.text).model
    batch = batch_of()
    with torch.no_grad():
        judged = [each.head.nll(each.hidden(batch.inputs_BT, None)[0].flatten(0, 1), batch.targets_BT.flatten()) for each in (model, loaded)]
    assert torch.equal(*judged)
    assert Structure.of(model).types == Structure.of(loaded).types


@pytest.mark.slow
@pytest.mark.parametrize("id", technique_ids())
def test_a_run_with_the_technique_resumes_as_if_it_had_not_stopped(id: str, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", recipe(id), 8)
    plan = small.plan(recipe(id), budget={"steps": 8})
    first = small.trainer(tmp_path / "parts", plan)
    update = first.pipeline.update

    def update_and_ask() -> None:
        update()
        first.control.stop = first.session.step == 3

    first.pipeline.update = update_and_ask
    with pytest.raises(Cancelled):
        first.train()
    found = checkpoint.find(tmp_path / "parts" / "checkpoint")
    assert found is not None
    second = small.trainer(tmp_path / "parts", plan, earlier=checkpoint.load(found))
    second.train()
    assert small.losses(first) + small.losses(second) == small.losses(whole)
    assert equal_models(second.session.model, whole.session.model)


def equal_models(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine if isinstance(mine[name], torch.Tensor))
