"""The studies of the catalogue as a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QBrush, QColor
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from workbench.theme import Theme
from workbench.widgets.text import label

ID = Qt.ItemDataRole.UserRole


class StudyList(QWidget):
    """`chosen(plugin id)` when another study is selected."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 14, 12, 12)
        column.setSpacing(8)
        column.addWidget(label("Studies", "heading"))
        self.list = QListWidget()
        self.list.setProperty("flat", True)
        self.list.setAccessibleName("Studies of the catalogue")
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setSpacing(1)
        self.list.currentItemChanged.connect(lambda item: self.chosen.emit(item.data(ID)) if item is not None else None)
        column.addWidget(self.list, 1)
        self.setMinimumWidth(200)

    def fill(self, plugins: Mapping[str, Mapping[str, Any]], theme: Theme, kept: str) -> int:
        """Offer the studies among the plugins; `kept` stays selected, else the first is. Returns how many there are."""
        studies = {plugin_id: entry for plugin_id, entry in plugins.items() if entry["kind"] == "study" and not entry.get("error")}
        self.list.blockSignals(True)
        self.list.clear()
        for plugin_id, entry in studies.items():
            item = QListWidgetItem(str(entry["title"]))
            item.setData(ID, plugin_id)
            available = entry["available"]
            item.setToolTip(plugin_id if available["ok"] else f"{plugin_id}: not available here. {available['reason']}")
            item.setForeground(QBrush(QColor(theme.text if available["ok"] else theme.muted)))
            self.list.addItem(item)
        self.list.blockSignals(False)
        if studies:
            self.list.setCurrentRow(list(studies).index(kept) if kept in studies else 0)
        return len(studies)

    def select(self, plugin_id: str) -> None:
        """Choose a study; one that is not in the list changes nothing."""
        for place in range(self.list.count()):
            if self.list.item(place).data(ID) == plugin_id:
                self.list.setCurrentRow(place)
