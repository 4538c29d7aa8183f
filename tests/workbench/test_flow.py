"""Lines of widgets that break where the width ends: nothing lies over anything, and what is hidden takes no place."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QRect, QSize
from PySide6.QtWidgets import QApplication, QWidget

from workbench.widgets.flow import Beside, Flow


class Box(QWidget):
    """As wide as it is told, at least so wide."""

    def __init__(self, width: int, least: int) -> None:
        super().__init__()
        self._hint, self._least = QSize(width, 20), QSize(least, 20)

    def sizeHint(self) -> QSize:
        return self._hint

    def minimumSizeHint(self) -> QSize:
        return self._least


def placed(layout: Flow, boxes: list[Box], width: int) -> list[QRect]:
    """Where the boxes come to lie, after a check that they are apart and within the room that was asked for."""
    height = layout.heightForWidth(width)
    layout.setGeometry(QRect(0, 0, width, height))
    areas = [box.geometry() for box in boxes]
    assert not any(one.intersects(other) for one, other in itertools.combinations(areas, 2))
    assert all(QRect(0, 0, width, height).contains(area) for area in areas)
    return areas


@pytest.mark.parametrize("kind", [Flow, Beside])
@given(widths=st.lists(st.tuples(st.integers(20, 120), st.integers(0, 100)), min_size=1, max_size=7), width=st.integers(130, 700))
@settings(deadline=None, max_examples=60)
def test_nothing_overlaps_or_sticks_out(qapp: QApplication, kind: type[Flow], widths: list[tuple[int, int]], width: int) -> None:
    parent = QWidget()
    layout = kind(parent, gap=8)
    boxes = [Box(wide, round(wide * share / 100)) for wide, share in widths]
    for box in boxes:
        layout.addWidget(box)
        box.show()
    for box, area in zip(boxes, placed(layout, boxes, width), strict=True):
        assert area.width() >= box.minimumSizeHint().width()


def test_the_first_takes_what_is_left_until_it_has_too_little(qapp: QApplication) -> None:
    parent = QWidget()
    layout = Beside(parent, gap=10, least=100)
    title, button, choice = Box(40, 40), Box(60, 60), Box(120, 50)
    for box in (title, button, choice):
        layout.addWidget(box)
        box.show()
    wide = placed(layout, [title, button, choice], 400)
    assert [area.width() for area in wide] == [200, 60, 120]
    narrow = placed(layout, [title, button, choice], 260)  # What can be narrower is.
    assert [area.width() for area in narrow] == [100, 60, 80]
    assert len({area.center().y() for area in narrow}) == 1
    broken = placed(layout, [title, button, choice], 200)
    assert broken[0] == QRect(0, 0, 200, 20)
    assert {area.y() for area in broken[1:]} == {30}
    for box in (button, choice):
        box.hide()
    assert layout.heightForWidth(200) == 20
