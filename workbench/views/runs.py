"""Runs, live: which experiments there are, what the runs of the chosen one are doing, below it curves, page and log of a run; the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from workbench.desk import Desk
from workbench.gathering import Update
from workbench.live import LiveFeed
from workbench.theme import Theme
from workbench.watching import run_actions
from workbench.watching.drawn_curves import DrawnCurves
from workbench.watching.experiment_list import ExperimentList
from workbench.watching.keeping import Keeping
from workbench.watching.queue_page import QueuePage, left_words, summary
from workbench.watching.run_columns import DEVICE
from workbench.watching.run_commands import RunCommands
from workbench.watching.run_list import RunList
from workbench.watching.run_tabs import CURVES, LOG, RUN, RunTabs
from workbench.watching.runs_bar import RunsBar
from workbench.widgets.surfaces import Empty, Notice, recolour

if TYPE_CHECKING:
    from engines.store.rows import RunRow

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
        self.keeping = Keeping(self._desk, self.list, self.notice, self.feed.refresh, self)
        self.bar.delete.connect(self.delete)
        self.bar.searched.connect(self._search)
        column.addWidget(self.bar)
        inside = QWidget()
        body = QVBoxLayout(inside)
        body.setContentsMargins(14, 14, 14, 12)
        body.setSpacing(10)
        body.addWidget(self.notice)
        self.table = RunList(self._desk.theme)
        self.model = self.table.runs
        self.commands = RunCommands(self._desk, self.bar, self.table, self.list, self.notice, self.feed.refresh, self)
        self.exporting = self.commands.exporting
        self.table.chosen.connect(self._selected)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(lambda point: self.bar.menu.popup(self.table.viewport().mapToGlobal(point)))
        self.below = RunTabs(self._desk)
        self.table.doubleClicked.connect(lambda _index: self.below.tabs.setCurrentIndex(RUN))
        self.bar.log.connect(self.below.toggle_log)
        self.board, self.controls, self.log = self.below.board, self.below.controls, self.below.log
        self.below.tabs.currentChanged.connect(lambda _place: self._tab_changed())
        self.curves = DrawnCurves(self._desk, self.feed, self.table, self.below, self)
        self.curves.failed.connect(self._refused)
        self.table.sorted.connect(self.curves.prefer)
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
        self.curves.watch_another()
        self.bar.search.clear()
        self.notice.give_way()
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
        colours = self.curves.colour(update)
        same = before is not None and before.experiment == update.experiment and len(before.runs) == len(update.runs)
        self.model.show_runs(update.runs, update.latest, colours)
        self.table.setColumnHidden(DEVICE, not any(key.startswith("memory/device") for key in update.units))
        if not same:
            self._fit_table()
        self._choose_run()
        self._offer()
        self.curves.show_update(update)
        if self.below.shown == LOG:
            self.below.fill(self.selected)
        elif self.below.shown == RUN and len(self.selected) == 1:
            earlier = next((run for run in before.runs if run.id == self.selected[0].id), None) if before is not None else None
            if earlier != self.selected[0]:
                self.below.run.show_run(self.selected[0].id)

    def _fit_table(self) -> None:
        """As tall as its rows, up to five or six; the splitter lets the person change it."""
        wanted = self.table.fit(6 if self.height() > 900 else 5)
        self.vertical.setSizes([wanted, max(100, self.vertical.height() - wanted)])

    # --- Selection and actions ----------------------------------------------------------------------------------------------------------------

    @property
    def selected(self) -> list[RunRow]:
        return self.table.selected

    def _selected(self) -> None:
        self._offer()
        self.notice.give_way()
        self.curves.prefer()
        self._tab_changed()

    def _say_why(self, selected: list[RunRow]) -> None:
        """Why a selected run did not end as it should; its own page says that itself."""
        failed = next((run for run in selected if run.reason and run.status in ("failed", "lost", "cancelled")), None)
        said = f"{failed.variant}, seed {failed.seed}: {failed.reason} {failed.advice}".strip() if failed is not None else ""
        if self.below.shown == RUN and len(selected) == 1:
            if said and self.notice.text == said:
                self.notice.give_way()
        elif failed is not None:
            self.notice.say("info" if failed.status == "cancelled" else "error", said)

    def _tab_changed(self) -> None:
        self._say_why(self.selected)
        if self.below.shown == CURVES:
            self.curves.draw_soon()
        else:
            self.below.fill(self.selected)

    def _offer(self) -> None:
        left = self._update.left if self._update is not None else None
        found = self.model.shown if self.model.narrowed else None
        self.bar.show_state(
            self.model.runs, self.selected, found, log_shown=self.below.shown == LOG, left=left_words(left) if left else "",
            timing=self._update.timing_words if self._update is not None else "",
        )  # fmt: skip

    def delete(self) -> None:
        """Delete the experiment that is shown; the notice brings it back."""
        experiment = self.list.current
        if experiment is not None:
            self.board.clear()
            self.list.list.setCurrentRow(-1)
            self.feed.watch(None)
            self.keeping.delete(experiment)

    def _refused(self, sentence: str) -> None:
        self.notice.say("error", sentence)

    def _search(self, words: str) -> None:
        self.model.search(words)
        self.vertical.setSizes(self.vertical.sizes())  # What the table gives up goes to what stands below it.
        self.curves.prefer()
        self._offer()

    def _recolour(self, theme: Theme) -> None:
        recolour(self, theme)
        self.table.paint_with(theme)
        self.queue.paint_with(theme)
        self.below.run.paint_again()
        self.curves.paint_with(theme)
