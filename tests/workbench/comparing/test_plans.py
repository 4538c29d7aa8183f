"""Differences of plans: of variants as the comparison has them, of two experiments by variant, of files that are chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rich_sample
import samples
from pytestqt.qtbot import QtBot

from engines.store.database import Store
from workbench.comparing import plan_differences
from workbench.comparing.plan_differences import EVERY, ONLY_HERE, Row
from workbench.comparing.plans import ALIKE, Plans
from workbench.comparing.subject import Subject
from workbench.desk import Desk

FILE = """
[experiment]
name = "On paper"
task = "language_model"
corpus = { id = "corpora/python_stdlib" }
budget = { steps = 5 }

[model]
embedding = { id = "embeddings/lookup", width = 8 }
layers = [{ mixer = { id = "recurrent/lstm", width = WIDTH } }]
head = { id = "softmax/full" }

[training]
techniques = ["optimization/adam"]

[[variant]]
name = "full"
"""


@pytest.fixture
def stored(store_url: str) -> Iterator[tuple[Store, int]]:
    with Store.open(store_url) as store:
        first = samples.finished(store, variants=("full softmax", "adaptive"))
        assert first
        yield store, rich_sample.rich(store)


@pytest.fixture
def part(qtbot: QtBot, subject: Subject, desk: Desk, stored: tuple[Store, int], store_url: str, comparison: dict[str, Any]) -> Plans:
    desk.set_store(Store.open(store_url))
    made = Plans(subject, desk)
    qtbot.addWidget(made)
    made.draw(comparison | {"experiments": [stored[1]]})
    subject.selected.connect(made.mark)
    return made


def test_rows_of_variants(part: Plans, subject: Subject) -> None:
    rows = part.variants.rows
    assert Row("adaptive", "model.head", "softmax/full (tied = true)", "softmax/adaptive (cutoffs = [2000, 10000])") in rows
    assert Row("pruned 80%", "techniques.pruning/magnitude", "-", "pruning/magnitude (sparsity = 0.8)") in rows
    subject.select("distilled, small")
    selected = {part.variants.rows[index.row()].variant for index in part.variants.selectionModel().selectedRows()}
    assert selected == {"distilled, small"}
    assert len(part.variants.selectionModel().selectedRows()) == 2
    part._pick(0)
    assert subject.variant == "adaptive"


def test_two_stored_experiments(qtbot: QtBot, part: Plans) -> None:
    qtbot.waitUntil(lambda: bool(part.experiments.rows), timeout=5000)
    assert Row("adaptive", "training.batch", "-", "20") in part.experiments.rows or Row(EVERY, "training.batch", "-", "20") in part.experiments.rows
    assert Row("int8", ONLY_HERE, "-", "there") in part.experiments.rows


def test_what_all_variants_share_stands_once() -> None:
    old = {"a": {"budget": {"tokens": 1}, "device": "cpu"}, "b": {"budget": {"tokens": 1}, "device": "cpu"}, "gone": {}}
    new = {"a": {"budget": {"tokens": 2}, "device": "cpu"}, "b": {"budget": {"tokens": 2}, "device": "cuda"}}
    assert plan_differences.between(old, new) == [
        Row(EVERY, "budget.tokens", "1", "2"), Row("b", "device", "cpu", "cuda"), Row("gone", ONLY_HERE, "there", "-")
    ]  # fmt: skip


def test_files_and_what_is_wrong_with_them(qtbot: QtBot, part: Plans, catalogue: dict[str, Any], tmp_path: Path) -> None:
    part._desk.set_catalogue(catalogue)
    paths = [tmp_path / f"{width}.toml" for width in (8, 16)]
    for path, width in zip(paths, (8, 16), strict=True):
        path.write_text(FILE.replace("WIDTH", str(width)))
    qtbot.waitUntil(lambda: bool(part.experiments.rows), timeout=5000)
    part.show_pair(*paths)
    qtbot.waitUntil(lambda: part.experiments.rows == [Row("full", "model.layers[0].mixer.width", "8", "16")], timeout=10_000)
    copy = tmp_path / "copy.toml"
    copy.write_text(paths[0].read_text())
    part.show_pair(paths[0], copy)
    qtbot.waitUntil(lambda: part.note.text() == ALIKE, timeout=10_000)
    paths[1].write_text("[experiment]\nnme = 3\n")
    part.show_pair(*paths)
    qtbot.waitUntil(lambda: "nme" in part.note.text(), timeout=10_000)
    assert part.experiments.isHidden()
