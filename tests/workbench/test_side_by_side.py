"""Variants as columns: which settings stand there, which differ, and where a cell leads."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLineEdit
from pytestqt.qtbot import QtBot

from engines.merging import Index
from workbench.editor.document import Document
from workbench.editor.draft import differences
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
    table.go_to(0, 1)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert four.variants.scope == 1
    qtbot.waitUntil(lambda: four.model.head.isAncestorOf(four.focusWidget()))
    table.go_to(3, 3)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert four.variants.scope == 3
    qtbot.waitUntil(lambda: any(card.isAncestorOf(four.focusWidget()) for card in four.recipe._cards))
    four.document.edit("", lambda data: data["variant"].pop(1))
    assert table.columnCount() == 3
    assert [table.verticalHeaderItem(n).text() for n in range(table.rowCount())] == [
        "model.head.tied", "training.batch", "techniques.pruning/magnitude",
    ]  # fmt: skip


def write(qtbot: QtBot, editor: EditorView, key: str, column: int, text: str) -> None:
    """Write a value into a cell, by keyboard."""
    side = editor.side_by_side
    row = next(number for number, each in enumerate(side._rows) if each.key == key)
    side.table.go_to(row, column)
    before = editor.document.undo.index()
    qtbot.keyClick(side.table, Qt.Key.Key_F2)
    line = side.table.viewport().findChild(QLineEdit)
    assert line is not None
    qtbot.keyClick(line, Qt.Key.Key_Delete)  # All of it is marked.
    qtbot.keyClicks(line, text)
    qtbot.keyClick(line, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: editor.document.undo.index() == before + 1 and not side.table.writing)


def test_a_value_is_written_where_it_stands_checked_as_in_the_form_and_taken_back(qtbot: QtBot, four: EditorView) -> None:
    four.open_side_by_side()
    data, index, table = lambda: four.document.data, Index(four._desk.catalogue or {}), four.side_by_side.table
    write(qtbot, four, "training.batch", 2, "64")
    assert data()["variant"][2]["training"] == {"batch": 64}
    write(qtbot, four, "training.batch", 2, "20")
    assert "training" not in data()["variant"][2]  # What the base says needs no saying.
    four.document.undo.undo()
    assert data()["variant"][2]["training"] == {"batch": 64}
    write(qtbot, four, "techniques.pruning/magnitude", 1, "pruning/magnitude")
    assert differences(data(), index, 1) == ["head: adaptive (cutoffs 500)", "+ magnitude"]
    write(qtbot, four, "techniques.pruning/magnitude", 3, "")
    assert "techniques" not in data()["variant"][3]
    write(qtbot, four, "model.head", 3, '{ id = "softmax/adaptive", cutoffs = [100, 200] }')
    assert data()["variant"][3]["model"]["head"] == {"id": "softmax/adaptive", "cutoffs": [100, 200]}
    assert four.all_problems == []
    write(qtbot, four, "training.batch", 0, "many")
    assert [problem.path for problem in four.all_problems] == ["variant[0].training.batch"]
    row = next(number for number, each in enumerate(four.side_by_side._rows) if each.key == "training.batch")
    assert "hole number" in table.item(row, 0).toolTip()
    four.document.undo.undo()
    assert four.all_problems == []


def test_what_a_variant_cannot_say_is_not_written(qtbot: QtBot, four: EditorView) -> None:
    four.open_side_by_side()
    table = four.side_by_side.table
    rows = {each.key: number for number, each in enumerate(four.side_by_side._rows)}
    can = [bool(table.item(rows["model.head.tied"], column).flags() & Qt.ItemFlag.ItemIsEditable) for column in range(4)]
    assert can == [True, False, True, True]  # An adaptive softmax has no such parameter.


def test_all_settings_can_be_seen_and_one_that_no_variant_changed_be_changed(qtbot: QtBot, four: EditorView) -> None:
    four.open_side_by_side()
    four.side_by_side.all.setChecked(True)
    keys = [row.key for row in four.side_by_side._rows]
    assert {"model.embedding.width", "model.layers[0].mixer.width", "training.sequence", "training.batch"} <= set(keys)
    write(qtbot, four, "model.layers[0].mixer.width", 3, "64")
    assert four.document.data["variant"][3]["model"]["layers"] == [{"mixer": {"id": "recurrent/lstm", "width": 64}}]
    four.side_by_side.all.setChecked(False)
    assert "model.layers[0].mixer.width" in [row.key for row in four.side_by_side._rows]


def test_columns_are_added_copied_renamed_and_removed_by_keyboard(qtbot: QtBot, four: EditorView) -> None:
    four.open_side_by_side()
    table, names = four.side_by_side.table, lambda: [each["name"] for each in four.document.data["variant"]]
    table.go_to(0, 2)
    qtbot.keyClick(table, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    assert names() == ["baseline", "adaptive", "tied", "pruned", "tied copy"]
    assert table.at_column == 4
    qtbot.keyClick(table, Qt.Key.Key_F2, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(table._line, "tied, wide")
    qtbot.keyClick(table._line, Qt.Key.Key_Return)
    assert names()[4] == "tied, wide"
    assert table.horizontalHeaderItem(4).text() == "tied, wide"
    qtbot.keyClick(table, Qt.Key.Key_F2, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(table._line, "no")
    qtbot.keyClick(table._line, Qt.Key.Key_Escape)
    assert names()[4] == "tied, wide"
    qtbot.keyClick(table, Qt.Key.Key_Delete, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(table, Qt.Key.Key_Insert)
    assert names() == ["baseline", "adaptive", "tied", "pruned", "variant"]
    assert QApplication.focusWidget() is table
    for _ in range(4):
        four.document.undo.undo()
    assert names() == ["baseline", "adaptive", "tied", "pruned"]
