"""The techniques through the real pipeline and training loop: promises kept, resumed runs exact, finished models restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engines.runtime import checkpoint
from engines.runtime.finished import load_finished, save_finished
from engines.runtime.train import Cancelled, Trainer
from tests.engines.runtime import session as small

ADAM = {"id": "optimization/adam", "lr": 0.01}
CLIP = {"id": "optimization/clip_norm", "max_norm": 0.5}
PRUNE = {"id": "pruning/magnitude", "sparsity": 0.7, "fine_tune_tokens": 960}
INT8 = {"id": "quantization/dynamic_int8"}


def trained(folder: Path, *techniques: dict[str, Any], **changes: Any) -> Trainer:
    made = small.trainer(folder, small.plan([ADAM, *techniques], **changes))
    made.train()
    return made


def test_checkpointing_keeps_its_promise_of_the_same_losses(tmp_path: Path) -> None:
    assert trained(tmp_path, {"id": "memory/gradient_checkpointing"}).losses.digest == trained(tmp_path).losses.digest


@pytest.mark.parametrize("technique", [{"id": "memory/gradient_accumulation", "micro_batches": 3}, {"id": "placement/device"}])
def test_what_is_promised_close_is_close(tmp_path: Path, technique: dict[str, Any]) -> None:
    assert small.losses(trained(tmp_path, technique)) == pytest.approx(small.losses(trained(tmp_path)), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "technique",
    [
        {"id": "precision/mixed"},
        {"id": "regularization/weight_drop"},
        {"id": "batching/random_bptt"},
        {"id": "optimization/cosine"},
        {"id": "distillation/soft_labels", "teacher": "self"},
        CLIP | {"max_norm": 0.01},
    ],
    ids=lambda technique: technique["id"],
)
def test_what_is_promised_different_trains_and_differs(tmp_path: Path, technique: dict[str, Any]) -> None:
    made, plain = trained(tmp_path, technique), trained(tmp_path)
    assert made.losses.digest != plain.losses.digest
    if technique["id"] != "distillation/soft_labels":  # its loss is another quantity
        assert small.losses(made)[-1] < small.losses(made)[0]
    assert all(sentence for _, sentence, _ in made.session.effects)


def interrupted(folder: Path, recipe: list[dict[str, Any]], **changes: Any) -> tuple[Trainer, Trainer]:
    """A whole run and one that was cancelled at step 20 and resumed, whose losses must be the whole one's."""
    plan = small.plan(recipe, **changes)
    whole = small.trainer(folder / "whole", plan)
    whole.train()
    first = small.trainer(folder / "parts", plan)
    update = first.pipeline.update

    def update_and_ask() -> None:
        update()
        first.control.stop = first.session.step == 20

    first.pipeline.update = update_and_ask
    with pytest.raises(Cancelled):
        first.train()
    found = checkpoint.find(folder / "parts" / "checkpoint")
    assert found is not None
    second = small.trainer(folder / "parts", plan, earlier=checkpoint.load(found))
    second.train()
    assert small.losses(first) + small.losses(second) == small.losses(whole)
    return whole, second


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
def test_sparse_rows_train_and_resume_through_the_whole_engine(tmp_path: Path, tied: bool) -> None:
    recipe = [
        {"id": "optimization/sparse_adam", "lr": 0.01, "weight_decay": 0.01},
        CLIP,
        {"id": "memory/gradient_accumulation", "micro_batches": 2},
        {"id": "precision/mixed"},
    ]
    sampled = {"id": "softmax/importance_sampled", "samples": 30, "sparse": True, "tied": tied}
    model = small.plan([])["model"] | {"head": sampled}
    model["embedding"] = model["embedding"] | {"sparse": True}
    whole, second = interrupted(tmp_path, recipe, model=model)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(second.session.model.parameters(), whole.session.model.parameters(), strict=True))
    assert small.losses(whole)[-1] < small.losses(whole)[0]
    rows = f"{1 if tied else 2} of "
    assert any(sentence.startswith(rows) and "row by row" in sentence for _, sentence, _ in whole.session.effects)


def test_a_resumed_run_of_many_techniques_is_exact(tmp_path: Path) -> None:
    recipe = [
        ADAM,
        CLIP,
        {"id": "memory/gradient_accumulation", "micro_batches": 2},
        {"id": "memory/gradient_checkpointing"},
        {"id": "precision/mixed"},
        {"id": "distillation/soft_labels", "teacher": "self"},
        {"id": "pruning/magnitude", "mode": "gradual", "sparsity": 0.5},
    ]
    whole, second = interrupted(tmp_path, recipe)
    zeros = [int((made.session.model.layers[0].mixer.lstm.weight_hh_l0 == 0).sum()) for made in (second, whole)]
    assert zeros[0] == zeros[1] > 0


@pytest.mark.parametrize("tied", [False, True])
def test_pruned_and_quantised_models_survive_the_disk(tmp_path: Path, tied: bool) -> None:
    model = small.plan([])["model"] | {"head": {"id": "softmax/full", "tied": tied}}
    made = trained(tmp_path, PRUNE, INT8, model=model)
    step = made.session.step
    records = made.pipeline.finish()
    assert made.session.step == step + 10, "fine-tuning is real training, and counted"
    save_finished(made.session.model, made.session.plan, records, tmp_path / "model", made.session.text.fingerprint)
    loaded = load_finished(tmp_path / "model", "cpu", made.session.text)
    figures = [
        made.session.task.evaluate(m.eval(), made.session.text, "valid", 400, 5, torch.device("cpu")) for m in (made.session.model, loaded.model)
    ]
    assert [f.value for f in figures[0]] == [f.value for f in figures[1]]
    levels = loaded.model.layers[0].mixer.lstm.weight_hh_l0
    assert levels.dtype == torch.int8
    assert int((levels == 0).sum()) >= round(0.7 * levels.numel())
    sentences = [effect.sentence for effect in made.pipeline.stated_effects()]
    assert any(sentence.startswith("70.0% of 4,608 weights in 1 modules are zero") for sentence in sentences)
    assert any("became int8" in sentence for sentence in sentences)
    assert any("was tied to" in sentence for sentence in sentences) == tied
