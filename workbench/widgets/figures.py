"""A table of figures: rows are dictionaries, columns say how a figure is written; sorted by a click on a heading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QEvent, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QStyle, QStyleOptionViewItem, QTableView

from workbench.theme import Theme
from workbench.widgets.pills import BAR, MARKED, PILL, SWATCH, PillDelegate

Index = QModelIndex | QPersistentModelIndex
ROW = 28
_LEFT, _RIGHT = (side | Qt.AlignmentFlag.AlignVCenter for side in (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight))


@dataclass(frozen=True)
class Column:
    """One column: the key of its figure in a row, how it is written, and what is painted beside the text."""

    key: str
    title: str
    tip: str = ""
    write: Callable[[Any], str] = str
    text: bool = False
    bar: bool = False
    width: int = 90
    least: int = 0
    """Pixels the table must be wide for this column to be shown."""


class FigureModel(QAbstractTableModel):
    """Rows keep their identity by the key `name`."""

    def __init__(self, columns: Sequence[Column], parent: Any = None) -> None:
        super().__init__(parent)
        self.columns = list(columns)
        self.rows: list[Mapping[str, Any]] = []
        self.swatches: Mapping[str, str] = {}
        self._sorted: tuple[int, Qt.SortOrder] | None = None

    def show_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.beginResetModel()
        self.rows = list(rows)
        if self._sorted is not None:
            self._order(*self._sorted)
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.tip or None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if column.text or column.bar else _RIGHT
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        column, row = self.columns[index.column()], self.rows[index.row()]
        value = row.get(column.key)
        if role == Qt.ItemDataRole.DisplayRole:
            return "–" if value is None else column.write(value)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if column.text or column.bar else _RIGHT
        if role == BAR:
            return value if column.bar else None
        if role == SWATCH:
            return self.swatches.get(str(row.get("name"))) if index.column() == 0 else None
        if role == PILL:
            return None
        if role == Qt.ItemDataRole.ToolTipRole and column.text:
            return str(value)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return f"{column.title}: {'not measured' if value is None else column.write(value)}"
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sorted = (column, order)
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        names = [self.rows[index.row()].get("name") for index in before]
        self._order(column, order)
        places = {row.get("name"): place for place, row in enumerate(self.rows)}
        after = [self.index(places[name], index.column()) for name, index in zip(names, before, strict=True)]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _order(self, column: int, order: Qt.SortOrder) -> None:
        """What was not measured comes last either way."""
        if not 0 <= column < len(self.columns):
            return
        key = self.columns[column].key
        # The first column puts rows back in their natural order, where they have one.
        key = "place" if column == 0 and self.rows and "place" in self.rows[0] else key
        down = order == Qt.SortOrder.DescendingOrder
        known = sorted((row for row in self.rows if row.get(key) is not None), key=lambda row: row[key], reverse=down)
        self.rows = known + [row for row in self.rows if row.get(key) is None]


class _Delegate(PillDelegate):
    """Paints the row that something else points at as if the mouse were over it."""

    pointed_at = ""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        model = index.model()
        if self.pointed_at and isinstance(model, FigureModel) and model.rows[index.row()].get("name") == self.pointed_at:
            painter.fillRect(option.rect, QColor(self.theme.sunken))
        text = str(index.data() or "")
        plain = isinstance(model, FigureModel) and model.columns[index.column()].text and index.data(SWATCH) is None
        if not plain or option.fontMetrics.horizontalAdvance(text) <= option.rect.width() - 16:
            super().paint(painter, option, index)
            return
        if option.state & MARKED and option.widget is not None:
            option.widget.style().drawPrimitive(QStyle.PrimitiveElement.PE_PanelItemViewItem, option, painter, option.widget)
        painter.setPen(QColor(self.theme.text))
        # The ends of a module's name tell more than its middle.
        shortened = option.fontMetrics.elidedText(text, Qt.TextElideMode.ElideMiddle, option.rect.width() - 16)
        painter.drawText(option.rect.adjusted(8, 0, -8, 0), _LEFT, shortened)


class FigureTable(QTableView):
    """The model in a table. `chosen(name)` when another row is selected, `pointed(name)` while the mouse is over one (empty when it left)."""

    chosen = Signal(str)
    pointed = Signal(str)

    def __init__(self, columns: Sequence[Column], theme: Theme, name: str) -> None:
        super().__init__()
        self.figures = FigureModel(columns, self)
        self.setModel(self.figures)
        self.painter_ = _Delegate(theme, self)
        self.setItemDelegate(self.painter_)
        self.setMouseTracking(True)
        self.entered.connect(lambda index: self.pointed.emit(str(self.figures.rows[index.row()].get("name"))))
        self.setAccessibleName(name)
        self.setShowGrid(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(48)
        for place, column in enumerate(columns):
            header.resizeSection(place, column.width)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
        self.setSortingEnabled(True)
        self.selectionModel().selectionChanged.connect(lambda *_: self._tell())

    @property
    def selected(self) -> str:
        rows = self.selectionModel().selectedRows()
        return str(self.figures.rows[rows[0].row()]["name"]) if rows else ""

    def show_rows(self, rows: Sequence[Mapping[str, Any]], swatches: Mapping[str, str] | None = None) -> None:
        self.figures.swatches = swatches or {}
        self.figures.show_rows(rows)

    def select(self, name: str) -> bool:
        """Select the row with this name; False where there is none."""
        place = next((place for place, row in enumerate(self.figures.rows) if row["name"] == name), None)
        if place is None:
            self.clearSelection()
            return False
        self.selectRow(place)
        return True

    def point_at(self, name: str) -> None:
        """Mark the row that is pointed at elsewhere; an empty name takes it back."""
        if name != self.painter_.pointed_at:
            self.painter_.pointed_at = name
            self.viewport().update()

    def leaveEvent(self, event: QEvent) -> None:
        self.pointed.emit("")
        super().leaveEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        for place, column in enumerate(self.figures.columns):
            self.setColumnHidden(place, event.size().width() < column.least)
        super().resizeEvent(event)

    def _tell(self) -> None:
        if self.selected:
            self.chosen.emit(self.selected)

    def fit(self, most: int = 12) -> None:
        """As tall as its rows, up to so many."""
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + min(most, max(1, len(self.figures.rows))) * ROW + 6)

    def paint_with(self, theme: Theme) -> None:
        self.painter_.theme = theme
        self.viewport().update()
