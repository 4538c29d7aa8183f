"""A table of figures that fills its width: no figure is cut, what room is left is shared, and where there is none it scrolls sideways."""

from __future__ import annotations

from PySide6.QtCore import QAbstractItemModel, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHeaderView, QTableView, QWidget

from workbench.comparing.verdict_cells import VerdictCells, row_height
from workbench.theme import Theme

NARROW = 170
"""Pixels for the names where the figures do not all fit beside them."""
TALLEST = 620
BAR = 16
"""Pixels that a scroll bar takes."""


class FigureTable(QTableView):
    """One row a variant, two lines a cell. Its height follows its rows; `fit` after the model changed."""

    def __init__(self, model: QAbstractItemModel, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setModel(model)
        self.cells = VerdictCells(theme, self)
        self.setItemDelegate(self.cells)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QTableView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QTableView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QTableView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)
        self.setAccessibleName(name)
        self.verticalHeader().hide()
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self._needed: list[int] = []

    def fit(self) -> None:
        """Measure what each column needs, then share the room."""
        self.verticalHeader().setDefaultSectionSize(row_height(self.font()))
        self.resizeColumnsToContents()
        header = self.horizontalHeader()
        self._needed = [header.sectionSize(n) for n in range(header.count())]
        self._share()

    def _share(self) -> None:
        if not self._needed:
            return
        header, room = self.horizontalHeader(), self.width() - 2
        model = self.model()
        wanted = model.rowCount() * row_height(self.font()) + header.sizeHint().height() + 4
        room -= BAR if wanted > TALLEST else 0
        needed = list(self._needed)
        if sum(needed) > room:
            needed[0] = min(NARROW, needed[0])
            wanted += BAR if sum(needed) > room else 0
        spare, rest = divmod(max(0, room - sum(needed)), len(needed))
        for column, width in enumerate(needed):
            header.resizeSection(column, width + spare + (rest if column == 0 else 0))
        self.setFixedHeight(min(TALLEST, wanted))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._share()

    def selected_row(self) -> int:
        """The row that is selected; -1 for none."""
        rows = self.selectionModel().selectedRows()
        return rows[0].row() if rows else -1

    def show_row(self, row: int) -> None:
        """Select a row, or none (-1)."""
        if row != self.selected_row():
            if row < 0:
                self.clearSelection()
            else:
                self.selectRow(row)

    def sort_by_heads(self) -> None:
        """Let a click on a head sort: once up, once down, once back to the order of the model."""
        header = self.horizontalHeader()
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.setSortIndicatorClearable(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
