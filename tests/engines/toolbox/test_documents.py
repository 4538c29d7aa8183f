"""Texts with labels: batches, padding, whole models, and figures against their definitions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engines.api import Documents
from engines.toolbox.documents import (
    DocumentStream,
    as_classifier,
    batch_of,
    class_vocabulary,
    documents_of,
    macro_f1,
    mean_of_tokens,
    padded,
    wilson,
)
from engines.toolbox.heads import IGNORED
from tests.engines.runtime import session as small

DOCUMENTS = Documents(np.array([3, 4, 9]), np.array([1, 0, 1]))


def test_texts_are_padded_behind_their_end_and_cut_at_the_length() -> None:
    ids = np.arange(10, 19)
    assert padded(ids, DOCUMENTS, [1, 0], 8).tolist() == [[13, IGNORED, IGNORED], [10, 11, 12]]
    assert padded(ids, DOCUMENTS, [2, 0], 4).tolist() == [[14, 15, 16, 17], [10, 11, 12, IGNORED]]
    batch = batch_of(ids, DOCUMENTS, [2, 1], 4)
    assert batch.targets_BT.tolist() == [[1], [0]]
    assert batch.tokens == 2
    assert [part.tokens for part in batch.split(2)] == [1, 1]


def test_an_epoch_reads_every_text_once_in_another_order_and_resumes() -> None:
    text = small.text()
    stream = DocumentStream(text, 50, 40, seed=1)
    n = stream.tokens_per_epoch
    assert n == len(text.documents["train"].labels)

    def epoch(made: DocumentStream) -> list[tuple[list[int], int]]:
        batches = [next(made) for _ in range(math.ceil(n / 50))]
        return [(row, label) for batch in batches for row, (label,) in zip(batch.inputs_BT.tolist(), batch.targets_BT.tolist(), strict=True)]

    def plain(rows: list[tuple[list[int], int]]) -> list[tuple[tuple[int, ...], int]]:
        return sorted((tuple(i for i in row if i != IGNORED), label) for row, label in rows)

    first, second = epoch(stream), epoch(stream)
    documents, ids = text.documents["train"], text.splits["train"].tolist()
    starts = [0, *documents.ends[:-1].tolist()]
    spans = zip(starts, documents.ends.tolist(), documents.labels.tolist(), strict=True)
    whole = sorted((tuple(ids[a:b][:40]), label) for a, b, label in spans)
    assert plain(first) == plain(second) == whole
    assert [row for row, _ in first] != [row for row, _ in second]
    again = DocumentStream(text, 50, 40, seed=1)
    again.load_state_dict(DocumentStream(text, 50, 40, seed=1).state_dict() | {"epoch": 1})
    assert epoch(again) == second
    halfway = DocumentStream(text, 50, 40, seed=1)
    for _ in range(3):
        next(halfway)
    taken_up = DocumentStream(text, 50, 40, seed=1)
    taken_up.load_state_dict(halfway.state_dict())
    assert torch.equal(next(taken_up).inputs_BT, next(halfway).inputs_BT)


def test_a_stand_in_without_texts_is_cut_evenly() -> None:
    text = replace(small.text(), documents={})
    found = documents_of(text, "test", 30)
    assert np.diff(found.ends, prepend=0).max() == 30
    assert found.ends[-1] == len(text.splits["test"])
    assert set(found.labels.tolist()) == {0, 1}


def test_classes_are_what_a_head_predicts() -> None:
    text = small.text()
    vocabulary = class_vocabulary(text)
    assert vocabulary.tokens == ("no", "yes")
    assert vocabulary.counts.sum() == len(text.documents["train"].labels)
    with pytest.raises(ValueError, match="The corpus has no labels"):
        class_vocabulary(replace(text, classes=(), documents={}))


def test_the_mean_is_over_what_is_there() -> None:
    x_BTD = torch.tensor([[[1.0], [3.0], [float("nan")]], [[2.0], [4.0], [9.0]]])
    present_BT = torch.tensor([[True, True, False], [True, True, True]])
    assert mean_of_tokens(x_BTD, present_BT).tolist() == [[2.0], [5.0]]


# --- Whole models -----------------------------------------------------------------------------------------------------------------------------


class Pooled(nn.Module):
    """Mean of word vectors, then scores; `honest` leaves padding out of the mean."""

    def __init__(self, size: int = 20, classes: int = 3, honest: bool = True) -> None:
        super().__init__()
        self.table, self.scores, self.honest = nn.Embedding(size, 6), nn.Linear(6, classes), honest

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x_BTD = self.table(ids)
        scores: Tensor = self.scores(mean_of_tokens(x_BTD, mask) if self.honest else x_BTD.mean(1))
        return scores


class Maskless(nn.Module):
    def forward(self, ids: Tensor) -> Tensor:
        return ids


def test_a_whole_model_is_its_own_softmax() -> None:
    torch.manual_seed(0)
    body = Pooled()
    model = as_classifier(body, "models/own", 3, 20, 8)
    batch = batch_of(np.arange(9), DOCUMENTS, [0, 2], 8)
    loss, count, _, _ = model(batch)
    mask = batch.inputs_BT >= 0
    assert count == 2
    torch.testing.assert_close(loss, nn.functional.cross_entropy(body(batch.inputs_BT.clamp(min=0), mask), torch.tensor([1, 1]), reduction="sum"))


@pytest.mark.parametrize(
    ("body", "classes", "sentence"),
    [
        (Maskless(), 3, r"cannot tell tokens from padding: its forward takes \(ids\)"),
        (Pooled(honest=False), 3, "reads padding: behind the end of a text it moves a score by"),
        (Pooled(classes=2), 3, r"gives scores of shape \(2, 2\).*it must give \(2, 3\), one score for each class"),
        (Pooled(size=2), 3, "failed on ids and a mask of shape"),
    ],
)
def test_a_whole_model_that_is_no_classifier_is_refused(body: nn.Module, classes: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        as_classifier(body, "models/own", classes, 20, 8)


# --- Figures ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "of"), [(0, 5), (5, 5), (3, 10), (1500, 1821)])
def test_the_ends_of_wilsons_interval_are_what_the_share_would_just_be_seen_from(right: int, of: int) -> None:
    low, high = wilson(right, of)
    for end in {low, high} - {0.0, 1.0}:
        assert abs(right / of - end) == pytest.approx(1.959963984540054 * math.sqrt(end * (1 - end) / of), rel=1e-9)
    assert low <= right / of <= high


def test_macro_f1_by_hand() -> None:
    predicted, label = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert macro_f1(predicted, label, 3) == pytest.approx((2 * 1 / 3 + 2 * 2 / 5) / 2)


def test_texts_of_any_kind_of_model_have_the_interface_of_techniques() -> None:
    model: Any = as_classifier(Pooled(), "models/own", 3, 20, 8)
    hidden, state, extras = model.hidden(torch.tensor([[1, 2, IGNORED]]))
    assert hidden.shape == (1, 1, 3)
    assert state == ()
    assert extras == {}
