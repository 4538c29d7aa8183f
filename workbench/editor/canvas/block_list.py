"""The blocks of the catalogue in a list that is searched, and from which they are dragged onto the canvas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QEvent, QMimeData, QObject, QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPixmap
from PySide6.QtWidgets import QAbstractItemView, QLineEdit, QListView, QListWidget, QListWidgetItem, QSizePolicy, QVBoxLayout, QWidget

from workbench.editor.canvas.painting import COLOUR
from workbench.editor.canvas.view import BLOCK
from workbench.theme import Theme

QWIDGETSIZE_MAX = (1 << 24) - 1
"""No limit, as Qt says it."""
WIDTH, ROWS = 200, 4
"""Pixels of a column; rows where there are several columns."""
SLOTS = {"embedding": "Embeddings", "mixer": "Mixers", "feedforward": "Feed-forward", "head": "Heads", "model": "Whole models"}
ID, SEARCHED = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1


class _Blocks(QListWidget):
    def mimeData(self, items: Sequence[QListWidgetItem]) -> QMimeData:
        data = QMimeData()
        if items and items[0].data(ID):
            data.setData(BLOCK, str(items[0].data(ID)).encode())
            data.setText(str(items[0].data(ID)))
        return data


class BlockList(QWidget):
    """`used(id)`: a block was chosen by a double click or Enter."""

    used = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find a block")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Find a block")
        self.search.textChanged.connect(self._filter)
        self.search.installEventFilter(self)
        column.addWidget(self.search)
        self.list = _Blocks()
        self.list.setDragEnabled(True)
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.DragOnly)
        self.list.setAccessibleName("Blocks")
        self.list.setToolTip("Drag a block onto the model, or press Enter to put it where the chosen one stands")
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.itemActivated.connect(self._use)
        self.list.setResizeMode(QListView.ResizeMode.Adjust)
        column.addWidget(self.list, 1)

    def stand(self, *, in_columns: bool) -> None:
        """One column of its own height, or several in few rows."""
        line = self.list.fontMetrics().height()
        off, needed = Qt.ScrollBarPolicy.ScrollBarAlwaysOff, Qt.ScrollBarPolicy.ScrollBarAsNeeded
        self.list.setWrapping(in_columns)
        self.list.setGridSize(QSize(WIDTH, 2 * line - 4) if in_columns else QSize())
        self.list.setHorizontalScrollBarPolicy(needed if in_columns else off)
        self.list.setVerticalScrollBarPolicy(off if in_columns else needed)
        self.setMaximumWidth(QWIDGETSIZE_MAX if in_columns else WIDTH)
        self.setMinimumWidth(0 if in_columns else WIDTH)
        across, down = QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
        self.setSizePolicy(across if in_columns else down, down if in_columns else QSizePolicy.Policy.Ignored)
        rows = ROWS * (2 * line - 4) + self.list.horizontalScrollBar().sizeHint().height() + line
        self.list.setMaximumHeight(rows if in_columns else QWIDGETSIZE_MAX)

    def offer(self, entries: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """entries: of the catalogue, by slot."""
        self.list.clear()
        for slot, heading in SLOTS.items():
            if not entries.get(slot):
                continue
            top = QListWidgetItem(heading)
            top.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(top)
            for entry in sorted(entries[slot], key=lambda each: str(each["title"] or each["id"])):
                item = QListWidgetItem(str(entry["title"] or entry["id"]))
                item.setData(ID, entry["id"])
                item.setData(SEARCHED, f"{entry['id']} {entry['title']} {heading}".lower())
                item.setToolTip(str(entry["id"]))
                item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{entry['title']}, {slot}")
                self.list.addItem(item)
        self.paint_with(self._theme)
        self._filter(self.search.text())

    def paint_with(self, theme: Theme) -> None:
        """Give each block the colour of its slot."""
        self._theme = theme
        slot = ""
        for row in range(self.list.count()):
            item = self.list.item(row)
            slot = next((name for name, heading in SLOTS.items() if not item.data(ID) and heading == item.text()), slot)
            if item.data(ID):
                mark = QPixmap(5, 14)
                mark.fill(QColor(theme.curve(COLOUR[slot])))
                item.setIcon(mark)

    def _filter(self, text: str) -> None:
        words, heading = text.lower().split(), None
        for row in range(self.list.count()):
            item = self.list.item(row)
            if not item.data(ID):
                heading = item
                item.setHidden(True)
                continue
            hit = all(word in item.data(SEARCHED) for word in words)
            item.setHidden(not hit)
            if hit and heading is not None:
                heading.setHidden(False)
        shown = next((row for row in range(self.list.count()) if self.list.item(row).data(ID) and not self.list.item(row).isHidden()), -1)
        self.list.setCurrentRow(shown)
        self.list.scrollToTop()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """From the line the arrows move in the list, and Enter takes what is marked there."""
        if watched is self.search and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() in (Qt.Key.Key_Down, Qt.Key.Key_Up):
                self.list.setFocus()
                self.list.event(event)
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.list.currentItem() is not None:
                self._use(self.list.currentItem())
                return True
        return super().eventFilter(watched, event)

    def _use(self, item: QListWidgetItem) -> None:
        if item.data(ID):
            self.used.emit(str(item.data(ID)))
