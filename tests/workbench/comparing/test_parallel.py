"""Parallel coordinates: lines where the values are, selection both ways, importance in the order of what is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from workbench.comparing.parallel import Parallel
from workbench.comparing.subject import Subject
from workbench.desk import Desk

PERPLEXITY = "quality/test_perplexity"


@pytest.fixture
def swept(comparison: dict[str, Any]) -> dict[str, Any]:
    """Ten variants whose perplexity follows the batch."""
    made, full = copy.deepcopy(comparison), comparison["variants"]["full softmax"]
    made["variants"] = {"full softmax": full}
    for place in range(1, 10):
        variant = copy.deepcopy(full)
        variant["differences"] = [{"key": "training.batch", "old": 20, "new": 20 + place}, {"key": "model.head", "old": "a", "new": "ab"[place % 2]}]
        variant["differences"] = [each for each in variant["differences"] if each["old"] != each["new"]]
        variant["results"][PERPLEXITY]["value"] += place
        made["variants"][f"batch {20 + place}"] = variant
    return made


@pytest.fixture
def part(qtbot: QtBot, subject: Subject, desk: Desk, swept: dict[str, Any]) -> Parallel:
    made = Parallel(subject, desk)
    qtbot.addWidget(made)
    made.resize(1100, 760)
    subject.show(swept)
    subject.selected.connect(made.mark)
    made.draw(swept)
    made.show()
    made.quantity.setCurrentIndex(made.quantity.findData(PERPLEXITY))
    made.quantity.activated.emit(0)
    qtbot.waitUntil(lambda: bool(made.found) and made.found[0].key == "training.batch", timeout=10_000)
    return made


def test_the_telling_setting_comes_first_and_says_its_direction(part: Parallel) -> None:
    assert [axis.key for axis in part.plot.axes][:2] == ["training.batch", "model.head"]
    assert part.plot.axes[-1].key == PERPLEXITY
    assert part.table.item(0, 1).text() == "100%"
    assert part.table.item(0, 3).text().startswith("+1.00")
    assert part.table.item(1, 1).text().endswith("?")


def test_lines_are_picked_and_marked(qtbot: QtBot, part: Parallel, subject: Subject) -> None:
    name = "batch 25"
    (line,) = part.plot.line(name)
    qtbot.mouseClick(part.plot, Qt.MouseButton.LeftButton, pos=QPoint(round(line[0].x()), round(line[0].y())))
    assert subject.variant == name
    qtbot.keyClick(part.plot, Qt.Key.Key_Down)
    assert subject.variant == "batch 24"
    qtbot.keyClick(part.plot, Qt.Key.Key_Escape)
    assert subject.variant == ""


def test_too_few_variants_say_how_many_are_missing(qtbot: QtBot, part: Parallel, comparison: dict[str, Any]) -> None:
    part.draw(comparison)
    qtbot.waitUntil(lambda: "2 more are missing" in part.note.text(), timeout=10_000)
    assert part.table.isHidden()
    assert len(part.plot.axes) > 4
