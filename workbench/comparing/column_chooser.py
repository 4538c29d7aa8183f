"""Which figures a table shows and which of them stay in sight: a list with two boxes a figure, found by a few letters, all from the keyboard."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from PySide6.QtCore import QEvent, QObject, QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QHeaderView, QLineEdit, QPushButton, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from engines.report import labels

KEY = Qt.ItemDataRole.UserRole
SIZE = (400, 420)


class ColumnChooser(QFrame):
    """Opens over the window and goes away with a click beside it or Escape. What it shows is set anew after each choice."""

    shown = Signal(str, bool)
    """Show this figure, or leave it out."""
    pinned = Signal(str, bool)
    """Keep this figure in sight, or let it scroll."""
    standing = Signal(bool)
    """Give up single choices: all figures, or those that judge."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("chooser")
        self.setAccessibleName("Figures of the table")
        self.resize(*SIZE)
        self._keys: list[str] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 12, 12, 12)
        column.setSpacing(8)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find a figure")
        self.search.setAccessibleName("Find a figure")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._narrow)
        self.search.installEventFilter(self)
        column.addWidget(self.search)
        self.table = QTableWidget(0, 2)
        self.table.setAccessibleName("Figures: shown, pinned")
        self.table.setHorizontalHeaderLabels(["Figure", "Pinned"])
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.setTabKeyNavigation(False)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.table.itemChanged.connect(self._changed)
        column.addWidget(self.table, 1)
        row = QHBoxLayout()
        self.judging, self.all = QPushButton("Those that judge"), QPushButton("All")
        self.judging.setToolTip("Show the figures that the experiment is judged by, none pinned")
        self.all.setToolTip("Show everything that was measured, nothing pinned")
        self.judging.clicked.connect(lambda: self.standing.emit(False))
        self.all.clicked.connect(lambda: self.standing.emit(True))
        for button in (self.judging, self.all):
            row.addWidget(button)
        row.addStretch(1)
        column.addLayout(row)

    def open_at(self, place: QPoint) -> None:
        """Show it with this place of the screen as its upper right corner."""
        self.move(place.x() - self.width(), place.y())
        self.search.clear()
        self.show()
        self.search.setFocus()

    def show_keys(self, keys: Sequence[str], shown: Collection[str], pinned: Collection[str]) -> None:
        """All figures there are, those that are shown, those that are pinned."""
        table = self.table
        table.blockSignals(True)
        if list(keys) != self._keys:
            self._keys = list(keys)
            table.setRowCount(len(keys))
            for row, key in enumerate(keys):
                for place in (0, 1):
                    item = QTableWidgetItem(labels.name(key) if place == 0 else "")
                    item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable)
                    item.setData(KEY, key)
                    item.setToolTip(key if place == 0 else "Stays at the left while the others scroll")
                    table.setItem(row, place, item)
        for row, key in enumerate(keys):
            for place, on, word in ((0, key in shown, "shown"), (1, key in pinned, "pinned")):
                box = table.item(row, place)
                assert box is not None  # Made above.
                box.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
                box.setData(Qt.ItemDataRole.AccessibleTextRole, f"{labels.name(key)}, {'' if on else 'not '}{word}")
        table.blockSignals(False)
        table.viewport().update()
        self._narrow(self.search.text())

    def _changed(self, item: QTableWidgetItem) -> None:
        signal = self.shown if item.column() == 0 else self.pinned
        signal.emit(str(item.data(KEY)), item.checkState() == Qt.CheckState.Checked)

    def _narrow(self, text: str) -> None:
        words = text.casefold().split()
        for row, key in enumerate(self._keys):
            about = f"{labels.name(key)} {key}".casefold()
            self.table.setRowHidden(row, not all(word in about for word in words))

    # --- Keys -------------------------------------------------------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Down leads from the search into the list, to the first figure that is found."""
        if watched is self.search and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Down:
            first = next((row for row in range(self.table.rowCount()) if not self.table.isRowHidden(row)), -1)
            if first >= 0:
                self.table.setFocus()
                self.table.setCurrentCell(first, 0)
            return True
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)
