"""Classifiers against scikit-learn's linear one (tf-idf and logistic regression) on real labelled texts of the user's, and figures against its own.

Texts: files stsa.binary.{train,dev,test} in the folder that WORKBENCH_SST2 names.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from engines.runtime.plan import block
from engines.toolbox.documents import macro_f1, wilson
from engines.toolbox.labelled import read_labelled
from plugins.corpora.labelled_files import LabelledFiles
from plugins.tasks.text_classification import TextClassification

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed (extra `test`)")


def test_macro_f1_equals_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    for classes in (2, 5):
        predicted, label = draw.integers(0, classes, 300), draw.integers(0, classes, 300)
        assert macro_f1(predicted, label, classes + 1) == pytest.approx(metrics.f1_score(label, predicted, average="macro"), rel=1e-12)


@pytest.mark.parametrize(("right", "of"), [(0, 7), (3, 7), (1481, 1821), (7, 7)])
def test_wilsons_interval_equals_scipys(right: int, of: int) -> None:
    theirs = binomtest(right, of).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(right, of) == pytest.approx((theirs.low, theirs.high), rel=1e-9, abs=1e-12)


@pytest.mark.slow
def test_an_lstm_without_pretraining_does_not_beat_the_linear_classifier_on_reviews(tmp_path: Path) -> None:
    """6,920 sentences teach word weights, hardly more: the linear classifier is the one to beat, and this small LSTM does not."""
    folder = os.environ.get("WORKBENCH_SST2")
    if not folder:
        pytest.skip("The labelled sentences are not here: set WORKBENCH_SST2 to the folder with stsa.binary.train, .dev and .test.")
    text_features = pytest.importorskip("sklearn.feature_extraction.text")
    linear = pytest.importorskip("sklearn.linear_model")
    files = {split: Path(folder) / f"stsa.binary.{name}" for split, name in (("train", "train"), ("valid", "dev"), ("test", "test"))}
    lines = {split: read_labelled(split, files[split], "auto", "first", False) for split in ("train", "test")}
    (train_y, train_x), (test_y, test_x) = (zip(*lines[split], strict=True) for split in ("train", "test"))
    words = text_features.TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True)
    theirs = linear.LogisticRegression(C=10, max_iter=1000).fit(words.fit_transform(train_x), train_y).score(words.transform(test_x), test_y)

    text = LabelledFiles(**files, min_count=2).prepare(tmp_path, lambda sentence: None)
    task = TextClassification()
    model = {"embedding": {"id": "embeddings/lookup", "width": 64}, "layers": [{"mixer": {"id": "recurrent/lstm"}}], "head": {"id": "softmax/full"}}
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        made = task.assemble(model, block, text, 64)
        optimizer = torch.optim.Adam(made.parameters(), 2e-3)
        stream = task.batches(text, 32, 64, seed)
        read = 0
        while read < 2 * stream.tokens_per_epoch:
            loss, count, _, _ = made(next(stream))
            optimizer.zero_grad()
            (loss / count).backward()
            optimizer.step()
            read += count
        found.append(task.evaluate(made, text, "test", 0, 32, torch.device("cpu"))[0].value)
    ours = float(np.mean(found))
    assert theirs == pytest.approx(0.818, abs=0.01)
    assert 0.77 < ours <= theirs
