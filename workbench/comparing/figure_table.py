"""A table of figures that fills its width: no figure is cut, what room is left is shared, and where there is none it scrolls beside its names."""

from __future__ import annotations

from PySide6.QtCore import QAbstractItemModel, QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from workbench.comparing.verdict_cells import VerdictCells, row_height
from workbench.theme import Theme

NARROW = 170
"""Pixels for the names where the figures do not all fit beside them."""
TALLEST = 620
BAR = 16
"""Pixels that a scroll bar takes."""
MOST_PINNED = 0.6
"""Share of the width that columns which stay may take: beyond it there would be no room to scroll the others in."""


class FigureTable(QTableView):
    """One row a variant, two lines a cell. Its height follows its rows; `fit` after the model changed.

    pinned: how many columns behind the names stay in sight with them while the others scroll.
    """

    def __init__(self, model: QAbstractItemModel, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # A second view of the same rows lies over the left edge. It has no focus of its own: the keyboard works in the whole table.
        self.staying = QTableView(self)
        self.pinned = 0
        self.cells = VerdictCells(theme, self)
        self.setModel(model)
        self._dress(self)
        self.setAccessibleName(name)
        self.setTabKeyNavigation(False)
        self._needed: list[int] = []
        self.staying.setModel(model)
        self.staying.setSelectionModel(self.selectionModel())
        self._dress(self.staying)
        self.staying.setObjectName("staying")
        self.staying.setAccessibleName(f"{name}: columns that stay in sight")
        self.staying.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.staying.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.staying.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.staying.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalScrollBar().valueChanged.connect(self.staying.verticalScrollBar().setValue)
        self.staying.verticalScrollBar().valueChanged.connect(self.verticalScrollBar().setValue)
        self.horizontalHeader().sectionResized.connect(lambda *_: self._place())
        self.horizontalScrollBar().rangeChanged.connect(lambda *_: self._place())
        self.staying.hide()

    def _dress(self, view: QTableView) -> None:
        view.setItemDelegate(self.cells)
        view.setShowGrid(False)
        view.setAlternatingRowColors(True)
        view.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QTableView.SelectionMode.SingleSelection)
        view.setHorizontalScrollMode(QTableView.ScrollMode.ScrollPerPixel)
        view.setVerticalScrollMode(QTableView.ScrollMode.ScrollPerPixel)
        view.verticalHeader().hide()
        view.horizontalHeader().setHighlightSections(False)
        view.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)

    # --- Sizes ------------------------------------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Measure what each column needs, then share the room."""
        for view in (self, self.staying):
            view.verticalHeader().setDefaultSectionSize(row_height(self.font()))
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
        self._place()

    def fit_height(self) -> None:
        """Rows came or went; the columns stay as they are."""
        self._share()

    def _place(self) -> None:
        """The columns that stay lie over the others where these scroll: the names, and of the pinned ones as many as leave room."""
        header, staying = self.horizontalHeader(), self.staying
        staying.setVisible(self.horizontalScrollBar().maximum() > 0)
        if staying.isHidden():
            return
        count, width = 1, header.sectionSize(0)
        while count <= self.pinned and count < header.count() and width + header.sectionSize(count) <= MOST_PINNED * self.viewport().width():
            width += header.sectionSize(count)
            count += 1
        for column in range(header.count()):
            staying.setColumnHidden(column, column >= count)
            if column < count:
                staying.setColumnWidth(column, header.sectionSize(column))
        staying.horizontalHeader().setFixedHeight(header.height())
        edge = self.frameWidth()
        staying.setGeometry(edge, edge, width + 1, header.height() + self.viewport().height())
        staying.verticalScrollBar().setValue(self.verticalScrollBar().value())
        staying.raise_()

    @property
    def covered(self) -> int:
        """Pixels at the left of the viewport that the columns which stay cover."""
        return self.staying.width() if self.staying.isVisibleTo(self) else 0

    def scrollTo(
        self, index: QModelIndex | QPersistentModelIndex, hint: QAbstractItemView.ScrollHint = QAbstractItemView.ScrollHint.EnsureVisible
    ) -> None:  # fmt: skip
        super().scrollTo(index, hint)
        hidden = self.covered - self.visualRect(index).left()
        if hidden > 0 and self.staying.isColumnHidden(index.column()):
            bar = self.horizontalScrollBar()
            bar.setValue(bar.value() - hidden)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._share()
        self._place()

    # --- Rows and sorting -------------------------------------------------------------------------------------------------------------------

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
        for header in (self.horizontalHeader(), self.staying.horizontalHeader()):
            header.setSectionsClickable(True)
            header.setSortIndicatorShown(True)
            header.setSortIndicatorClearable(True)
            header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.staying.horizontalHeader().sortIndicatorChanged.connect(self.horizontalHeader().setSortIndicator)
        self.horizontalHeader().sortIndicatorChanged.connect(self.show_sorting)

    def show_sorting(self, column: int, order: Qt.SortOrder) -> None:
        """Mark a head as the one that sorts (-1: none), without sorting."""
        for header in (self.horizontalHeader(), self.staying.horizontalHeader()):
            header.blockSignals(True)
            header.setSortIndicator(column, order)
            header.blockSignals(False)
