"""The linear classifier of texts: scikit-learn's own pipeline on the same texts, the engine's way of fitting it, saving, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.api import Site, Vocabulary
from engines.runtime.finished import load_finished, save_finished
from engines.toolbox import linear_texts
from tests.engines.runtime import session as small
from tests.plugins.checks import TRIALS, assert_holds, certificates

if linear_texts.unavailable():
    pytest.skip(linear_texts.unavailable(), allow_module_level=True)

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from plugins.baselines import linear


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(linear), ids=lambda each: each.__name__)
def test_certificates(certificate: Any, trial: Any) -> None:
    assert_holds(certificate, trial)


def site(classes: int, size: int = 60) -> Site:
    return Site(0, Vocabulary(tuple(f"w{i}" for i in range(size)), np.ones(size, np.int64)), 12, classes=tuple(map(str, range(classes))))


def texts(count: int, classes: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Random texts in which a word of the class is often, one class after another."""
    draw = np.random.default_rng(5)
    label_N = np.arange(count) % classes
    return [np.where(draw.random(9) < 0.2, label, 60 * draw.random(9) ** 2).astype(np.int64) for label in label_N], label_N


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_are_those_of_scikit_learns_own_pipeline_on_written_words(classes: int) -> None:
    ids, label_N = texts(120, classes)
    model: Any = linear.Linear(longest=2, strength=3.0, min_texts=2).build(site(classes))
    told = model.fit(ids[:80], label_N[:80])
    written = [" ".join(f"w{i}" for i in text) for text in ids]
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    theirs = LogisticRegression(C=3.0, max_iter=1000).fit(words.fit_transform(written[:80]), label_N[:80])
    ids_BT = torch.from_numpy(np.stack(ids[80:]))
    found = model(ids_BT, torch.ones_like(ids_BT, dtype=torch.bool)).softmax(1)
    assert f"{len(words.vocabulary_):,} grams" in told
    assert found.numpy() == pytest.approx(theirs.predict_proba(words.transform(written[80:])), abs=1e-4)


def test_a_class_without_texts_is_never_said() -> None:
    ids, label_N = texts(20, 2)
    model: Any = linear.Linear().build(site(3))
    assert "1 classes had no text." in model.fit(ids, label_N * 2)
    ids_BT = torch.from_numpy(np.stack(ids))
    found = model(ids_BT, torch.ones_like(ids_BT, dtype=torch.bool))
    assert set(found.argmax(1).tolist()) == {0, 2}
    assert float(found.softmax(1)[:, 1].max()) < 1e-9
    assert "2 classes had no text." in model.fit(ids[::2], label_N[::2])
    assert model(ids_BT, torch.ones_like(ids_BT, dtype=torch.bool)).argmax(1).tolist() == [0] * 20


@pytest.mark.parametrize(("budget", "read"), [({"epochs": 3}, None), ({"tokens": 100}, 100), ({"steps": 5}, 40), ({"seconds": 9}, None)])
def test_the_engine_fits_it_on_the_texts_of_the_budget_and_keeps_it(budget: dict[str, float], read: int | None, tmp_path: Path) -> None:
    recipe = [{"id": "optimization/adam", "lr": 0.01}, {"id": "quantization/dynamic_int8"}]
    model = {"id": "baselines/linear", "longest": 3}
    trainer = small.trainer(tmp_path, small.plan(recipe, model=model, budget=budget, task={"id": "tasks/text_classification"}))
    trainer.train()
    records = trainer.pipeline.finish()
    session = trainer.session
    there = len(session.text.documents["train"].labels)
    assert f"{read or there:,} of the {there:,} training texts were read, each once." in session.fitted
    assert session.tokens == (read or there)
    assert session.step == 0
    assert any("Does nothing here" in effect.sentence for effect in trainer.pipeline.stated_effects())
    save_finished(session.model, session.plan, records, tmp_path / "model", session.text.fingerprint)
    loaded = load_finished(tmp_path / "model", "cpu", session.text)
    figures = [session.task.evaluate(each, session.text, "test", 0, rows, session.device) for each, rows in ((session.model, 32), (loaded.model, 5))]
    assert figures[0] == figures[1] or [f.value for f in figures[0]] == pytest.approx([f.value for f in figures[1]], rel=1e-6)
    found = {figure.key: figure.value for figure in figures[0]}
    assert found["quality/test_accuracy"] > found["quality/test_majority_accuracy"] + 0.05


def test_what_it_cannot_do_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="this task has none: use it with tasks/text_classification"):
        linear.Linear().build(site(0))
    with pytest.raises(ValueError, match="grams of 3 among 3,000,000 tokens, more than 64 bits hold"):
        linear_texts.LinearModel(3_000_000, 2, longest=3, strength=1.0, min_texts=1)
