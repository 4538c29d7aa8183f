"""Two tables that are one: columns that stay and columns that scroll stand in step, in any width, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QPoint, QSize, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from workbench.comparing.figure_table import MOST_STAYING, NARROW, TALLEST, FigureTable, share
from workbench.comparing.overview import Overview
from workbench.comparing.table_half import TableHalf
from workbench.comparing.verdict_cells import row_height

WIDTHS = (*range(300, 1500, 79), *range(2600, 300, -331), 701, 700, 699, 700)


@pytest.fixture
def part(part: Overview) -> Overview:
    """With every column there is."""
    part.verdicts.chooser.all.click()
    return part


def shown(half: TableHalf) -> list[int]:
    return [column for column in range(half.model().columnCount()) if not half.isColumnHidden(column)]


def check(table: FigureTable) -> None:
    """Every column stands in one half, the halves fill the table, their rows lie at the same heights, and only the bar takes room from them."""
    left, right = table.halves
    columns = table.staying.model().columnCount()
    assert shown(left) + shown(right) == list(range(columns))
    assert left.viewport().width() == sum(left.columnWidth(column) for column in shown(left))
    assert table.height() == table.heightForWidth(table.width())
    assert left.viewport().height() == right.viewport().height()
    assert left.verticalScrollBar().maximum() == right.verticalScrollBar().maximum()
    assert left.horizontalHeader().height() == right.horizontalHeader().height()
    assert [left.rowViewportPosition(row) for row in range(3)] == [right.rowViewportPosition(row) for row in range(3)]
    scrolls = right.horizontalScrollBar().maximum() > 0
    assert scrolls == table.edge.isVisible() == right.horizontalScrollBar().isVisible()
    if not scrolls:
        assert left.width() + sum(right.columnWidth(column) for column in shown(right)) == right.geometry().left() - 1 + right.viewport().width()


def test_columns_share_a_width() -> None:
    for room in range(100, 2000, 7):
        widths, staying, scrolls = share([250, 100, 120, 90], 2, room)
        assert scrolls == (room < NARROW + 310)
        assert widths[1:] == [100, 120, 90] if scrolls else sum(widths) == room and min(widths[1:]) >= 90
        assert staying == 3 if not scrolls else staying == 1 or sum(widths[:staying]) <= MOST_STAYING * room
        assert share([250, 100, 120, 90], 2, room, as_needed=True).widths[1:] == [100, 120, 90]
    assert share([150, 60], 1, 500) == ([150 + 145, 60 + 145], 2, False)


@pytest.mark.parametrize("pins", [0, 2, 40])
def test_any_width_is_filled_with_and_without_pinned_columns(qtbot: QtBot, part: Overview, pins: int) -> None:
    for key in part.model.keys[:pins]:
        part.verdicts.chooser.pinned.emit(key, True)
    for width in WIDTHS:
        part.resize(width, 700)
        QApplication.processEvents()
        check(part.table)
        assert len(shown(part.table.staying)) <= 1 + pins


def test_rows_scroll_together(qtbot: QtBot, part: Overview) -> None:
    part.verdicts.seeds.setChecked(True)
    qtbot.waitUntil(lambda: part.table.height() >= TALLEST)
    left, right = part.table.halves
    check(part.table)
    for own, other in ((right, left), (left, right)):
        own.verticalScrollBar().setValue(own.verticalScrollBar().maximum() // 2)
        assert other.verticalScrollBar().value() == own.verticalScrollBar().value() > 0
        own.scrollToTop()
        assert other.verticalScrollBar().value() == 0
    part.verdicts.seeds.setChecked(False)
    qtbot.waitUntil(lambda: part.table.height() < 8 * row_height(part.font()) + 60)
    check(part.table)


def test_names_and_pinned_columns_stay_while_the_others_scroll(qtbot: QtBot, part: Overview) -> None:
    key = part.model.keys[-1]
    part.verdicts.chooser.pinned.emit(key, True)
    left, right = part.table.halves
    assert (part.model.keys[0], shown(left)) == (key, [0, 1])
    last = part.model.columnCount() - 1
    part.table.go(part.model.index(0, last))
    assert right.horizontalScrollBar().value() > 0
    assert left.rect().contains(left.visualRect(part.model.index(0, 1)))
    part.table.go(part.model.index(0, 2))
    assert right.visualRect(part.model.index(0, 2)).left() == 0
    part.verdicts.chooser.pinned.emit(key, False)
    assert shown(left) == [0]


def test_arrows_cross_from_one_half_to_the_other(qtbot: QtBot, part: Overview) -> None:
    table, last = part.table, part.model.columnCount() - 1
    part.activateWindow()
    qtbot.waitUntil(part.isActiveWindow)
    table.go(part.model.index(2, 0))
    table.setFocus()

    def press(key: Qt.Key, holding: TableHalf, row: int, column: int, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        qtbot.keyClick(QApplication.focusWidget(), key, modifiers)
        current = table.selection.currentIndex()
        assert (current.row(), current.column()) == (row, column)
        assert holding.hasFocus()
        assert table.selected_row() == row
        assert [half.focusPolicy() == Qt.FocusPolicy.StrongFocus for half in table.halves] == [half is holding for half in table.halves]

    press(Qt.Key.Key_Down, table.staying, 3, 0)
    press(Qt.Key.Key_Right, table.staying, 3, 0)  # Unfolds the seeds.
    press(Qt.Key.Key_Right, table.scrolling, 3, 1)
    press(Qt.Key.Key_Up, table.scrolling, 2, 1)
    press(Qt.Key.Key_Right, table.scrolling, 2, 2)
    press(Qt.Key.Key_End, table.scrolling, 2, last)
    press(Qt.Key.Key_Right, table.scrolling, 2, last)
    press(Qt.Key.Key_Home, table.staying, 2, 0)
    press(Qt.Key.Key_End, table.scrolling, part.model.rowCount() - 1, last, Qt.KeyboardModifier.ControlModifier)
    press(Qt.Key.Key_Home, table.staying, 0, 0, Qt.KeyboardModifier.ControlModifier)
    press(Qt.Key.Key_Down, table.staying, 1, 0)  # The control has no seeds.
    press(Qt.Key.Key_Right, table.scrolling, 1, 1)
    press(Qt.Key.Key_Left, table.staying, 1, 0)


def test_a_click_on_either_half_sorts_both(qtbot: QtBot, part: Overview) -> None:
    table, column = part.table, 2
    for half, place, names in ((table.scrolling, column, None), (table.staying, 0, sorted)):
        header = half.horizontalHeader()
        for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder, None):
            at = QPoint(header.sectionViewportPosition(place) + 30, header.height() // 2)
            qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=at)
            assert part.model.sorting == (None if order is None else (place, order))
            for each in table.halves:
                assert each.horizontalHeader().sortIndicatorSection() == (-1 if order is None else place)
            if names is not None and order is not None:
                assert part.model.names[2:] == sorted(part.model.names[2:], reverse=order == Qt.SortOrder.DescendingOrder)


def test_a_column_is_dragged_to_its_width_and_the_others_keep_theirs(qtbot: QtBot, part: Overview) -> None:
    left, right = part.table.halves
    for half, column in ((left, 0), (right, 2)):
        header = half.horizontalHeader()
        before = [own.columnWidth(n) for own in part.table.halves for n in shown(own)]
        edge = header.sectionViewportPosition(column) + header.sectionSize(column) - 1
        middle = header.height() // 2
        qtbot.mousePress(header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(edge, middle))
        for step in (5, 17, 33):
            qtbot.mouseMove(header.viewport(), QPoint(edge + step, middle))
        qtbot.mouseRelease(header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(edge + 33, middle))
        after = [own.columnWidth(n) for own in part.table.halves for n in shown(own)]
        assert after == [width + (33 if n == column else 0) for n, width in enumerate(before)]
        QApplication.processEvents()
        check(part.table)


@pytest.fixture
def menus(part: Overview) -> Callable[[], list[int]]:
    asked: list[int] = []
    part.table.menu_asked.disconnect()
    part.table.menu_asked.connect(lambda column, _place: asked.append(column))
    return lambda: asked


def test_the_menu_of_a_head_is_that_of_its_column(part: Overview, menus: Callable[[], list[int]]) -> None:
    left, right = part.table.halves
    for half, column in ((left, 0), (right, 1), (right, 2)):
        header = half.horizontalHeader()
        header.customContextMenuRequested.emit(QPoint(header.sectionViewportPosition(column) + 4, 4))
        assert menus()[-1] == column


def test_its_place_in_a_page_is_its_own_business(part: Overview) -> None:
    """Neither half may size the table: it has no layout, and its height follows from its width alone."""
    table = part.table
    assert table.layout() is None
    assert table.maximumSize() == QSize(16777215, 16777215)
    before = table.size()
    table.scrolling.resize(10, 10)
    table.staying.resize(5000, 5000)
    QApplication.processEvents()
    assert table.size() == before
