"""Runs, live: which experiments there are, what their runs are doing, their curves, each run's page; the queue; stop, resume, read the log."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QMessageBox,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.desk import Desk
from workbench.live import MOST, LiveFeed, Update
from workbench.theme import Theme
from workbench.watching import clocks, colours, run_actions
from workbench.watching.experiment_list import ExperimentList
from workbench.watching.export_action import ExportAction
from workbench.watching.keeping import Keeping
from workbench.watching.legend import Entry
from workbench.watching.quantities import DEFAULT_KEYS, STACK, default_keys, panes, series_of
from workbench.watching.queue_page import QueuePage, left_words, summary
from workbench.watching.run_columns import DEVICE
from workbench.watching.run_list import RunList
from workbench.watching.run_tabs import CURVES, LOG, RUN, RunTabs
from workbench.watching.runs_bar import RunsBar
from workbench.widgets.surfaces import Empty, Notice, recolour

if TYPE_CHECKING:
    from engines.store.rows import RunRow

DRAW_MS = 20
"""Until the curves follow the table: it is painted first."""
NOTHING, RUNS, QUEUE = 0, 1, 2
"""Places of the pages."""


class RunsView(QWidget):
    """Follows the chosen experiment while it is shown."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._wanted: int | None = None
        self._wanted_run: int | None = None
        self._update: Update | None = None
        """The last one about the experiment that is shown."""
        self._latest: Update | None = None
        self._panes: set[str] = set(_remembered(desk))
        self._colours: dict[int, str] = {}
        self._coloured: tuple[Any, ...] = ()
        self._entries: list[Entry] = []
        self._drawn: frozenset[int] = frozenset()
        """Runs whose curves are drawn where there are more than can be; empty: the first ones."""
        # Timers, not queued calls: what the person does meanwhile comes in between, and one drawing does for all that ask for it.
        self._laying, self._drawing = QTimer(self), QTimer(self)
        for timer, act in ((self._laying, self._lay_out_curves), (self._drawing, self._draw)):
            timer.setSingleShot(True)
            timer.timeout.connect(act)
        self._drawing.setInterval(DRAW_MS)
        self.feed = LiveFeed(desk, self)
        self.feed.updated.connect(self._show_update)
        self.feed.failed.connect(self._refused)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self._side())
        self.pages = QStackedWidget()
        self.empty = Empty(
            "runs",
            "Nothing has run yet",
            "Assemble an experiment and press Run. Its runs appear here and go on when the window is closed.",
            "Go to the experiment",
        )
        self.empty.acted.connect(desk.wants_editor)
        self.empty.paint_with(desk.theme)
        self.queue = QueuePage(desk.theme)
        self.queue.moved.connect(lambda runs, where: run_actions.move(desk, runs, where, self.feed.refresh, self._refused))
        self.queue.paused.connect(lambda on: run_actions.pause(desk, on, self.feed.refresh, self._refused))
        self.queue.cancelled.connect(lambda runs: run_actions.cancel(desk, runs, self.feed.refresh, self._refused))
        self.queue.opened.connect(self.choose)
        for page in (self.empty, self._page(), self.queue):
            self.pages.addWidget(page)
        splitter.addWidget(self.pages)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([240, 900])
        row.addWidget(splitter)
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self.feed.refresh())
        self._follow()

    def _side(self) -> QWidget:
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 10)
        column.setSpacing(4)
        self.list = ExperimentList()
        self.list.chosen.connect(self._watch)
        self.list.list.itemClicked.connect(lambda _item: self._show_runs())
        column.addWidget(self.list, 1)
        self.queue_button = QPushButton("Queue")
        self.queue_button.setCheckable(True)
        self.queue_button.setProperty("quiet", True)
        self.queue_button.setToolTip("What runs and what comes next, in all experiments")
        self.queue_button.clicked.connect(lambda on: self.show_queue() if on else self._show_runs())
        row = QHBoxLayout()
        row.setContentsMargins(12, 0, 12, 0)
        row.addWidget(self.queue_button)
        column.addLayout(row)
        return side

    def _page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.bar, self.notice = RunsBar(), Notice()
        self.exporting = ExportAction(self._desk, self.notice, self)
        self.keeping = Keeping(self._desk, self.list, self.notice, self.feed.refresh, self)
        for signal, act in (
            (self.bar.stop, self.stop_selected),
            (self.bar.resume, self.resume_selected),
            (self.bar.retry, self.retry_failed),
            (self.bar.compare, lambda: self._desk.wants_comparison.emit(self.list.current or 0)),
            (self.bar.log, self.toggle_log),
            (self.bar.ask, self._ask),
            (self.bar.profile, lambda: self._desk.wants_profile.emit(self.selected[0].id)),
            (self.bar.export, lambda: self.exporting.ask(self.selected[0])),
            (self.bar.edit, lambda: self._desk.wants_experiment.emit(self.list.current or 0)),
            (self.bar.delete, self.delete),
            (self.bar.searched, self._search),
        ):
            signal.connect(act)
        column.addWidget(self.bar)
        inside = QWidget()
        body = QVBoxLayout(inside)
        body.setContentsMargins(14, 14, 14, 12)
        body.setSpacing(10)
        body.addWidget(self.notice)
        self.table = RunList(self._desk.theme)
        self.model = self.table.runs
        self.model.toggled.connect(self._draw)
        self.model.rearranged.connect(self._drawing.start)
        self.table.chosen.connect(self._selected)
        self.table.sorted.connect(self._prefer)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(lambda point: self.bar.menu.popup(self.table.viewport().mapToGlobal(point)))
        self.below = RunTabs(self._desk)
        self.table.doubleClicked.connect(lambda _index: self.below.tabs.setCurrentIndex(RUN))
        self.board, self.controls, self.log = self.below.board, self.below.controls, self.below.log
        self.below.tabs.currentChanged.connect(lambda _place: self._tab_changed())
        self.controls.axis_chosen.connect(self._set_axis)
        self.controls.scales_chosen.connect(lambda x, y: self.board.set_scales(log_x=x, log_y=y))
        self.controls.pane_toggled.connect(self._toggle_pane)
        self.controls.smoothing_chosen.connect(self.board.set_smoothing)
        self.board.detail_wanted.connect(self._fetch_detail)
        self.board.unwanted.connect(lambda pane: self._toggle_pane(pane, False))
        self.board.export_wanted.connect(self._export_pane)
        self.below.legend.toggled.connect(self.model.toggle_runs)
        self.below.legend.soloed.connect(self.model.solo)
        self.below.run.asked.connect(self._desk.wants_answers)
        self.below.run.profiled.connect(self._desk.wants_profile)
        self.below.run.export_wanted.connect(self.exporting.ask)
        self.vertical = QSplitter(Qt.Orientation.Vertical)
        self.vertical.setChildrenCollapsible(False)
        for part, stretch in ((self.table, 0), (self.below, 1)):
            self.vertical.addWidget(part)
            self.vertical.setStretchFactor(self.vertical.count() - 1, stretch)
        self.vertical.setHandleWidth(10)
        self.vertical.setStyleSheet("QSplitter::handle { background: transparent; }")
        body.addWidget(self.vertical, 1)
        column.addWidget(inside, 1)
        return page

    # --- Following --------------------------------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.feed.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.feed.stop()

    def leave(self) -> None:
        """The window closes."""
        self.feed.stop()
        self.exporting.program.close()

    def choose(self, experiment_id: int, run_id: int | None = None) -> None:
        """Show an experiment, also one that the list will only hold after the next read; with run_id, the page of that run."""
        self._wanted, self._wanted_run = experiment_id, run_id
        if self.list.select(experiment_id):
            self._wanted = None
        self._show_runs()
        if self._update is not None and self._update.experiment == experiment_id:
            self._choose_run()
        self.feed.refresh()

    def _choose_run(self) -> None:
        if self._wanted_run is None:
            return
        if self.model.row_of(self._wanted_run) is None and any(run.id == self._wanted_run for run in self.model.runs):
            self.bar.search.clear()
        if self.table.select_run(self._wanted_run):
            self._wanted_run = None
            self.below.tabs.setCurrentIndex(RUN)

    def show_queue(self) -> None:
        """Show the queue of the store instead of one experiment's runs."""
        self.queue_button.setChecked(True)
        if self._latest is not None:
            self.queue.show_update(self._latest, summary(self._latest))
        self.pages.setCurrentIndex(QUEUE)

    def _show_runs(self) -> None:
        self.queue_button.setChecked(False)
        self.pages.setCurrentIndex(RUNS if self._update is not None or self.list.list.count() else NOTHING)

    def _watch(self, experiment_id: int) -> None:
        self.board.clear()
        self.model.hidden = set()
        self._drawn = frozenset()
        self.bar.search.clear()
        self.notice.clear()
        self.below.run.show_run(None)
        self._show_runs()
        self.feed.watch(experiment_id)

    def _show_update(self, update: Update) -> None:
        self.list.show_experiments(update.experiments, update.active, update.tags)
        words = summary(update)
        self._latest = update
        if self.pages.currentIndex() == QUEUE:
            self.queue.show_update(update, words)
        self.queue_button.setText("Queue: " + words.split(" · ")[0].lower() + (", paused" if update.paused is not None else ""))
        self.queue_button.setToolTip(f"What runs and what comes next, in all experiments\n{words}")
        if self.pages.currentIndex() != QUEUE:
            self.pages.setCurrentIndex(RUNS if update.experiments else NOTHING)
        if not update.experiments:
            return
        if self._wanted is not None and self.list.select(self._wanted):
            self._wanted = None
        elif self.list.current is None:
            self.list.list.setCurrentRow(0)
        if update.experiment is None or update.experiment != self.list.current:
            return
        before, self._update = self._update, update
        self.bar.title.setText(next((row.name for row in update.experiments if row.id == update.experiment), ""))
        self._colour()
        same = before is not None and before.experiment == update.experiment and len(before.runs) == len(update.runs)
        self.model.show_runs(update.runs, update.latest, self._colours)
        self.table.setColumnHidden(DEVICE, not any(key.startswith("memory/device") for key in update.units))
        if not same:
            self._fit_table()
        self._choose_run()
        self._offer()
        self._show_curves(update)
        if self.below.shown == LOG:
            self._read_log()
        elif self.below.shown == RUN and len(self.selected) == 1:
            earlier = next((run for run in before.runs if run.id == self.selected[0].id), None) if before is not None else None
            if earlier != self.selected[0]:
                self.below.run.show_run(self.selected[0].id)

    def _show_curves(self, update: Update) -> None:
        self.board.add(update.pieces)
        # Plots are made and drawn in turns of their own: with hundreds of runs the window would not answer for as long as all of it takes.
        self._laying.start()

    def _lay_out_curves(self) -> None:
        update = self._update
        if update is None:
            return
        recorded = panes(update.units)
        shown = [key for key in default_keys(recorded) if key in self._panes]
        shown += [STACK] if STACK in self._panes and STACK in recorded else []
        shown += sorted(key for key in self._panes - set(DEFAULT_KEYS) - {STACK} if key in recorded)
        if not self.controls.menu.isVisible():
            self.controls.offer(recorded, self._panes)
        self.board.show_keys(shown, update.units)
        self._drawing.start()

    def _draw(self) -> None:
        """Draw what there is; while another tab is in front nothing is drawn."""
        if self._update is None or self.below.shown != CURVES:
            return
        selected = [run.id for run in self.selected]
        runs = self.model.shown
        if len(self.model.runs) > MOST:
            runs = [run for run in runs if run.id in self._drawn] if self._drawn else runs[:MOST]
        self.board.show_runs(runs, self._colours, self.model.hidden, selected)
        found = {run.id for run in self.model.shown} if self.model.narrowed else None
        self.below.legend.show_entries(self._entries, self.model.hidden, found)
        self.feed.drew(self.board.redraw())

    def _prefer(self) -> None:
        """Of more runs than can be drawn: read and draw the selected ones, else the first that are shown. Asked for by what the person does
        alone: runs that overtake each other under a sorted column would have others read at every look."""
        if len(self.model.runs) > MOST:
            self._drawn = frozenset(run.id for run in self._chosen[:MOST])
            self.feed.prefer(self._drawn)
            self._drawing.start()

    def _colour(self) -> None:
        update = self._update
        if update is None:
            return
        key = (self._desk.theme.name, update.experiment, tuple(map(attrgetter("id"), update.runs)))
        if key != self._coloured:
            self._coloured = key
            self._colours = colours.by_run(self._desk.theme, [variant.name for variant in update.variants], update.runs)
            self._entries = self._legend(update.runs)

    def _legend(self, runs: list[RunRow]) -> list[Entry]:
        """A chip a variant; a chip a run where there is one variant alone."""
        if len({run.variant for run in runs}) == 1 and len(runs) > 1:
            return [Entry(f"seed {run.seed}", self._colours[run.id], (run.id,)) for run in runs[:MOST]]
        groups: dict[str, list[int]] = {}
        for run in runs:
            groups.setdefault(run.variant, []).append(run.id)
        return [Entry(name, self._colours[ids[0]], tuple(ids)) for name, ids in list(groups.items())[:MOST]]

    def _fit_table(self) -> None:
        """As tall as its rows, up to five or six; the splitter lets the person change it."""
        wanted = self.table.fit(6 if self.height() > 900 else 5)
        self.vertical.setSizes([wanted, max(100, self.vertical.height() - wanted)])

    def _fetch_detail(self, series_id: int, low: float, high: float) -> None:
        store = self._desk.store
        if store is None:
            return

        def work() -> Any:
            from engines.store import queries

            return queries.curve(store, series_id, low=low, high=high, pixels=1600)

        self._desk.errands.run(work, lambda curve: self.board.add_detail(series_id, curve), self._desk.says.emit)

    # --- Selection and actions ----------------------------------------------------------------------------------------------------------------

    @property
    def selected(self) -> list[RunRow]:
        return self.table.selected

    @property
    def _chosen(self) -> list[RunRow]:
        """What buttons act on: the selected runs, else all that are shown."""
        return self.selected or self.model.shown

    def _selected(self) -> None:
        self._offer()
        self.notice.clear()
        self._prefer()
        self._tab_changed()

    def _say_why(self, selected: list[RunRow]) -> None:
        """Why a selected run did not end as it should; its own page says that itself."""
        failed = next((run for run in selected if run.reason and run.status in ("failed", "lost", "cancelled")), None)
        said = f"{failed.variant}, seed {failed.seed}: {failed.reason} {failed.advice}".strip() if failed is not None else ""
        if self.below.shown == RUN and len(selected) == 1:
            if said and self.notice.text == said:
                self.notice.clear()
        elif failed is not None:
            self.notice.say("info" if failed.status == "cancelled" else "error", said)

    def _tab_changed(self) -> None:
        selected = self.selected
        self._say_why(selected)
        if self.below.shown == CURVES:
            self._drawing.start()
        elif self.below.shown == RUN:
            self.below.run.show_run(selected[0].id if len(selected) == 1 else None)
        else:
            self._read_log()

    def _offer(self) -> None:
        left = self._update.left if self._update is not None else None
        found = self.model.shown if self.model.narrowed else None
        self.bar.show_state(
            self.model.runs, self.selected, found, log_shown=self.below.shown == LOG, left=left_words(left) if left else "",
            timing=self._update.timing_words if self._update is not None else "",
        )  # fmt: skip

    def stop_selected(self) -> None:
        """Ask the selected runs, or all that are shown and have not ended, to stop."""
        run_actions.stop(self._desk, self._chosen, self.feed.refresh, self._refused)

    def resume_selected(self) -> None:
        """Queue the selected failed, cancelled or lost runs again, or all of those that are shown."""
        run_actions.resume(self._desk, self._chosen, self.feed.refresh, self._refused)

    def retry_failed(self) -> None:
        """Queue the failed and lost runs of the experiment again, and no others."""
        failed = [run for run in self.model.runs if run.status in ("failed", "lost")]
        run_actions.resume(self._desk, failed, self.feed.refresh, self._refused)

    def delete(self) -> None:
        """Delete the experiment, after a question."""
        experiment = self.list.current
        if experiment is None:
            return
        text = f"“{self.bar.title.text()}” and its runs are hidden now and removed at the next clean-up (workbench gc)."
        if QMessageBox.question(self, "Delete the experiment?", text) == QMessageBox.StandardButton.Yes:
            self.board.clear()
            self.list.list.setCurrentRow(-1)
            self.feed.watch(None)
            run_actions.delete(self._desk, experiment, self.feed.refresh, self._refused)

    def _ask(self) -> None:
        if self.selected:
            self._desk.wants_answers.emit(self.selected[0].id)

    def _refused(self, sentence: str) -> None:
        self.notice.say("error", sentence)

    def _search(self, words: str) -> None:
        self.model.search(words)
        self.vertical.setSizes(self.vertical.sizes())  # What the table gives up goes to what stands below it.
        self._prefer()
        self._offer()

    def _follow(self) -> None:
        keys = {key for pane in self._panes for key in series_of(pane)} | set(clocks.NEEDED[self.board.axis])
        self.feed.follow(keys)

    def _set_axis(self, axis: str) -> None:
        self.board.set_axis(axis)
        self.board.clear()
        self._follow()

    def _toggle_pane(self, pane: str, on: bool) -> None:
        (self._panes.add if on else self._panes.discard)(pane)
        self._desk.settings.setValue("runs/panes", sorted(self._panes))
        self.board.clear()
        self._follow()

    def toggle_log(self) -> None:
        """Show the end of the selected run's log, or the curves again."""
        self.below.tabs.setCurrentIndex(CURVES if self.below.shown == LOG else LOG)

    def _read_log(self) -> None:
        if self.selected:
            run_actions.read_log(self._desk, self.selected[0], self.below.show_log)
        else:
            self.log.clear()

    def _ask_for_file(self, name: str, what: str) -> Path | None:
        folder = Path(str(self._desk.settings.value("folder", str(Path.home()))))
        chosen, _ = QFileDialog.getSaveFileName(self, "Export", str(folder / name), what)
        return Path(chosen) if chosen else None

    def _export_pane(self, pane: str, form: str) -> None:
        from workbench.plotting import exporting

        plot = self.board.plot(pane)
        path = self._ask_for_file(f"{pane.replace('/', '_')}.{form}", exporting.FORMS[form])
        if plot is None or path is None:
            return
        try:
            exporting.write(plot, form, path)
        except OSError as error:
            self._refused(f"The plot was not exported: {error}")
        else:
            self._desk.says.emit(f"Written to {path}.")

    def _recolour(self, theme: Theme) -> None:
        recolour(self, theme)
        self._colour()
        self.model.colours = self._colours
        self.table.paint_with(theme)
        self.queue.paint_with(theme)
        self.below.run.paint_again()
        self.board.paint_with(theme, self._colours)
        self._draw()


def _remembered(desk: Desk) -> list[str]:
    """The panes that were shown last."""
    kept = desk.settings.value("runs/panes", list(DEFAULT_KEYS))
    return [str(each) for each in kept] if isinstance(kept, list | tuple) else [str(kept)]
