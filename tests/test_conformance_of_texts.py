"""What every corpus and every task of the catalogue must be, whoever wrote it; examples of their parameters stand in test_conformance."""

from __future__ import annotations

import inspect
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines import catalogue
from engines.api import Corpus, Task
from engines.runtime.plan import block
from tests.engines.runtime import session as small
from tests.test_conformance import EXAMPLES, made, plugins
from tests.test_conformance_of_blocks import model_table


@pytest.mark.parametrize("id", plugins(Corpus))
def test_a_corpus_keeps_the_format_of_a_text(id: str, tmp_path: Path) -> None:
    source = inspect.getsource(inspect)
    if id == "corpora/labelled_files":
        source = "".join(f"{'yes' if '(' in line else 'no'}\t{line.strip()}\n" for line in source.splitlines() if line.strip())
    (tmp_path / "text.txt").write_text(source, "utf-8")
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    (tmp_path / "pairs.tsv").write_text("".join(f"{one}\t{other}\t{i % 6}\n" for i, (one, other) in enumerate(pairwise(lines))), "utf-8")
    given = {name: tmp_path / value if name == "train" else value for name, value in EXAMPLES.get(id, {}).items()}
    corpus: Any = catalogue.load(id)(**given)
    corpus.check()
    text = corpus.prepare(tmp_path / "cache", lambda sentence: None)
    assert text.fingerprint == corpus.prepare(tmp_path / "cache", lambda sentence: None).fingerprint
    assert corpus.vocabulary_size(tmp_path / "cache") == text.vocabulary.size
    assert set(text.splits) == set(text.character_ends) == {"train", "valid", "test"}
    assert len(set(text.vocabulary.tokens)) == text.vocabulary.size == len(text.vocabulary.counts)
    assert text.vocabulary.counts.tolist() == sorted(text.vocabulary.counts.tolist(), reverse=True)
    assert Counter(text.splits["train"].tolist()).most_common(1)[0][1] == text.vocabulary.counts[0]
    for split, ids in text.splits.items():
        assert 0 <= int(ids.min()) <= int(ids.max()) < text.vocabulary.size
        assert len(text.character_ends[split]) == len(ids)
    sample = text.splits["valid"][:50].tolist()
    assert text.encode(text.decode(sample))[:10]
    assert text.licence
    assert text.classes == corpus.classes()
    assert set(text.documents) == (set(text.splits) if text.classes or text.pairs else set())
    assert text.pairs == corpus.of_pairs
    for split, documents in text.documents.items():
        assert np.diff(documents.ends, prepend=0).min() >= 1
        assert documents.ends[-1] == len(text.splits[split])
        assert 0 <= documents.labels.min() <= documents.labels.max() < max(1, len(text.classes))
        assert text.pairs == (documents.scores is not None)
        if documents.scores is not None:
            assert len(documents.scores) == len(documents.ends) / 2
            assert 0 <= documents.scores.min() <= documents.scores.max() <= 1


def situation(task: Task) -> tuple[Any, Any]:
    """A model of the task, and its text."""
    if task.of_pairs:
        text, table = small.paired(), {"id": "models/own", "factory": "tests.plugins.models.nets:averaged"}
    else:
        text, table = small.text(), model_table("recurrent/lstm") | ({"layers": []} if task.no_layers else {})
    return task.assemble(table, block, text, 12), text


@pytest.mark.parametrize("id", plugins(Task))
def test_a_task_evaluates_the_same_twice_whatever_the_batch(id: str) -> None:
    task: Any = made(id)
    model, text = situation(task)
    model.train()
    found = [task.evaluate(model, text, "valid", 500, rows, torch.device("cpu"))[0].value for rows in (4, 4, 7)]
    assert found[0] == found[1] == pytest.approx(found[2], rel=1e-6)
    assert model.training


@pytest.mark.parametrize("id", plugins(Task))
def test_what_scoring_is_timed_on_has_the_shape_that_was_asked_for(id: str) -> None:
    task: Any = made(id)
    model, text = situation(task)
    model.eval()
    whole = task.of_documents or task.of_pairs
    for rows, length in ((3, 7), (40, 120)):
        inputs, targets = task.held_out(text, rows, length)
        assert inputs.shape[0] == rows
        assert inputs.shape[-1] <= length
        assert targets.shape == ((rows, 1) if whole else inputs.shape[:2])
        assert whole or inputs.shape[1] == length
        with torch.no_grad():
            assert model.head.nll(model.hidden(inputs, None)[0].flatten(0, 1), targets.flatten()).shape == (targets.numel(),)
