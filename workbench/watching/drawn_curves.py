"""Which curves of an experiment are drawn: the panes that a person chose, of which runs, in which colours, and when."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from workbench.desk import Desk
from workbench.gathering import MOST, Update
from workbench.live import LiveFeed
from workbench.theme import Theme
from workbench.watching import clocks, colours
from workbench.watching.legend import Entry
from workbench.watching.quantities import DEFAULT_KEYS, STACK, default_keys, panes, series_of
from workbench.watching.run_list import RunList
from workbench.watching.run_tabs import CURVES, RunTabs

if TYPE_CHECKING:
    from engines.store.rows import RunRow

DRAW_MS = 20
"""Until the curves follow the table: it is painted first."""


class DrawnCurves(QObject):
    """Stands between the feed, the table of runs and the plots below it; tells the feed which points are wanted."""

    failed = Signal(str)

    def __init__(self, desk: Desk, feed: LiveFeed, table: RunList, below: RunTabs, parent: QWidget) -> None:
        super().__init__(parent)
        self._desk, self._feed, self._table, self._below, self._parent = desk, feed, table, below, parent
        self._board, self._controls, self._runs = below.board, below.controls, table.runs
        self._update: Update | None = None
        self.panes: set[str] = set(_remembered(desk))
        self.of_run: dict[int, str] = {}
        """The colour of each run."""
        self._coloured: tuple[Any, ...] = ()
        self._entries: list[Entry] = []
        self._drawn: frozenset[int] = frozenset()
        """Runs whose curves are drawn where there are more than can be; empty: the first ones."""
        # Timers, not queued calls: what the person does meanwhile comes in between, and one drawing does for all that ask for it.
        self._laying, self._drawing = QTimer(self), QTimer(self)
        for timer, act in ((self._laying, self._lay_out), (self._drawing, self.draw)):
            timer.setSingleShot(True)
            timer.timeout.connect(act)
        self._drawing.setInterval(DRAW_MS)
        self._runs.toggled.connect(self.draw)
        self._runs.rearranged.connect(self.draw_soon)
        self._controls.axis_chosen.connect(self.set_axis)
        self._controls.scales_chosen.connect(lambda x, y: self._board.set_scales(log_x=x, log_y=y))
        self._controls.pane_toggled.connect(self.toggle_pane)
        self._controls.smoothing_chosen.connect(self._board.set_smoothing)
        self._board.detail_wanted.connect(self._fetch_detail)
        self._board.unwanted.connect(lambda pane: self.toggle_pane(pane, False))
        self._board.export_wanted.connect(self._export)
        below.legend.toggled.connect(self._runs.toggle_runs)
        below.legend.soloed.connect(self._runs.solo)
        self._follow()

    def watch_another(self) -> None:
        """Another experiment is watched: nothing of the one before is shown."""
        self._board.clear()
        self._runs.hidden = set()
        self._drawn = frozenset()

    def colour(self, update: Update) -> dict[int, str]:
        """The colours of the runs of an update, which is the newest from now on."""
        self._update = update
        self._colour()
        return self.of_run

    def show_update(self, update: Update) -> None:
        """Take the new points and draw them once the table is painted."""
        self._board.add(update.pieces)
        # Plots are made and drawn in turns of their own: with hundreds of runs the window would not answer for as long as all of it takes.
        self._laying.start()

    def _lay_out(self) -> None:
        update = self._update
        if update is None:
            return
        recorded = panes(update.units)
        shown = [key for key in default_keys(recorded) if key in self.panes]
        shown += [STACK] if STACK in self.panes and STACK in recorded else []
        shown += sorted(key for key in self.panes - set(DEFAULT_KEYS) - {STACK} if key in recorded)
        if not self._controls.menu.isVisible():
            self._controls.offer(recorded, self.panes)
        self._board.show_keys(shown, update.units)
        self.draw_soon()

    def draw_soon(self) -> None:
        """Draw when the table has been painted, once for all that ask for it."""
        self._drawing.start()

    def draw(self) -> None:
        """Draw what there is; while another tab is in front nothing is drawn."""
        if self._update is None or self._below.shown != CURVES:
            return
        selected = [run.id for run in self._table.selected]
        runs = self._runs.shown
        if len(self._runs.runs) > MOST:
            runs = [run for run in runs if run.id in self._drawn] if self._drawn else runs[:MOST]
        self._board.show_runs(runs, self.of_run, self._runs.hidden, selected)
        found = {run.id for run in self._runs.shown} if self._runs.narrowed else None
        self._below.legend.show_entries(self._entries, self._runs.hidden, found)
        self._feed.drew(self._board.redraw())

    def prefer(self) -> None:
        """Of more runs than can be drawn: read and draw the selected ones, else the first that are shown. Asked for by what the person does
        alone: runs that overtake each other under a sorted column would have others read at every look."""
        if len(self._runs.runs) > MOST:
            chosen = self._table.selected or self._runs.shown
            self._drawn = frozenset(run.id for run in chosen[:MOST])
            self._feed.prefer(self._drawn)
            self.draw_soon()

    def _colour(self) -> None:
        update = self._update
        if update is None:
            return
        key = (self._desk.theme.name, update.experiment, tuple(map(attrgetter("id"), update.runs)))
        if key != self._coloured:
            self._coloured = key
            self.of_run = colours.by_run(self._desk.theme, [variant.name for variant in update.variants], update.runs)
            self._entries = self._legend(update.runs)

    def _legend(self, runs: list[RunRow]) -> list[Entry]:
        """A chip a variant; a chip a run where there is one variant alone."""
        if len({run.variant for run in runs}) == 1 and len(runs) > 1:
            return [Entry(f"seed {run.seed}", self.of_run[run.id], (run.id,)) for run in runs[:MOST]]
        groups: dict[str, list[int]] = {}
        for run in runs:
            groups.setdefault(run.variant, []).append(run.id)
        return [Entry(name, self.of_run[ids[0]], tuple(ids)) for name, ids in list(groups.items())[:MOST]]

    # --- What a person chooses ----------------------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        keys = {key for pane in self.panes for key in series_of(pane)} | set(clocks.NEEDED[self._board.axis])
        self._feed.follow(keys)

    def set_axis(self, axis: str) -> None:
        """What runs along x, one of `clocks`; what it needs is read."""
        self._board.set_axis(axis)
        self._board.clear()
        self._follow()

    def toggle_pane(self, pane: str, on: bool) -> None:
        """Draw a quantity, or no longer; remembered for the next window."""
        (self.panes.add if on else self.panes.discard)(pane)
        self._desk.settings.setValue("runs/panes", sorted(self.panes))
        self._board.clear()
        self._follow()

    def _fetch_detail(self, series_id: int, low: float, high: float) -> None:
        store = self._desk.store
        if store is None:
            return

        def work() -> Any:
            from engines.store import queries

            return queries.curve(store, series_id, low=low, high=high, pixels=1600)

        self._desk.errands.run(work, lambda curve: self._board.add_detail(series_id, curve), self._desk.says.emit)

    def _export(self, pane: str, form: str) -> None:
        from workbench.plotting import exporting

        plot = self._board.plot(pane)
        path = self._ask_for_file(f"{pane.replace('/', '_')}.{form}", exporting.FORMS[form])
        if plot is None or path is None:
            return
        try:
            exporting.write(plot, form, path)
        except OSError as error:
            self.failed.emit(f"The plot was not exported: {error}")
        else:
            self._desk.says.emit(f"Written to {path}.")

    def _ask_for_file(self, name: str, what: str) -> Path | None:
        folder = Path(str(self._desk.settings.value("folder", str(Path.home()))))
        chosen, _ = QFileDialog.getSaveFileName(self._parent, "Export", str(folder / name), what)
        return Path(chosen) if chosen else None

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme, and draw with them."""
        self._colour()
        self._runs.colours = self.of_run
        self._board.paint_with(theme, self.of_run)
        self.draw()


def _remembered(desk: Desk) -> list[str]:
    """The panes that were shown last."""
    kept = desk.settings.value("runs/panes", list(DEFAULT_KEYS))
    return [str(each) for each in kept] if isinstance(kept, list | tuple) else [str(kept)]
