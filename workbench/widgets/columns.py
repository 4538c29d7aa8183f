"""Cards in as many columns as the width has room for."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

Arrangement = Sequence[Sequence[int]]
"""Which widget goes into which column, by number."""


class Columns(QWidget):
    """Widgets side by side. `arrangements`: (least width in pixels, arrangement), rising, the first for any width."""

    def __init__(self, widgets: Sequence[QWidget], arrangements: Sequence[tuple[int, Arrangement]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._widgets, self._arrangements = list(widgets), list(arrangements)
        self._shown: Arrangement = ()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(14)
        self._columns = [QWidget() for _ in range(max(len(columns) for _width, columns in self._arrangements))]
        self._insides: list[QVBoxLayout] = []
        for column in self._columns:
            inside = QVBoxLayout(column)
            inside.setContentsMargins(0, 0, 0, 0)
            inside.setSpacing(14)
            inside.addStretch(1)
            self._insides.append(inside)
            row.addWidget(column, 1)
        self._arrange(self._arrangements[0][1])

    def _arrange(self, columns: Arrangement) -> None:
        if columns == self._shown:
            return
        self._shown = columns
        for inside in self._insides:
            # Not takeAt: the item it gives lives on in Python, and a widget tells only its oldest item when it grows.
            for widget in self._widgets:
                inside.removeWidget(widget)
        for place, (column, inside) in enumerate(zip(self._columns, self._insides, strict=True)):
            members = columns[place] if place < len(columns) else ()
            column.setVisible(bool(members))
            for position, number in enumerate(members):
                inside.insertWidget(position, self._widgets[number])

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange([columns for width, columns in self._arrangements if event.size().width() >= width][-1])
