"""One of the two tables side by side that a table of figures is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QAbstractItemModel, QCoreApplication, QItemSelectionModel, QPoint, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QKeyEvent, QWheelEvent
from PySide6.QtWidgets import QFrame, QHeaderView, QScrollBar, QTableView

from workbench.comparing.verdict_cells import VerdictCells
from workbench.theme import Theme

if TYPE_CHECKING:
    from workbench.comparing.figure_table import FigureTable


class TableHalf(QTableView):
    """Shows some columns of the model; keys and the menu are the whole table's.

    sideways: the scroll bar that a wheel moves when it is turned sideways, where that is not its own.
    """

    menu_asked = Signal(int, QPoint)
    """The menu of a column, at this place of the screen."""

    def __init__(self, whole: FigureTable, model: QAbstractItemModel, selection: QItemSelectionModel, theme: Theme, name: str) -> None:
        super().__init__(whole)
        self._whole = whole
        self.sideways: QScrollBar | None = None
        self.cells = VerdictCells(theme, self)
        self.setModel(model)
        own = self.selectionModel()
        self.setSelectionModel(selection)
        own.deleteLater()
        self.setItemDelegate(self.cells)
        self.setAccessibleName(name)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QTableView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QTableView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollMode(QTableView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._menu_of_head)

    def _menu_of_head(self, place: QPoint) -> None:
        header = self.horizontalHeader()
        if (column := header.logicalIndexAt(place)) >= 0:
            self.menu_asked.emit(column, header.mapToGlobal(place))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not self._whole.takes_key(event):
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        index = self.currentIndex()
        if event.reason() == QContextMenuEvent.Reason.Keyboard and index.isValid():
            self.menu_asked.emit(index.column(), self.viewport().mapToGlobal(self.visualRect(index).bottomLeft()))

    def wheelEvent(self, event: QWheelEvent) -> None:
        turned = event.angleDelta()
        if self.sideways is not None and abs(turned.x()) > abs(turned.y()):
            QCoreApplication.sendEvent(self.sideways, event)
        else:
            super().wheelEvent(event)
