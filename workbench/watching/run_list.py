"""The table of runs as it is seen: sorted by a click on a head, as tall as its rows, a run found and selected by its number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QModelIndex, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QTableView, QWidget

from workbench.theme import Theme
from workbench.watching.run_columns import DEVICE, HOST, LOSS, PROGRESS, RATE, SEED, STATE, TIME, VARIANT
from workbench.watching.run_table import RunTable
from workbench.widgets.pills import PillDelegate

if TYPE_CHECKING:
    from engines.store.rows import RunRow

ROW = 32
SQUARE = 28
"""Pixels from the left of a row that belong to the coloured square."""
WIDTHS = {SEED: 56, STATE: 112, PROGRESS: 150, LOSS: 76, RATE: 84, HOST: 76, DEVICE: 76, TIME: 118}


class RunList(QTableView):
    """`selected` tells the runs; `chosen` when that changes."""

    chosen = Signal()
    sorted = Signal()
    """By another column, or the other way round."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.runs = RunTable(self)
        self.setModel(self.runs)
        self._delegate = PillDelegate(theme, self)
        self.setItemDelegate(self._delegate)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Runs of the experiment")
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(VARIANT, QHeaderView.ResizeMode.Stretch)
        self._fit_columns()
        header.setSortIndicatorClearable(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        header.sortIndicatorChanged.connect(lambda *_: self.sorted.emit())
        self.clicked.connect(self._clicked)
        self.selectionModel().selectionChanged.connect(lambda *_: self.chosen.emit())
        self.runs.rearranged.connect(self._limit)

    @property
    def selected(self) -> list[RunRow]:
        return [self.runs.at(index.row()) for index in self.selectionModel().selectedRows()]

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit_columns()

    def _fit_columns(self) -> None:
        """As wide as their figures, and in large text as their headings."""
        for column, width in WIDTHS.items():
            self.setColumnWidth(column, max(width, self.horizontalHeader().sectionSizeHint(column)))

    def select_run(self, run_id: int) -> bool:
        """Select a run; False where the table does not show it."""
        row = self.runs.row_of(run_id)
        if row is not None:
            self.selectRow(row)
        return row is not None

    def fit(self, most: int) -> int:
        """Limit it to its rows; returns the height for so many of them, in pixels."""
        self._limit()
        return min(most, max(1, self.runs.rowCount())) * ROW + self._around

    @property
    def _around(self) -> int:
        return self.horizontalHeader().height() + 6

    def _limit(self) -> None:
        rows = max(1, self.runs.rowCount())
        self.setMinimumHeight(min(rows, 3) * ROW + self._around)
        self.setMaximumHeight(rows * ROW + self._around)

    def _clicked(self, index: QModelIndex) -> None:
        """A click on the coloured square hides or shows the run's curves, with Alt it shows them alone."""
        x = self.viewport().mapFromGlobal(self.cursor().pos()).x() - self.visualRect(index).left()
        if index.column() == VARIANT and x < SQUARE:
            alone = bool(QApplication.keyboardModifiers() & Qt.KeyboardModifier.AltModifier)
            self.runs.solo((self.runs.at(index.row()).id,)) if alone else self.runs.toggle(index.row())

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._delegate.theme = theme
        self.viewport().update()
