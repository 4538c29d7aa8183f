"""What the start page is made of: a card for each example, and the list of recent experiments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QListWidget, QListWidgetItem, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from workbench.gallery import Example
from workbench.watching.experiment_list import ago
from workbench.widgets.text import label, left_to_right

if TYPE_CHECKING:
    from engines.store.rows import ExperimentRow, RunRow

ID = Qt.ItemDataRole.UserRole


class ExampleCard(QFrame):
    """opened(path, run): the person wants to see the example, or to run it at once."""

    opened = Signal(str, bool)

    def __init__(self, example: Example, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.example = example
        self.setProperty("block", True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(example.title)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 8)
        column.setSpacing(5)
        column.addWidget(label(example.title, "strong", wrap=True))
        column.addWidget(label(example.about, "caption", wrap=True))
        column.addStretch(1)
        self._needs = label("", "error", wrap=True)
        column.addWidget(self._needs)
        row = QHBoxLayout()
        row.setSpacing(2)
        row.addWidget(label(example.takes, "caption", wrap=True), 1)
        self.open, self.run = QPushButton("Open"), QPushButton("Run")
        for button, tip, run in ((self.open, "Open a copy in the editor", False), (self.run, "Open a copy and start its runs", True)):
            button.setProperty("quiet", True)
            button.setToolTip(tip)
            button.setAccessibleName(f"{button.text()}: {example.title}")
            button.clicked.connect(lambda _checked=False, run=run: self.opened.emit(str(example.path), run))
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignBottom)
        column.addLayout(row)
        self.show_missing("")

    def show_missing(self, reason: str) -> None:
        """What stands in the way of running it here; it can be opened all the same."""
        file = self.example.wants_file
        self._needs.setText(reason or (f"Wants a file of yours in place of {file}." if file else ""))
        self._needs.setVisible(bool(self._needs.text()))
        self.run.setEnabled(not self._needs.text())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.opened.emit(str(self.example.path), False)
        super().mouseReleaseEvent(event)


class RecentList(QListWidget):
    """chosen(id): an experiment whose runs are wanted. A click or Enter chooses."""

    SHOWN = 30
    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("flat", True)
        self.setAccessibleName("Recent experiments")
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSpacing(1)
        self.itemActivated.connect(self._choose)
        self.itemClicked.connect(self._choose)
        self._lines: list[tuple[int, str]] | None = None
        self.show_rows(([], []))

    def show_rows(self, rows: tuple[Sequence[ExperimentRow], Sequence[RunRow]]) -> None:
        """Experiments, oldest first, and the runs that are queued or at work."""
        experiments, active = rows
        busy = Counter(run.experiment_id for run in active)
        lines = []
        for row in reversed(experiments):
            told = f"#{row.id} · {f'{busy[row.id]} runs to go' if busy[row.id] else ago(row.created)}"
            lines.append((row.id, f"{row.name}\n{left_to_right(told)}"))
        if lines == self._lines:
            return
        self._lines = lines
        self.clear()
        for number, text in lines:
            item = QListWidgetItem(text, self)
            item.setData(ID, number)
            item.setToolTip(text.partition("\n")[0])
        if not lines:
            QListWidgetItem("What you run will be listed here.", self).setFlags(Qt.ItemFlag.NoItemFlags)

    def _choose(self, item: QListWidgetItem) -> None:
        if item.data(ID) is not None:
            self.chosen.emit(item.data(ID))
