"""The sections of a report as a list: tick to show, drag or Alt with an arrow to move."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QDropEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QAbstractItemView, QListWidget, QListWidgetItem, QWidget

from engines.report.design import KINDS, Section

PLACE = Qt.ItemDataRole.UserRole


class SectionList(QListWidget):
    """Tells of wishes; what is shown is set from outside, so that undoing shows too."""

    ticked = Signal(int, bool)
    arranged = Signal(list)
    moved = Signal(int, int)
    """(place, -1 up or 1 down)"""
    removed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("Sections of the report")
        self.setAccessibleDescription("Space shows or hides a section, Alt with an arrow key moves it, Delete takes a text out.")
        self.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.itemChanged.connect(self._changed)
        for keys, by in (("Alt+Up", -1), ("Alt+Down", 1)):
            shortcut = QShortcut(QKeySequence(keys), self, context=Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(lambda by=by: self.moved.emit(self.currentRow(), by))
        for key in (QKeySequence.StandardKey.Delete, QKeySequence("Backspace")):
            shortcut = QShortcut(QKeySequence(key), self, context=Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(lambda: self.removed.emit(self.currentRow()))

    def show_sections(self, sections: Sequence[Section], chosen: int, bare: Sequence[bool]) -> None:
        """bare: which of them have nothing to show in this comparison."""
        self.blockSignals(True)
        while self.count() > len(sections):
            self.takeItem(self.count() - 1)
        while self.count() < len(sections):
            item = QListWidgetItem()
            flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsDragEnabled
            item.setFlags(flags)
            item.setSizeHint(QSize(10, 32))
            self.addItem(item)
        for place, section in enumerate(sections):
            item = self.item(place)
            item.setText(name_of(section))
            item.setCheckState(Qt.CheckState.Checked if section.shown else Qt.CheckState.Unchecked)
            nothing = place < len(bare) and bare[place]
            font = item.font()
            font.setItalic(nothing)
            item.setFont(font)
            empty = "\nThis comparison has nothing for it, so it is left out." if nothing else ""
            item.setToolTip(f"{KINDS[section.kind].shows}.{empty}")
            item.setData(PLACE, place)
        self.setCurrentRow(chosen)
        self.blockSignals(False)

    def dropEvent(self, event: QDropEvent) -> None:
        super().dropEvent(event)
        order = [int(self.item(row).data(PLACE)) for row in range(self.count())]
        # What was dropped is chosen first, so that it is still the chosen one at its new place.
        if sorted(order) == list(range(len(order))):
            self.arranged.emit(order)

    def _changed(self, item: QListWidgetItem) -> None:
        self.ticked.emit(self.row(item), item.checkState() == Qt.CheckState.Checked)


def name_of(section: Section) -> str:
    """A section in one line: its heading, else the beginning of its text."""
    if section.kind == "text":
        words = " ".join((section.title or section.text).split()).lstrip("#*->| ")
        return f"Text: {words[:80]}" if words else "Text (empty)"
    return section.heading
