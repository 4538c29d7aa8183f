"""The queue of the store: what is at work and what comes next, with the time left; order, pause, cancel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QPushButton, QStackedWidget, QTableView, QVBoxLayout, QWidget

from workbench.theme import Theme
from workbench.watching.run_columns import KINDS, state_word
from workbench.widgets.head import Head
from workbench.widgets.pills import BAR, PILL, PillDelegate
from workbench.widgets.surfaces import Empty
from workbench.widgets.text import duration

if TYPE_CHECKING:
    from engines.remaining import Remaining
    from engines.store.rows import RunRow
    from workbench.gathering import Update

Index = QModelIndex | QPersistentModelIndex
COLUMNS = ("Run", "Variant", "Seed", "State", "Progress", "Experiment")
ROW = 32
_MOVES = (
    ("first", "To the front", "Ctrl+Shift+Up", "Start the selected runs before all others"), ("up", "Up", "Alt+Up", "Start them one place earlier"),
    ("down", "Down", "Alt+Down", "Start them one place later"), ("last", "To the end", "Ctrl+Shift+Down", "Start them after all others"),
)  # fmt: skip


class _Rows(QAbstractTableModel):
    """Runs at work, then those queued in the order of their start."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.runs: list[RunRow] = []
        self.names: Mapping[int, str] = {}

    def show(self, runs: Sequence[RunRow], names: Mapping[int, str]) -> bool:
        """Whether the rows are others than before, or stand in another order."""
        other = [run.id for run in runs] != [run.id for run in self.runs]
        if other:
            self.beginResetModel()
        self.runs, self.names = list(runs), names
        if other:
            self.endResetModel()
        elif self.runs:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.runs) - 1, len(COLUMNS) - 1))
        return other

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.runs)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section]
        return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter if role == Qt.ItemDataRole.TextAlignmentRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        run, column = self.runs[index.row()], index.column()
        share = float(run.progress.get("fraction") or 0.0)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            name = f"{self.names.get(run.experiment_id, '')} (#{run.experiment_id})"
            return (f"r{run.id}", run.variant, str(run.seed), state_word(run), f"{share:.0%}" if run.active else "", name)[column]
        if role == PILL:
            return ("warning" if run.request == "cancel" else KINDS.get(run.status, "muted")) if column == 3 else None
        if role == BAR:
            return share if column == 4 and run.active else None
        return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter if role == Qt.ItemDataRole.TextAlignmentRole else None


class QueuePage(QWidget):
    """`moved(run ids, where)`, `paused(bool)`, `cancelled(run ids)`, `opened(experiment, run)` on a double click."""

    moved = Signal(list, str)
    paused = Signal(bool)
    cancelled = Signal(list)
    opened = Signal(int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        bar = Head()
        bar.title.setText("Queue")
        self.caption, row = bar.caption, bar.row
        self.buttons: dict[str, QPushButton] = {}
        for where, text, keys, tip in _MOVES:
            button = self.buttons[where] = QPushButton(text)
            button.setToolTip(f"{tip} ({keys})")
            button.clicked.connect(lambda _checked=False, where=where: self._move(where))
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(button.click)
            row.addWidget(button)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setProperty("danger", True)
        self.cancel_button.setToolTip("Queued runs are cancelled at once, others stop after their step and keep a checkpoint")
        self.cancel_button.clicked.connect(lambda: self.cancelled.emit([run.id for run in self.selected]))
        row.addWidget(self.cancel_button)
        self.pause_button = QPushButton("Pause the queue")
        self.pause_button.setToolTip("What has begun goes on; nothing else is started until the queue goes on")
        self.pause_button.clicked.connect(lambda: self.paused.emit(self._since is None))
        row.addWidget(self.pause_button)
        column.addWidget(bar)
        self._since: float | None = None
        self.pages = QStackedWidget()
        self.empty = Empty(
            "runs", "Nothing is queued", "Press Run in the experiment: its runs wait here for their turn, and go on when the window is closed."
        )
        self.empty.paint_with(theme)
        self.pages.addWidget(self.empty)
        inside = QWidget()
        body = QVBoxLayout(inside)
        body.setContentsMargins(14, 14, 14, 12)
        self.model = _Rows(self)
        self.table = QTableView()
        self.table.setModel(self.model)
        self.delegate = PillDelegate(theme, self.table)
        self.table.setItemDelegate(self.delegate)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setShowGrid(False)
        self.table.setTabKeyNavigation(False)
        self.table.setAccessibleName("Runs at work and in the queue, in the order of their start")
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(ROW)
        header = self.table.horizontalHeader()
        header.setHighlightSections(False)
        for place, width in ((0, 70), (1, 220), (2, 56), (3, 118), (4, 150)):
            self.table.setColumnWidth(place, width)
        header.setSectionResizeMode(5, QHeaderView.ResizeMode.Stretch)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._offer())
        self.table.doubleClicked.connect(lambda index: self.opened.emit(self.model.runs[index.row()].experiment_id))
        body.addWidget(self.table)
        self.pages.addWidget(inside)
        column.addWidget(self.pages, 1)
        self._offer()

    @property
    def selected(self) -> list[RunRow]:
        return [self.model.runs[index.row()] for index in self.table.selectionModel().selectedRows()]

    def show_update(self, update: Update, words: str) -> None:
        """Take what the store says; the selection stays with its runs. words: its summary."""
        kept = {run.id for run in self.selected}
        names = {row.id: row.name for row in update.experiments}
        if self.model.show(update.active, names):
            selection = self.table.selectionModel()
            for place, run in enumerate(self.model.runs):
                if run.id in kept:
                    selection.select(self.model.index(place, 0), selection.SelectionFlag.Select | selection.SelectionFlag.Rows)
        self._since = update.paused
        self.pause_button.setText("Pause the queue" if update.paused is None else "Let it go on")
        self.pause_button.setProperty("primary", update.paused is not None)
        self.pause_button.style().unpolish(self.pause_button)
        self.pause_button.style().polish(self.pause_button)
        self.pages.setCurrentIndex(1 if update.active else 0)
        self.caption.setText(words)
        self._offer()

    def _move(self, where: str) -> None:
        queued = [run.id for run in self.selected if run.status == "queued"]
        if queued:
            self.moved.emit(queued, where)

    def _offer(self) -> None:
        selected = self.selected
        for button in self.buttons.values():
            button.setEnabled(any(run.status == "queued" for run in selected))
        self.cancel_button.setEnabled(any(run.request != "cancel" for run in selected))

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self.delegate.theme = theme
        self.empty.paint_with(theme)
        self.table.viewport().update()


def summary(update: Update) -> str:
    """How much there is and how long it takes: "1 at work, 7 queued · 12 min to 15 min left"."""
    queued = sum(1 for run in update.active if run.status == "queued")
    parts = [f"{len(update.active) - queued} at work, {queued} queued"] if update.active else ["Empty"]
    if update.paused is not None:
        parts.append("paused: nothing more is started")
    if update.queue_left is not None:
        parts.append(left_words(update.queue_left))
    return " · ".join(parts)


def left_words(left: Remaining) -> str:
    """The time left, as a person reads it."""
    from engines.remaining import words

    return words(left, duration)
