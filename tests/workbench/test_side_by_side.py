"""Variants as columns: which settings stand there, which differ, and where a cell leads."""

from __future__ import annotations

from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from engines.merging import Index
from workbench.editor.document import Document
from workbench.editor.side_by_side import settings
from workbench.views.editor import EditorView


def tree() -> dict[str, Any]:
    data = Document().data
    data["variant"] = [
        {"name": "baseline"},
        {"name": "adaptive", "model": {"head": {"id": "softmax/adaptive", "cutoffs": [500]}}},
        {"name": "tied", "model": {"head": {"tied": True}}, "training": {"batch": 40}},
        {"name": "pruned", "techniques": [{"id": "pruning/magnitude", "sparsity": 0.8}]},
    ]
    return data


def test_only_what_differs_has_a_row(catalogue: dict[str, Any]) -> None:
    rows = {row.key: row for row in settings(tree(), Index(catalogue))}
    assert list(rows) == ["model.head", "model.head.tied", "training.batch", "techniques.pruning/magnitude"]
    assert rows["model.head"].values[1] == "softmax/adaptive (cutoffs = [500])"
    assert rows["model.head"].differs == (False, True, False, False)
    assert rows["model.head.tied"].values == ("-", "-", "true", "-")  # An adaptive softmax has no such parameter.
    assert rows["training.batch"].values == ("20", "20", "40", "20")
    assert rows["techniques.pruning/magnitude"].values[3] == "pruning/magnitude (sparsity = 0.8)"


def test_equal_variants_have_no_rows(catalogue: dict[str, Any]) -> None:
    data = Document().data
    data["variant"] = [{"name": "a"}, {"name": "b"}]
    assert settings(data, Index(catalogue)) == []
    data["variant"] = []
    assert settings(data, Index(catalogue)) == []


@pytest.fixture
def four(editor: EditorView) -> EditorView:
    """The editor with those variants."""
    editor.document.open_copy(tree(), editor.document.folder)
    return editor


def test_the_table_follows_edits_and_a_cell_leads_to_its_form(qtbot: QtBot, four: EditorView) -> None:
    assert four.side_by_side.isHidden()
    four.open_side_by_side()
    table = four.side_by_side.table
    assert [table.horizontalHeaderItem(n).text() for n in range(4)] == ["★ baseline", "adaptive", "tied", "pruned"]
    table.itemActivated.emit(table.item(0, 1))
    assert four.variants.scope == 1
    qtbot.waitUntil(lambda: four.model.head.isAncestorOf(four.focusWidget()))
    table.itemActivated.emit(table.item(3, 3))
    assert four.variants.scope == 3
    qtbot.waitUntil(lambda: any(card.isAncestorOf(four.focusWidget()) for card in four.recipe._cards))
    four.document.edit("", lambda data: data["variant"].pop(1))
    assert table.columnCount() == 3
    assert [table.verticalHeaderItem(n).text() for n in range(table.rowCount())] == [
        "model.head.tied", "training.batch", "techniques.pruning/magnitude",
    ]  # fmt: skip
