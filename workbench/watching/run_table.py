"""The runs of an experiment as a table model: what each is doing, how far it is, its latest figures."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal

from workbench.widgets.pills import BAR, PILL, SWATCH
from workbench.widgets.text import duration, number, short

if TYPE_CHECKING:
    from engines.store.rows import RunRow

Index = QModelIndex | QPersistentModelIndex
COLUMNS = (
    ("Variant", "Click the square to hide or show the curves"),
    ("Seed", "Random seed of the run"),
    ("State", "queued, starting, running, done, failed, cancelled or lost"),
    ("Progress", "Share of the budget that is spent"),
    ("Loss", "Latest training loss, nats a token"),
    ("Tokens/s", "Latest training throughput"),
    ("Host", "Resident memory of the worker process, MiB"),
    ("GPU", "Memory on the device, MiB"),
    ("Time", "How long a finished run took; what is left of a running one, estimated from its pace"),
)
KINDS = {"running": "accent", "starting": "accent", "done": "ok", "failed": "danger", "lost": "danger", "cancelled": "muted", "queued": "muted"}
# Painting asks for every role of every cell: looking up Qt's enumerations there would cost more than the painting itself.
DISPLAY, ALIGNMENT, CHECK = Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.TextAlignmentRole, Qt.ItemDataRole.CheckStateRole
TIP, SPOKEN = Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole
ANSWERED = frozenset(int(role) for role in (DISPLAY, ALIGNMENT, CHECK, TIP, SPOKEN, SWATCH, PILL, BAR))
LEFT, RIGHT = (side | Qt.AlignmentFlag.AlignVCenter for side in (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight))


class RunTable(QAbstractTableModel):
    """Rows stay in place while their figures change, so that a selection survives. `toggled` tells which runs' curves are hidden."""

    toggled = Signal()

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.runs: list[RunRow] = []
        self.colours: Mapping[int, str] = {}
        self.hidden: set[int] = set()
        self._latest: Mapping[tuple[int, str], float | None] = {}
        self._cells: list[list[tuple[str, object]]] = []

    def show_runs(self, runs: Sequence[RunRow], latest: Mapping[tuple[int, str], float | None], colours: Mapping[int, str]) -> None:
        """Take the runs and the last values of their series by run and key; only cells that differ are drawn again.

        A run that has ended and is the same object as before is passed over: there may be thousands.
        """
        self._latest, self.colours = latest, colours
        same = [run.id for run in runs] == [run.id for run in self.runs]
        if not same:
            self.beginResetModel()
            self.runs = list(runs)
            self._cells = [self._row(run) for run in self.runs]
            self.endResetModel()
            return
        earlier, self.runs = self.runs, list(runs)
        for row, run in enumerate(self.runs):
            if run is earlier[row] and not run.active:
                continue
            before, self._cells[row] = self._cells[row], self._row(run)
            for column, (old, new) in enumerate(zip(before, self._cells[row], strict=True)):
                if old != new:
                    self.dataChanged.emit(self.index(row, column), self.index(row, column))

    def _row(self, run: RunRow) -> list[tuple[str, object]]:
        """Text and mark (pill kind, share) of each cell: worked out once an update, not at every painting."""
        marks: dict[int, object] = {
            2: "warning" if run.request == "cancel" and not run.over else KINDS.get(run.status, "muted"),
            3: self._fraction(run),
        }
        return [(self._text(run, column), marks.get(column)) for column in range(len(COLUMNS))]

    @property
    def has_device(self) -> bool:
        """Whether any run tells memory on a GPU."""
        return any(key.startswith("memory/device") for _run, key in self._latest)

    def figure(self, run: RunRow, progress: str, key: str) -> float | None:
        """The latest figure of a run: its own report, else the last point of a series."""
        value = run.progress.get(progress)
        return value if isinstance(value, int | float) else self._latest.get((run.id, key))

    # --- Model ----------------------------------------------------------------------------------------------------------------------------

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.runs)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section][0]
        if role == Qt.ItemDataRole.ToolTipRole:
            return COLUMNS[section][1]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == 0 else flags

    def data(self, index: Index, role: int = DISPLAY) -> Any:
        if role not in ANSWERED:
            return None
        row, column = index.row(), index.column()
        text, mark = self._cells[row][column]
        if role == DISPLAY:
            return text
        if role == ALIGNMENT:
            return _alignment(column)
        if role == PILL:
            return mark if column == 2 else None
        if role == BAR:
            return mark if column == 3 else None
        if role == SWATCH:
            return self.colours.get(self.runs[row].id) if column == 0 else None
        run = self.runs[row]
        if role == CHECK:
            return None if column else Qt.CheckState.Unchecked if run.id in self.hidden else Qt.CheckState.Checked
        if role == TIP:
            about = f"Run {run.id}: {run.reason} {run.advice}".strip() if run.reason else f"Run {run.id}, attempt {run.attempt}"
            return about + observed(run)
        return f"{COLUMNS[column][0]}: {text}"

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole:
            return False
        self.toggle(index.row())
        return True

    def toggle(self, row: int) -> None:
        """Hide or show the curves of a run."""
        self.toggle_runs((self.runs[row].id,))

    def toggle_runs(self, runs: Collection[int]) -> None:
        """Hide the curves of these runs, or show them where they are all hidden."""
        self._hide(self.hidden - set(runs) if self.hidden.issuperset(runs) else self.hidden | set(runs))

    def solo(self, runs: Collection[int]) -> None:
        """Show the curves of these runs alone, or all where that is so already."""
        others = {run.id for run in self.runs} - set(runs)
        self._hide(set() if self.hidden == others else others)

    def _hide(self, hidden: set[int]) -> None:
        self.hidden = hidden
        if self.runs:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.runs) - 1, 0))
        self.toggled.emit()

    def _fraction(self, run: RunRow) -> float:
        return 1.0 if run.status == "done" else float(run.progress.get("fraction") or 0.0)

    def _text(self, run: RunRow, column: int) -> str:
        if column == 0:
            return run.variant
        if column == 1:
            return str(run.seed)
        if column == 2:
            return state_word(run)
        if column == 3:
            return f"{self._fraction(run):.0%}"
        if column == 4:
            return _narrow(self.figure(run, "loss", "train/loss"))
        if column == 5:
            return short(self.figure(run, "tokens_per_s", "speed/train_tokens_per_s"))
        if column == 6:
            return number(self.figure(run, "host_mib", "memory/host_mib"), 3)
        if column == 7:
            return number(self.figure(run, "device_mib", "memory/device_mib"), 3)
        if run.over:
            return duration(run.ended - run.started) if run.ended and run.started else "–"
        # Behind the training stand evaluation and finishing, of which the pace of training tells nothing.
        if run.started and run.status == "running" and run.progress.get("remaining_s") and self._fraction(run) < 1:
            return duration(run.progress["remaining_s"]) + " left"
        return duration(time.time() - run.started) + " so far" if run.started and run.active else "–"


def _narrow(value: float | None) -> str:
    """A figure that fits its column, also where a run has diverged."""
    return f"{value:.2e}" if value is not None and 1e6 <= abs(value) < float("inf") else number(value)


def observed(run: RunRow) -> str:
    """A line about what recording has cost a run so far; empty where that is not known."""
    share = run.progress.get("recording_share")
    return "" if share is None else f"\nRecording took {share:.2%} of its training time."


def state_word(run: RunRow) -> str:
    """What a run is doing, in a word or two."""
    if run.request == "cancel" and not run.over:
        return "stopping"
    if run.status == "queued":
        return "waiting" if run.waits else "queued"
    if run.status == "running" and run.phase:
        return run.phase
    return run.status


def _alignment(column: int) -> Qt.AlignmentFlag:
    return LEFT if column in (0, 2, 3) else RIGHT
