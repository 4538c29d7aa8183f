"""The verdict table: sorted by figure or ratio, baseline and control on top, what is over a limit dimmed."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from workbench.comparing.overview import Overview
from workbench.comparing.subject import Subject
from workbench.comparing.verdict_table import CELL, VerdictTable

SPEED, PERPLEXITY = "speed/infer_tokens_per_s", "quality/test_perplexity"
UP, DOWN = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder


@pytest.fixture
def part(qtbot: QtBot, subject: Subject, comparison: dict[str, Any]) -> Overview:
    made = Overview(subject)
    qtbot.addWidget(made)
    made.resize(1000, 800)
    made.draw(comparison)
    subject.selected.connect(made.mark)
    made.show()
    return made


def column(model: VerdictTable, key: str) -> int:
    return 1 + model.keys.index(key)


def test_sorted_by_any_column_by_figure_or_ratio(part: Overview, comparison: dict[str, Any]) -> None:
    model = part.model
    baseline = comparison["baseline"]
    assert model.names[:2] == [baseline, ""]
    for key in model.keys:
        for by, field in (("value", "value"), ("ratio", "ratio")):
            for order in (UP, DOWN):
                model.by = by  # type: ignore[assignment]
                model.sort(column(model, key), order)
                assert model.names[:2] == [baseline, ""]
                numbers = [comparison["variants"][name]["results"][key][field] for name in model.names[2:]]
                assert numbers == sorted(numbers, reverse=order == DOWN), (key, by)
    model.sort(0, UP)
    assert model.names[2:] == sorted(model.names[2:])
    model.sort(-1)
    assert model.names[2:] == [name for name in comparison["variants"] if name != baseline]


def test_what_was_not_measured_comes_last_both_ways(part: Overview, comparison: dict[str, Any]) -> None:
    del comparison["variants"]["adaptive"]["results"][SPEED]
    part.draw(comparison)
    for order in (UP, DOWN):
        part.model.sort(column(part.model, SPEED), order)
        assert part.model.names[-1] == "adaptive"
    index = part.model.index(len(part.model.names) - 1, column(part.model, SPEED))
    assert "not measured" in part.model.data(index)


def test_selection_stays_with_its_variant_while_rows_move(part: Overview, subject: Subject) -> None:
    subject.select("int8")
    for key in (PERPLEXITY, SPEED):
        part.table.horizontalHeader().setSortIndicator(column(part.model, key), DOWN)
        assert [part.model.names[index.row()] for index in part.table.selectionModel().selectedRows()] == ["int8"]
        assert part.sorting.currentIndex() == column(part.model, key) + 1
    part.sorting.setCurrentIndex(0)
    part.sorting.activated.emit(0)
    assert part.model.sorting is None
    assert subject.variant == "int8"


def test_the_control_is_a_row_of_ratios(part: Overview, comparison: dict[str, Any]) -> None:
    first, second, *_ = part.model.data(part.model.index(1, column(part.model, SPEED)), CELL)
    assert first == ""
    assert second.startswith(f"{comparison['control'][SPEED]['ratio']:.2f}x [")
    assert part.model.data(part.model.index(1, column(part.model, PERPLEXITY)), CELL)[:2] == ("", "")
    comparison["control"] = {}
    part.draw(comparison)
    assert "" not in part.model.names


def test_a_variant_over_a_limit_is_dimmed_and_says_why(part: Overview, subject: Subject, comparison: dict[str, Any]) -> None:
    row = part.model.names.index("int8")
    assert all(part.model.data(part.model.index(row, n), CELL)[4] for n in range(part.model.columnCount()))
    (broken,) = comparison["variants"]["int8"]["violations"]
    assert broken in part.model.data(part.model.index(row, 0), Qt.ItemDataRole.ToolTipRole)
    assert not part.model.data(part.model.index(part.model.names.index("adaptive"), 1), CELL)[4]
    subject.select("int8")
    assert part.words.itemAt(0).widget().text() == broken


def test_headline_names_every_variant_and_is_short_at_first(part: Overview, comparison: dict[str, Any]) -> None:
    names = [part.lines.itemAtPosition(row, 0).widget().text() for row in range(part.lines.rowCount()) if part.lines.itemAtPosition(row, 0)]
    assert names == [name for name in comparison["variants"] if name != comparison["baseline"]]
    assert part.more.isHidden()
    told = part.lines.itemAtPosition(names.index("int8"), 1).widget().text()
    assert told.endswith(comparison["variants"]["int8"]["violations"][0])
