"""A table of variants whose cells are written in and whose columns are added, copied, renamed and removed, by mouse and keyboard."""

from __future__ import annotations

from PySide6.QtCore import QAbstractItemModel, QEvent, QModelIndex, QPersistentModelIndex, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QContextMenuEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLineEdit, QStyledItemDelegate, QStyleOptionViewItem, QTableWidget, QWidget

ACTS = {
    "add": ("plus", "Add a variant", "Ins"),
    "duplicate": ("duplicate", "Duplicate this variant", "Ctrl+D"),
    "rename": ("edit", "Rename this variant", "Shift+F2"),
    "remove": ("trash", "Remove this variant", "Ctrl+Del"),
}
"""What can be done with a column: icon, words and keys."""
WIDEST_KEY = 240
"""Pixels of the names of settings at most; of longer ones the end is seen, and all of it in the tip of a cell."""
WIDEST = 260
"""Pixels of a column at most, where the table is not wide enough for more."""
_KEYS = {
    (Qt.Key.Key_Insert, Qt.KeyboardModifier.NoModifier): "add",
    (Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier): "duplicate",
    (Qt.Key.Key_F2, Qt.KeyboardModifier.ShiftModifier): "rename",
    (Qt.Key.Key_Delete, Qt.KeyboardModifier.ControlModifier): "remove",
}
_Index = QModelIndex | QPersistentModelIndex


class _Writing(QStyledItemDelegate):
    """Lets a value be written as the file says it, not as the cell shows it. `written(row, column, text)` comes when the cell is closed: what
    it changes may take the table away."""

    written = Signal(int, int, str)

    def createEditor(self, parent: QWidget, option: QStyleOptionViewItem, index: _Index) -> QWidget:
        line = QLineEdit(parent)
        line.setAccessibleName(f"Value of {index.model().headerData(index.row(), Qt.Orientation.Vertical)}")
        return line

    def setEditorData(self, editor: QWidget, index: _Index) -> None:
        if isinstance(editor, QLineEdit):
            editor.setText(str(index.data(Qt.ItemDataRole.UserRole) or ""))
            editor.selectAll()

    def setModelData(self, editor: QWidget, model: QAbstractItemModel, index: _Index) -> None:
        if isinstance(editor, QLineEdit):
            row, column, text = index.row(), index.column(), editor.text()
            QTimer.singleShot(0, self, lambda: self.written.emit(row, column, text))


class VariantTable(QTableWidget):
    """opened(row, column): its form is wanted. written(row, column, text): a cell was written in. acted(word): one of ACTS for the column of the
    cursor. renamed(column, name). closed: nothing is written in any more. menu_wanted: at a point of the screen."""

    opened = Signal(int, int)
    written = Signal(int, int, str)
    acted = Signal(str)
    renamed = Signal(int, str)
    closed = Signal()
    menu_wanted = Signal(QPoint)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        trigger = QAbstractItemView.EditTrigger
        self.setEditTriggers(trigger.DoubleClicked | trigger.EditKeyPressed | trigger.AnyKeyPressed)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setAlternatingRowColors(True)
        self.setWordWrap(False)
        writing = _Writing(self)
        writing.written.connect(self.written)
        writing.closeEditor.connect(lambda *_: QTimer.singleShot(0, self, self.closed.emit))
        self.setItemDelegate(writing)
        self.verticalHeader().setMaximumWidth(WIDEST_KEY)
        self.verticalHeader().setTextElideMode(Qt.TextElideMode.ElideLeft)
        self.verticalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header = self.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setHighlightSections(True)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._header_menu)
        header.sectionClicked.connect(self.go_to_column)
        header.sectionDoubleClicked.connect(lambda number: self._rename_there(number))
        self.cellDoubleClicked.connect(self._double_clicked)
        self._column = 0
        self._renaming: int | None = None
        self._line = QLineEdit(header.viewport())
        self._line.setAccessibleName("Name of the variant")
        self._line.hide()
        self._line.editingFinished.connect(self._finish_rename)

    def fit_columns(self) -> None:
        """As wide as what stands in them, up to an even share of the room there is."""
        self.resizeColumnsToContents()
        widest = max(WIDEST, self.viewport().width() // max(1, self.columnCount()))
        for column in range(self.columnCount()):
            self.setColumnWidth(column, min(widest, self.columnWidth(column) + 16))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit_columns()

    @property
    def writing(self) -> bool:
        """Whether a cell or a name is being written in."""
        return self.state() == QAbstractItemView.State.EditingState or self._renaming is not None

    @property
    def at_column(self) -> int:
        """Where the cursor stands; where there are no rows, the column that was clicked."""
        column = self.currentColumn() if self.currentColumn() >= 0 else self._column
        return max(0, min(column, self.columnCount() - 1))

    def go_to(self, row: int, column: int) -> None:
        self._column = column
        if self.rowCount():
            self.setCurrentCell(min(row, self.rowCount() - 1), max(0, min(column, self.columnCount() - 1)))

    def go_to_column(self, column: int) -> None:
        self.go_to(max(0, self.currentRow()), column)

    def start_rename(self, column: int, name: str) -> None:
        """Write a name over that of a column."""
        header = self.horizontalHeader()
        if self.rowCount():
            self.scrollTo(self.model().index(max(0, self.currentRow()), column))
        width = max(120, header.sectionSize(column))
        self._line.setGeometry(header.sectionViewportPosition(column), 0, width, header.height())
        self._line.setText(name)
        self._line.selectAll()
        self._line.show()
        self._line.setFocus()
        self._renaming = column

    def _rename_there(self, column: int) -> None:
        self.go_to_column(column)
        self.acted.emit("rename")

    def _finish_rename(self, *, keep: bool = True) -> None:
        column, name = self._renaming, self._line.text().strip()
        if column is None:
            return
        self._renaming = None
        self._line.hide()
        self.setFocus()
        if keep and name:
            self.renamed.emit(column, name)
        self.closed.emit()

    def _double_clicked(self, row: int, column: int) -> None:
        item = self.item(row, column)
        if item is not None and not item.flags() & Qt.ItemFlag.ItemIsEditable:
            self.opened.emit(row, column)

    def _header_menu(self, at: QPoint) -> None:
        self.go_to_column(max(0, self.horizontalHeader().logicalIndexAt(at)))
        self.menu_wanted.emit(self.horizontalHeader().viewport().mapToGlobal(at))

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu_wanted.emit(event.globalPos())

    def event(self, event: QEvent) -> bool:
        """Keys that mean something here are not those of the menus while this has the focus."""
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            pressed = Qt.Key(event.key()), event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
            if pressed in {*_KEYS, (Qt.Key.Key_F2, Qt.KeyboardModifier.NoModifier)}:
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        word = _KEYS.get((key, modifiers))
        if key == Qt.Key.Key_Escape and self._renaming is not None:
            self._finish_rename(keep=False)
        elif word is not None and self.columnCount():
            self.acted.emit(word)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and modifiers == Qt.KeyboardModifier.NoModifier and not self.writing:
            if self.currentRow() >= 0:
                self.opened.emit(self.currentRow(), self.at_column)
        elif key == Qt.Key.Key_Delete and modifiers == Qt.KeyboardModifier.NoModifier and self.currentItem() is not None:
            if self.currentItem().flags() & Qt.ItemFlag.ItemIsEditable:
                self.written.emit(self.currentRow(), self.at_column, "")
        else:
            super().keyPressEvent(event)
