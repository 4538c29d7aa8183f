"""The forest plot shows exactly the comparison's ratios, with the control on top, and selects variants."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from workbench.comparing import forest_lines
from workbench.comparing.forest import QUANTITIES, Forest
from workbench.comparing.pictures import FORMS, write
from workbench.comparing.subject import Subject
from workbench.desk import Desk

SPEED = "speed/infer_tokens_per_s"


@pytest.fixture
def forest(qtbot: QtBot, desk: Desk, subject: Subject, comparison: dict[str, Any]) -> Forest:
    made = Forest(subject, desk)
    qtbot.addWidget(made)
    made.resize(1000, 700)
    made.draw(comparison)
    made.show()
    return made


def test_lines_are_the_figures_of_the_comparison(comparison: dict[str, Any]) -> None:
    control, *lines = forest_lines.of_quantity(comparison, SPEED)
    assert (control.control, control.ratio) == (True, comparison["control"][SPEED]["ratio"])
    assert [line.variant for line in lines] == [name for name in comparison["variants"] if name != comparison["baseline"]]
    for line in lines:
        result = comparison["variants"][line.variant]["results"][SPEED]
        assert (line.ratio, line.low, line.high, line.verdict) == tuple(result[key] for key in ("ratio", "ratio_low", "ratio_high", "verdict"))
    assert [line.dimmed for line in lines] == [line.variant == "int8" for line in lines]
    assert all(line.below == comparison["variants"][line.variant]["violations"][0] for line in lines if line.dimmed)


def test_the_axis_holds_one_the_margins_and_every_interval(comparison: dict[str, Any]) -> None:
    for key in forest_lines.quantities(comparison):
        lines = forest_lines.of_quantity(comparison, key)
        axis = forest_lines.scale(lines)
        ends = [1.0, *(end for line in lines for end in (line.ratio, line.low, line.high, 1 + line.margin, 1 / (1 + line.margin)) if end is not None)]
        assert all(axis.low < end < axis.high for end in ends), key
        assert len(axis.ticks()) >= 3, key


def test_a_ratio_far_away_does_not_squeeze_the_others(comparison: dict[str, Any]) -> None:
    far = copy.deepcopy(comparison)
    far["variants"]["int8"]["results"][SPEED].update(ratio=1e6, ratio_low=None, ratio_high=None)
    assert forest_lines.scale(forest_lines.of_quantity(far, SPEED)).high < 2 * forest_lines.WIDEST


def test_a_margin_of_its_own_counts(comparison: dict[str, Any]) -> None:
    assert forest_lines.margin_of(comparison, SPEED) >= comparison["margin"]
    assert forest_lines.margin_of(comparison | {"margins": {SPEED: 0.07}}, SPEED) == 0.07


def test_without_an_interval_nothing_is_invented(comparison: dict[str, Any]) -> None:
    lonely = copy.deepcopy(comparison)
    lonely["variants"]["int8"]["results"][SPEED].update(ratio_low=None, ratio_high=None, verdict="not enough data", reason="Only 3 rounds.")
    line = next(line for line in forest_lines.of_quantity(lonely, SPEED) if line.variant == "int8")
    assert (line.low, line.high) == (None, None)
    assert "Only 3 rounds." in line.tip
    del lonely["variants"]["adaptive"]["results"][SPEED]
    assert forest_lines.absent(lonely, SPEED) == ["adaptive"]


def test_rows_are_variants_or_quantities(forest: Forest, subject: Subject, comparison: dict[str, Any]) -> None:
    forest.of.setCurrentIndex(forest.of.findData(SPEED))
    forest.of.activated.emit(0)
    assert [line.variant for line in forest.table.lines] == ["", *[name for name in comparison["variants"] if name != comparison["baseline"]]]
    forest.order.setCurrentIndex(1)
    forest.order.activated.emit(1)
    assert forest.table.lines[0].control
    ratios = [line.ratio for line in forest.table.lines[1:]]
    assert ratios == sorted(ratios)
    subject.select("int8")
    forest.rows.setCurrentIndex(forest.rows.findData(QUANTITIES))
    forest.rows.activated.emit(1)
    assert forest.of.currentData() == "int8"
    assert {line.variant for line in forest.table.lines} == {"int8"}
    judging = len(forest.table.lines)
    forest.all_keys.setChecked(True)
    assert len(forest.table.lines) > judging


def test_selection_goes_both_ways_and_by_keyboard(qtbot: QtBot, forest: Forest, subject: Subject) -> None:
    subject.selected.connect(forest.mark)
    forest.of.setCurrentIndex(forest.of.findData(SPEED))
    forest.of.activated.emit(0)
    subject.select("int8")
    assert forest.table.lines[forest.table.currentIndex().row()].variant == "int8"
    forest.table.setFocus()
    qtbot.keyClick(forest.table, Qt.Key.Key_Down)
    assert subject.variant == "sliding window"
    forest.table.selectRow(0)
    assert subject.variant == ""
    index = forest.table.model().index(0, 1)
    assert "A/A control" in forest.table.model().data(index, Qt.ItemDataRole.AccessibleTextRole)


def test_what_is_missing_is_said(forest: Forest, comparison: dict[str, Any]) -> None:
    alone = comparison | {"variants": {comparison["baseline"]: comparison["variants"][comparison["baseline"]]}}
    forest.draw(alone)
    assert forest.pages.currentWidget() is forest.missing
    assert "only the baseline" in forest.missing.text()


def test_what_is_shown_is_saved_as_a_picture(forest: Forest, tmp_path: Path) -> None:
    drawn = forest.picture()
    assert drawn is not None
    for form in FORMS:
        assert write(drawn, form, tmp_path / f"out.{form}").stat().st_size > 1000
    text = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert all(line.variant in text for line in forest.table.lines if not line.control)
    forest.rows.setCurrentIndex(forest.rows.findData(QUANTITIES))
    forest.rows.activated.emit(1)
    one = forest.picture()
    assert one is not None
    assert one.title.endswith(str(forest.of.currentData()))
    others = {line.variant for line in forest.table.lines} - {forest.of.currentData()}
    assert not any(shape.text in others for shape in one.shapes)
