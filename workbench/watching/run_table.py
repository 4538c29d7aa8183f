"""The runs of an experiment as a table model: those that a search finds, in the order of a column; written out when they are looked at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from operator import attrgetter, is_not
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal

from workbench.watching import run_columns
from workbench.watching.run_columns import COLUMNS, KINDS, PROGRESS, STATE, VARIANT, Latest
from workbench.watching.run_order import RunOrder
from workbench.widgets.pills import BAR, PILL, SHADE, SWATCH

if TYPE_CHECKING:
    from engines.store.rows import RunRow

Index = QModelIndex | QPersistentModelIndex
# Painting asks for every role of every cell: looking up Qt's enumerations there would cost more than the painting itself.
DISPLAY, ALIGNMENT, CHECK = Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.TextAlignmentRole, Qt.ItemDataRole.CheckStateRole
TIP, SPOKEN = Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole
ANSWERED = frozenset(int(role) for role in (DISPLAY, ALIGNMENT, CHECK, TIP, SPOKEN, SWATCH, PILL, BAR, SHADE))
SELECTABLE = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
CHECKABLE = SELECTABLE | Qt.ItemFlag.ItemIsUserCheckable
_ID = attrgetter("id")
LEFT, RIGHT = (side | Qt.AlignmentFlag.AlignVCenter for side in (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight))


class RunTable(QAbstractTableModel):
    """Rows keep their runs while figures change, so that a selection survives. `toggled` tells which runs' curves are hidden.

    runs: all runs of the experiment, in its order; shown: those in the table, from the top.
    """

    toggled = Signal()
    rearranged = Signal()
    """Other runs are shown, or in another order."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.runs: list[RunRow] = []
        self.colours: Mapping[int, str] = {}
        self.hidden: set[int] = set()
        self._latest: Latest = {}
        self._order = RunOrder()
        self._rows: list[int] = []
        """The place in `runs` of each row."""
        self._shown: list[RunRow] | None = None
        self._active: set[int] = set()
        """Places of the runs that were at work when they were last seen."""
        self._cells: dict[int, list[tuple[str, object]]] = {}
        """By place, of the rows that were looked at."""

    def show_runs(self, runs: Sequence[RunRow], latest: Latest, colours: Mapping[int, str]) -> None:
        """Take the runs and the last values of their series by run and key; only cells that differ are drawn again.

        A run that has ended and is the same object as before is passed over: there may be thousands.
        """
        # Runs are passed over in C: at ten thousand of them each loop of Python's own is a tenth of a frame.
        self._latest, self.colours, self._shown = latest, colours, None
        if list(map(_ID, runs)) != list(map(_ID, self.runs)):
            self.beginResetModel()
            self.runs = list(runs)
            self._cells = {}
            self._rows = self._order.take(self.runs, latest)
            self._active = {place for place, run in enumerate(self.runs) if run.active}
            self.endResetModel()
            return
        earlier, self.runs = self.runs, list(runs)
        changed = {*compress(range(len(self.runs)), map(is_not, earlier, self.runs)), *self._active}
        if not changed:
            return
        self._active = {place for place in changed if self.runs[place].active}
        self._rearrange(self._order.update(self.runs, latest, changed))
        seen = [place for place in changed if place in self._cells]
        rows = dict(zip(self._rows, range(len(self._rows)), strict=True)) if seen else {}
        for place in seen:
            before, self._cells[place] = self._cells[place], self._written(place)
            if place in rows:
                for column, (old, new) in enumerate(zip(before, self._cells[place], strict=True)):
                    if old != new:
                        self.dataChanged.emit(self.index(rows[place], column), self.index(rows[place], column))

    def _written(self, place: int) -> list[tuple[str, object]]:
        """Text and mark (kind of the pill, share and kind of the bar) of each cell: worked out once a change, not at every painting."""
        run = self.runs[place]
        kind = "warning" if run.request == "cancel" and not run.over else KINDS.get(run.status, "muted")
        marks: dict[int, object] = {STATE: kind, PROGRESS: (run_columns.fraction(run), kind if run_columns.broken_off(run) else "accent")}
        return [(run_columns.text(run, column, self._latest), marks.get(column)) for column in range(len(COLUMNS))]

    # --- Which rows there are -----------------------------------------------------------------------------------------------------------------

    @property
    def shown(self) -> list[RunRow]:
        """The runs in the table, from the top."""
        if self._shown is None:
            self._shown = [self.runs[place] for place in self._rows]
        return self._shown

    @property
    def narrowed(self) -> bool:
        """Whether a search leaves runs out."""
        return len(self._rows) < len(self.runs)

    def at(self, row: int) -> RunRow:
        """The run of a row."""
        return self.runs[self._rows[row]]

    def row_of(self, run_id: int | None) -> int | None:
        """The row of a run; None where it is not in the table."""
        return next((row for row, place in enumerate(self._rows) if self.runs[place].id == run_id), None)

    def search(self, words: str) -> None:
        """Show the runs alone whose number, variant, seed or state have all of the words in them."""
        self._rearrange(self._order.search(self.runs, words))

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; -1 goes back to the order of the experiment. Runs without the figure come last either way."""
        self._rearrange(self._order.sort(self.runs, self._latest, column, downwards=order == Qt.SortOrder.DescendingOrder))

    def _rearrange(self, rows: list[int]) -> None:
        """Have these places as rows. What points at a run goes on doing so; what pointed at one that is left out points at nothing."""
        if rows == self._rows:
            return
        self.layoutAboutToBeChanged.emit()
        before, places = self.persistentIndexList(), self._rows
        self._rows, self._shown = rows, None
        if before:
            row_of = {place: row for row, place in enumerate(rows)}
            found = [(row_of.get(places[index.row()]), index.column()) for index in before]
            self.changePersistentIndexList(before, [QModelIndex() if row is None else self.index(row, column) for row, column in found])
        self.layoutChanged.emit()
        self.rearranged.emit()

    # --- What Qt asks -------------------------------------------------------------------------------------------------------------------------

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return COLUMNS[section][0]
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{COLUMNS[section][1]}\nClick to sort; the third click goes back to the order of the experiment"
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(section)
        return None

    def flags(self, index: Index) -> Qt.ItemFlag:
        return CHECKABLE if index.column() == VARIANT else SELECTABLE

    def data(self, index: Index, role: int = DISPLAY) -> Any:
        if role not in ANSWERED:
            return None
        place, column = self._rows[index.row()], index.column()
        cells = self._cells.get(place)
        if cells is None:
            cells = self._cells[place] = self._written(place)
        text, mark = cells[column]
        if role == DISPLAY:
            return text
        if role == ALIGNMENT:
            return _alignment(column)
        if role == PILL:
            return mark if column == STATE else None
        if role == BAR:
            return mark[0] if isinstance(mark, tuple) else None
        if role == SHADE:
            return mark[1] if isinstance(mark, tuple) else None
        run = self.runs[place]
        if role == SWATCH:
            return self.colours.get(run.id) if column == VARIANT else None
        if role == CHECK:
            return None if column != VARIANT else Qt.CheckState.Unchecked if run.id in self.hidden else Qt.CheckState.Checked
        if role == TIP:
            about = f"Run {run.id}: {run.reason} {run.advice}".strip() if run.reason else f"Run {run.id}, attempt {run.attempt}"
            return about + run_columns.observed(run)
        return f"{COLUMNS[column][0]}: {text}"

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        if role != Qt.ItemDataRole.CheckStateRole:
            return False
        self.toggle(index.row())
        return True

    # --- Whose curves are hidden --------------------------------------------------------------------------------------------------------------

    def toggle(self, row: int) -> None:
        """Hide or show the curves of the run of a row."""
        self.toggle_runs((self.at(row).id,))

    def toggle_runs(self, runs: Collection[int]) -> None:
        """Hide the curves of these runs, or show them where they are all hidden."""
        self._hide(self.hidden - set(runs) if self.hidden.issuperset(runs) else self.hidden | set(runs))

    def solo(self, runs: Collection[int]) -> None:
        """Show the curves of these runs alone, or all where that is so already."""
        others = {run.id for run in self.runs} - set(runs)
        self._hide(set() if self.hidden == others else others)

    def _hide(self, hidden: set[int]) -> None:
        self.hidden = hidden
        if self._rows:
            self.dataChanged.emit(self.index(0, VARIANT), self.index(len(self._rows) - 1, VARIANT))
        self.toggled.emit()


def _alignment(column: int) -> Qt.AlignmentFlag:
    return LEFT if column in (VARIANT, STATE, PROGRESS) else RIGHT
