"""A table of figures that fills its width: no figure is cut, what room is left is shared, and where there is none it scrolls beside its names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PySide6.QtCore import QAbstractItemModel, QItemSelectionModel, QModelIndex, QPersistentModelIndex, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHeaderView, QSizePolicy, QWidget

from workbench.comparing.table_half import TableHalf
from workbench.comparing.verdict_cells import row_height
from workbench.theme import Theme

Index = QModelIndex | QPersistentModelIndex
NARROW = 170
"""Pixels for the names where the figures do not all fit beside them."""
TALLEST = 620
"""Pixels that rows and heads may take before they scroll."""
FRAME = 1
EDGE = 1
"""Pixels of the line at the right of the columns that stay."""
MOST_STAYING = 0.6
"""Share of the width that columns which stay may take: beyond it there would be no room to scroll the others in."""
ROW = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows


class Shares(NamedTuple):
    """How columns share a width: pixels of each, how many at the left stay, whether the others scroll."""

    widths: list[int]
    staying: int
    scrolls: bool


def share(needed: Sequence[int], pinned: int, room: int, *, as_needed: bool = False) -> Shares:
    """Give each column what it needs and a share of what is left; as_needed: nothing more and nothing less.

    The names stay and as many of the pinned columns behind them as leave room for the others; all of these where nothing scrolls.
    """
    widths = list(needed)
    if sum(widths) > room and not as_needed:
        widths[0] = min(NARROW, widths[0])
    scrolls = sum(widths) > room
    if scrolls:
        widths[0] = min(widths[0], max(NARROW, int(MOST_STAYING * room)))
    elif not as_needed:
        spare, rest = divmod(room - sum(widths), len(widths))
        widths = [width + spare + (rest if column == 0 else 0) for column, width in enumerate(widths)]
    staying, most = 1, MOST_STAYING * room if scrolls else room
    while staying <= pinned and staying < len(widths) and sum(widths[: staying + 1]) <= most:
        staying += 1
    return Shares(widths, staying, scrolls)


class FigureTable(QFrame):
    """One row a variant, two lines a cell; `fit` after the model changed. It is as tall as its rows need in the width that it is given.

    Two tables stand side by side, of one model and one selection: in the left one, columns stay, those in the right one scroll. Neither of them ever
    sizes this widget: it places them, from its own size alone. pinned: how many columns behind the names stay with them.
    """

    sort_asked = Signal(int, Qt.SortOrder)
    """A head was clicked (-1: back to the order of the model)."""
    menu_asked = Signal(int, QPoint)
    """The menu of a column, at this place of the screen."""

    def __init__(self, model: QAbstractItemModel, theme: Theme, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("figures")
        self.setAccessibleName(name)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.pinned = 0
        self.selection = QItemSelectionModel(model, self)
        self.staying = TableHalf(self, model, self.selection, theme, f"{name}: columns that stay in sight")
        self.scrolling = TableHalf(self, model, self.selection, theme, f"{name}: columns that scroll")
        self.edge = QFrame(self)
        self.edge.setObjectName("edge")
        self._model = model
        self._needed: list[int] = []
        self._as_needed = False
        self._shares = Shares([], 1, False)
        self._arranging = False
        self._heads = 0
        for half, other in ((self.staying, self.scrolling), (self.scrolling, self.staying)):
            half.verticalScrollBar().valueChanged.connect(other.verticalScrollBar().setValue)
            half.horizontalHeader().sectionResized.connect(self._dragged)
            half.menu_asked.connect(self.menu_asked)
        self.staying.sideways = self.scrolling.horizontalScrollBar()
        self.selection.currentChanged.connect(lambda current, _before: self._follow(current))
        self._follow(QModelIndex())

    @property
    def halves(self) -> tuple[TableHalf, TableHalf]:
        return self.staying, self.scrolling

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme; `fit` follows."""
        for half in self.halves:
            half.cells.theme = theme

    # --- Sizes ------------------------------------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Measure what each column needs, then share the room."""
        self._arranging = True
        for half in self.halves:
            half.verticalHeader().setDefaultSectionSize(row_height(self.font()))
        for column in range(self._model.columnCount()):
            self.scrolling.setColumnHidden(column, False)
        self.scrolling.resizeColumnsToContents()
        header = self.scrolling.horizontalHeader()
        self._needed = [header.sectionSize(column) for column in range(header.count())]
        self._as_needed = False
        self._heads = header.sizeHint().height()
        for half in self.halves:
            half.horizontalHeader().setFixedHeight(self._heads)
        self._arranging = False
        self.fit_height()

    def fit_height(self) -> None:
        """Rows came or went; the columns stay as they are."""
        self._arrange()
        self.updateGeometry()

    def _rows(self) -> int:
        """Pixels of heads and rows."""
        return self._heads + self._model.rowCount() * row_height(self.font())

    def _shared(self, width: int) -> Shares:
        """The columns in a width of this widget."""
        bar = self.scrolling.verticalScrollBar().sizeHint().width() if self._rows() > TALLEST else 0
        return share(self._needed, self.pinned, width - 2 * FRAME - bar, as_needed=self._as_needed)

    def heightForWidth(self, width: int) -> int:
        bar = self.scrolling.horizontalScrollBar().sizeHint().height() if self._needed and self._shared(width).scrolls else 0
        return min(TALLEST, self._rows()) + bar + 2 * FRAME

    def sizeHint(self) -> QSize:
        return QSize(2 * NARROW, min(TALLEST, self._rows()) + 2 * FRAME)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        """Put each column into its half, and the halves side by side."""
        if not self._needed or self._arranging:
            return
        self._arranging = True
        self._shares = widths, staying, scrolls = self._shared(self.width())
        left, right = self.halves
        for column, width in enumerate(widths):
            own, other = (left, right) if column < staying else (right, left)
            other.setColumnHidden(column, True)
            own.setColumnHidden(column, False)
            own.setColumnWidth(column, width)
        right.setHorizontalScrollBarPolicy(_policy(scrolls))
        right.setVerticalScrollBarPolicy(_policy(self._rows() > TALLEST))
        inside = self.rect().adjusted(FRAME, FRAME, -FRAME, -FRAME)
        room, tall = sum(widths[:staying]), inside.height() - (right.horizontalScrollBar().sizeHint().height() if scrolls else 0)
        left.setGeometry(inside.left(), inside.top(), room, tall)
        self.edge.setGeometry(inside.left() + room, inside.top(), EDGE, tall)
        self.edge.setVisible(scrolls)
        room += EDGE if scrolls else 0
        right.setGeometry(inside.left() + room, inside.top(), max(0, inside.width() - room), inside.height())
        self._arranging = False
        self._follow(self.selection.currentIndex())

    def _dragged(self, column: int, _before: int, width: int) -> None:
        """A person made a column wider or narrower: from here on, and until the next `fit`, columns are as wide as they are."""
        if self._arranging or not width:
            return
        if not self._as_needed:
            self._needed, self._as_needed = list(self._shares.widths), True
        self._needed[column] = width
        self.fit_height()

    # --- One table out of two ---------------------------------------------------------------------------------------------------------------

    def _follow(self, current: Index) -> None:
        """The half with the current cell is the one that Tab reaches, and has the keyboard where either has it."""
        holding, other = self.halves if not current.isValid() or current.column() < self._shares.staying else reversed(self.halves)
        holding.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        if other.hasFocus():
            holding.setFocus(Qt.FocusReason.OtherFocusReason)
        other.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setFocusProxy(holding)

    def takes_key(self, event: QKeyEvent) -> bool:
        """Whether a key that was pressed in either half leads across the whole table; then it is done. Others the half deals with by itself."""
        current, last, far = self.selection.currentIndex(), self._model.columnCount() - 1, event.modifiers() & Qt.KeyboardModifier.ControlModifier
        row, column = current.row(), current.column()
        places = {
            Qt.Key.Key_Left: (row, max(0, column - 1)),
            Qt.Key.Key_Right: (row, min(last, column + 1)),
            Qt.Key.Key_Home: (0 if far else row, 0),
            Qt.Key.Key_End: (self._model.rowCount() - 1 if far else row, last),
        }
        if not current.isValid() or event.key() not in places:
            return False
        self.go(self._model.index(*places[Qt.Key(event.key())]))
        return True

    # --- Rows and sorting -------------------------------------------------------------------------------------------------------------------

    def go(self, index: Index) -> None:
        """Make a cell the current one and select its row."""
        self.selection.setCurrentIndex(index, ROW)

    def selected_row(self) -> int:
        """The row that is selected; -1 for none."""
        rows = self.selection.selectedRows()
        return rows[0].row() if rows else -1

    def show_row(self, row: int) -> None:
        """Select a row, or none (-1)."""
        if row != self.selected_row():
            if row < 0:
                self.selection.clearSelection()
            else:
                self.go(self._model.index(row, max(0, self.selection.currentIndex().column())))

    @property
    def sorting(self) -> tuple[int, Qt.SortOrder]:
        """The column whose head is marked as the one that sorts, -1 for none."""
        header = self.staying.horizontalHeader()
        return header.sortIndicatorSection(), header.sortIndicatorOrder()

    def sort_by_heads(self) -> None:
        """Let a click on a head ask for sorting: once up, once down, once back to the order of the model."""
        for half in self.halves:
            header = half.horizontalHeader()
            header.setSectionsClickable(True)
            header.setSortIndicatorShown(True)
            header.setSortIndicatorClearable(True)
            header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
            header.sortIndicatorChanged.connect(self.sort_by)

    def sort_by(self, column: int, order: Qt.SortOrder) -> None:
        """As if its head had been clicked."""
        self.show_sorting(column, order)
        self.sort_asked.emit(column, order)

    def show_sorting(self, column: int, order: Qt.SortOrder) -> None:
        """Mark a head as the one that sorts (-1: none), without sorting."""
        for half in self.halves:
            header: QHeaderView = half.horizontalHeader()
            header.blockSignals(True)
            header.setSortIndicator(column, order)
            header.blockSignals(False)


def _policy(shown: bool) -> Qt.ScrollBarPolicy:
    return Qt.ScrollBarPolicy.ScrollBarAlwaysOn if shown else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
