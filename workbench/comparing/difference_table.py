"""Differences of plans as a table: variant, key, old value, new value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QHeaderView, QTableView, QWidget

from workbench.comparing.plan_differences import Row
from workbench.theme import Theme
from workbench.widgets.pills import SWATCH, PillDelegate

Index = QModelIndex | QPersistentModelIndex
ROW = 32


class _Rows(QAbstractTableModel):
    """One row a difference."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.rows: list[Row] = []
        self.heads = ("Variant", "Key", "Old", "New")
        self.colours: Mapping[str, str] = {}

    def show(self, rows: Sequence[Row], old: str, new: str, colours: Mapping[str, str]) -> None:
        self.beginResetModel()
        self.rows, self.heads, self.colours = list(rows), ("Variant", "Key", old, new), colours
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return len(self.heads)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self.heads[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = self.rows[index.row()], index.column()
        value = (row.variant, row.key, row.old, row.new)[column]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return value
        if role == SWATCH and not column:
            return self.colours.get(row.variant)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        return None


class DifferenceTable(QTableView):
    """Reads like a list; rows of one variant stand together."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = _Rows(self)
        self.setModel(self._model)
        self._cells = PillDelegate(theme, self)
        self.setItemDelegateForColumn(0, self._cells)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setWordWrap(False)
        self.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Differences of the plans")
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        for column, mode in enumerate((QHeaderView.ResizeMode.Interactive,) * 2 + (QHeaderView.ResizeMode.Stretch,) * 2):
            header.setSectionResizeMode(column, mode)

    @property
    def rows(self) -> list[Row]:
        return self._model.rows

    def show_rows(self, rows: Sequence[Row], old: str, new: str, colours: Mapping[str, str]) -> None:
        """Show these rows; old, new: what the two values belong to."""
        self._model.show(rows, old, new, colours)
        metrics = self.fontMetrics()
        for column, texts, extra in ((0, [row.variant for row in rows], 48), (1, [row.key for row in rows], 28)):
            self.setColumnWidth(column, min(280, max((metrics.horizontalAdvance(text) for text in texts), default=80) + extra))

    def whole_height(self) -> int:
        """Pixels that all rows take."""
        return self.horizontalHeader().sizeHint().height() + ROW * len(self.rows) + 6

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._cells.theme = theme
        self.viewport().update()
