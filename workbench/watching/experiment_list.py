"""The stored experiments as a list: newest first, with what is going on in each; a search narrows it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from engines.store.rows import ARCHIVED, STARRED
from workbench.widgets.text import label, left_to_right

if TYPE_CHECKING:
    from engines.store.rows import ExperimentRow, RunRow

ID = Qt.ItemDataRole.UserRole
NO_TAGS: Mapping[int, Sequence[str]] = MappingProxyType({})


class ExperimentList(QWidget):
    """`chosen(id)` when another experiment is selected."""

    chosen = Signal(int)
    menu = Signal(int, QPoint)
    """The menu of an experiment is asked for, by the right button or the menu key, at this place of the screen."""

    def __init__(self, heading: str = "Experiments", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 14, 12, 12)
        column.setSpacing(8)
        column.addWidget(label(heading, "heading"))
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search experiments")
        self.search.textChanged.connect(self._filter)
        column.addWidget(self.search)
        self.list = QListWidget()
        self.list.setProperty("flat", True)
        self.list.setAccessibleName("Stored experiments")
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setSpacing(1)
        self.list.currentItemChanged.connect(self._chosen)
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._offer)
        column.addWidget(self.list, 1)
        self.archived = QCheckBox("Archived ones too")
        self.archived.hide()
        self.archived.toggled.connect(lambda _on: self.show_experiments(*self._given, self.tags))
        column.addWidget(self.archived)
        self.tags: Mapping[int, Sequence[str]] = NO_TAGS
        self._given: tuple[Sequence[ExperimentRow], Sequence[RunRow]] = ((), ())
        self._shown: list[tuple[int, str]] = []
        self.setMinimumWidth(200)

    def _offer(self, place: QPoint) -> None:
        item = self.list.itemAt(place) or self.list.currentItem()
        if item is not None:
            self.list.setCurrentItem(item)
            self.menu.emit(item.data(ID), self.list.viewport().mapToGlobal(place))

    def _chosen(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            self.chosen.emit(item.data(ID))

    def sizeHint(self) -> QSize:
        return QSize(240, 400)

    @property
    def current(self) -> int | None:
        item = self.list.currentItem()
        return item.data(ID) if item is not None else None

    def show_experiments(self, experiments: Sequence[ExperimentRow], active: Sequence[RunRow], tags: Mapping[int, Sequence[str]] = NO_TAGS) -> None:
        """Draw the list again where something differs; the selection stays. Starred ones come first, archived ones only where they are asked for."""
        self.tags = tags
        self._given = (experiments, active)
        archived = {number for number, names in tags.items() if ARCHIVED in names}
        self.archived.setVisible(bool(archived))
        busy = Counter(run.experiment_id for run in active)
        running = {run.experiment_id for run in active if run.status != "queued"}
        lines = []
        for row in sorted(experiments, key=lambda row: (STARRED in tags.get(row.id, ()), row.id), reverse=True):
            if row.id in archived and not self.archived.isChecked():
                continue
            state = f"● running, {busy[row.id]} to go" if row.id in running else f"○ {busy[row.id]} queued" if row.id in busy else ago(row.created)
            star = f"{STARRED} " if STARRED in tags.get(row.id, ()) else ""
            told = " · ".join([f"#{row.id}", state, *(name for name in tags.get(row.id, ()) if name != STARRED)])
            lines.append((row.id, f"{star}{row.name}\n{left_to_right(told)}"))
        if lines == self._shown:
            return
        kept = self.current
        same = [number for number, _ in lines] == [number for number, _ in self._shown]
        self._shown = lines
        if same:
            for place, (_number, text) in enumerate(lines):
                if self.list.item(place).text() != text:
                    self.list.item(place).setText(text)
            return
        self.list.blockSignals(True)
        self.list.clear()
        for number, text in lines:
            item = QListWidgetItem(text)
            item.setData(ID, number)
            item.setToolTip(text.split("\n")[0])
            self.list.addItem(item)
        self.list.blockSignals(False)
        self._filter(self.search.text())
        if kept is not None:
            self.select(kept, quietly=True)

    def select(self, experiment_id: int, *, quietly: bool = False) -> bool:
        """Select an experiment; False where the list does not hold it (yet)."""
        for place in range(self.list.count()):
            if self.list.item(place).data(ID) == experiment_id:
                self.list.blockSignals(quietly)
                self.list.setCurrentRow(place)
                self.list.blockSignals(False)
                return True
        return False

    def _filter(self, text: str) -> None:
        words = text.lower().split()
        for place in range(self.list.count()):
            item = self.list.item(place)
            item.setHidden(not all(word in item.text().lower() for word in words))


def ago(then: float) -> str:
    """How long ago, in words; the date after a week."""
    seconds = max(0.0, time.time() - then)
    if seconds < 90:
        return "just now"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min ago"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.0f} h ago"
    if seconds < 7 * 86400:
        return f"{seconds / 86400:.0f} days ago"
    return time.strftime("%Y-%m-%d", time.localtime(then))
