"""Where a training step of a run spends its time and memory: step, layers on the model, flame graph, roofline, memory, operators."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from workbench.desk import Desk
from workbench.gathering import Update
from workbench.live import LiveFeed
from workbench.profiling import trace
from workbench.profiling.bar import ProfileBar
from workbench.profiling.pages import FlamePage, LayersPage, MemoryPage, OperatorsPage, step_words
from workbench.profiling.reading import Files, Profile, read, stored
from workbench.profiling.roofline import Roofline
from workbench.profiling.sensitivity_page import SensitivityPage
from workbench.profiling.step_bar import StepBar
from workbench.programs import Program
from workbench.theme import Theme
from workbench.watching.experiment_list import ExperimentList
from workbench.widgets.surfaces import Card, Empty, Notice, recolour, scrolled
from workbench.widgets.text import label, number


class ProfileView(QWidget):
    """Shows the stored profile of a run, and makes one on demand in a process of its own."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._wanted: int | None = None
        self._wanted_run: int | None = None
        self._seen: Any = None
        self._files: dict[int, Files] = {}
        self._loaded: Files | None = None
        self._runs: dict[int, Any] = {}
        self._working_on = 0
        self._error = ""
        self.profile: Profile | None = None
        self.program = Program(self)
        self.program.told.connect(self._heard)
        self.program.answered.connect(lambda _text: self._profiled())
        self.program.failed.connect(self._refused)
        self.program.stopped.connect(lambda: self._ended("The profile was stopped; nothing was stored."))
        self.feed = LiveFeed(desk, self)
        self.feed.updated.connect(self._show_update)
        self.feed.failed.connect(lambda sentence: self.notice.say("error", sentence))
        self.list = ExperimentList("Profile")
        self.list.chosen.connect(self._watch)
        self.pages = QStackedWidget()
        self.empty = Empty("profile", "Nothing has run yet", "Once an experiment has runs, you see here where their steps spend time and memory.")
        self.pages.addWidget(self.empty)
        self.pages.addWidget(self._page())
        self.empty.paint_with(desk.theme)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self.list)
        splitter.addWidget(self.pages)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([220, 920])
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(splitter)
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self.feed.refresh())

    def _page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.bar = ProfileBar()
        self.bar.run_chosen.connect(self._load)
        self.bar.profile_asked.connect(self.start)
        self.bar.stop_asked.connect(self.program.stop)
        self.bar.folder_asked.connect(self._open_folder)
        self.bar.trace_asked.connect(self.save_trace)
        column.addWidget(self.bar)
        body = QVBoxLayout()
        body.setContentsMargins(14, 12, 14, 12)
        body.setSpacing(12)
        self.notice = Notice()
        body.addWidget(self.notice)
        self.inner = QStackedWidget()
        self.unprofiled = Empty("profile", "This run has not been profiled", "", "Profile this run")
        self.unprofiled.acted.connect(self.start)
        self.unprofiled.paint_with(self._desk.theme)
        self.inner.addWidget(self.unprofiled)
        self.inner.addWidget(self._found())
        self.sensitivity = SensitivityPage(self._desk)
        self.faces = QTabWidget()
        self.faces.setDocumentMode(True)
        self.faces.tabBar().setDrawBase(False)
        self.faces.addTab(self.inner, "Time and memory")
        self.faces.addTab(self.sensitivity, "Sensitivity")
        self.faces.setTabToolTip(1, "Which layers of the finished model bear to be rounded or pruned")
        body.addWidget(self.faces, 1)
        column.addLayout(body, 1)
        return page

    def _found(self) -> QWidget:
        found = QWidget()
        column = QVBoxLayout(found)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        theme = self._desk.theme
        self.step_card = Card("One training step")
        self.step = StepBar(theme)
        self.step_caption = label("", "caption", wrap=True)
        self.step_card.body.addWidget(self.step_caption)
        self.step_card.body.addWidget(self.step)
        column.addWidget(self.step_card)
        card = Card()
        card.layout().setContentsMargins(1, 4, 1, 1)  # type: ignore[union-attr]
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.layers, self.flame, self.memory, self.operators = LayersPage(theme), FlamePage(theme), MemoryPage(theme), OperatorsPage(theme)
        self.roofline = Roofline(theme)
        self.roofline.picked.connect(self.layers.select)
        self.roofline.wants_peaks.connect(self._desk.wants_peaks)
        self.layers.chosen.connect(self.roofline.mark)
        self.flame.graph.named.connect(self.layers.select)
        self._parts = (self.layers, self.flame, self.roofline, self.memory, self.operators)
        for part, name in zip(self._parts, ("Layers", "Flame graph", "Roofline", "Memory", "Operators"), strict=True):
            # Plots keep a height at which they can be read; in a low window their page scrolls.
            self.tabs.addTab(scrolled(part) if part in (self.roofline, self.memory) else part, name)
        card.body.addWidget(self.tabs)
        column.addWidget(card, 1)
        return found

    # --- Which run --------------------------------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.feed.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.feed.stop()

    def leave(self) -> None:
        """The window closes."""
        self.feed.stop()
        self.program.close()
        self.sensitivity.program.close()

    def choose(self, run_id: int) -> None:
        """Show a run."""
        store = self._desk.store
        if store is None:
            return

        def work() -> int:
            from engines.store import queries

            return queries.run(store, run_id).experiment_id

        def show(experiment_id: int) -> None:
            self._wanted, self._wanted_run = experiment_id, run_id
            if self.list.select(experiment_id):
                self._wanted = None
            self.feed.refresh()

        self._desk.errands.run(work, show, lambda sentence: self.notice.say("error", sentence))

    def _watch(self, experiment_id: int) -> None:
        self.notice.clear()
        self._seen = None
        self.feed.watch(experiment_id)

    def _show_update(self, update: Update) -> None:
        self.list.show_experiments(update.experiments, update.active, update.tags)
        self.pages.setCurrentIndex(1 if update.experiments else 0)
        if not update.experiments:
            return
        if self._wanted is not None and self.list.select(self._wanted):
            self._wanted = None
        elif self.list.current is None:
            self.list.list.setCurrentRow(0)
        if update.experiment is None or update.experiment != self.list.current:
            return
        self.bar.title.setText(next((row.name for row in update.experiments if row.id == update.experiment), ""))
        self._look_up(update.experiment, update.runs)

    def _look_up(self, experiment_id: int, runs: list[Any]) -> None:
        """Which of the runs have a profile: asked whenever the store changed, for the command line makes profiles too."""
        store = self._desk.store
        if store is None:
            return

        def show(files: dict[int, Files]) -> None:
            states = [(run.id, run.status) for run in runs]
            if experiment_id != self.list.current or ((states, files) == self._seen and self._wanted_run is None):
                return
            self._seen = states, files
            self._files, self._runs = files, {run.id: run for run in runs}
            self.bar.offer(runs, files, self._wanted_run)
            self._wanted_run = None
            self._load()

        self._desk.errands.run(lambda: stored(store, [run.id for run in runs]), show, lambda sentence: self.notice.say("error", sentence))

    def _load(self) -> None:
        """Read and show the profile of the chosen run."""
        run = self.bar.run
        files = self._files.get(run or 0)
        if files is None:
            self.profile = self._loaded = None
        if files is None or files == self._loaded:
            self._show_state()
            return
        self._loaded = files

        def show(profile: Profile) -> None:
            if files == self._loaded:
                self._show(profile)

        def failed(sentence: str) -> None:
            if files == self._loaded:
                self.profile = None
                self._show_state()
                self.notice.say("error", sentence)

        self._desk.errands.run(lambda: read(files.profile, files.trace), show, failed)

    def _show(self, profile: Profile) -> None:
        self.profile = profile
        data = profile.data
        self.step_card.heading.setText(f"One training step: {number(profile.step_ms)} ms")
        self.step_caption.setText(step_words(data))
        self.step.show_step(data["step_ms"])
        for part in (self.layers, self.flame, self.memory, self.operators):
            part.show_profile(profile)
        self._show_state()
        # In a turn of its own: together with the rest it would hold up the window for longer than a frame.
        QTimer.singleShot(0, self, partial(self.roofline.show_layers, profile.layers, data["roofline"].get("peaks")))

    def _show_state(self) -> None:
        self.sensitivity.show_run(self._runs.get(self.bar.run or 0))
        profiled = self.profile is not None
        self.inner.setCurrentIndex(1 if profiled else 0)
        self.bar.show_state(working=self.program.running, profiled=profiled, traced=profiled and self.profile.trace is not None)  # type: ignore[union-attr]
        if self.profile is not None:
            self.bar.caption.setText(f"{len(self._files)} of {self.bar.runs.count()} runs profiled")
            return
        self.bar.caption.setText("not profiled" if self.bar.run is not None else "no runs")
        if self.program.running:
            self.unprofiled.say("A run is being profiled", "Its steps are trained again in a process of their own; this takes half a minute or so.")
        else:
            words = "A few of its training steps are made again in a process of their own and measured. The run itself is not touched."
            self.unprofiled.say("This run has not been profiled", words)
        self.unprofiled.button.setVisible(not self.program.running and self.bar.run is not None)

    # --- Profiling --------------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Profile the chosen run; the process waits while a timing session holds the machine, and says so."""
        from engines.profiling import MODULE, refusal

        run, store = self._runs.get(self.bar.run or 0), self._desk.store
        if run is None or store is None or self.program.running:
            return
        self.notice.clear()
        if reason := refusal(run):
            self.notice.say("info", reason)
            return
        self.bar.working.say("Starting …")
        self._working_on, self._error = run.id, ""
        self.program.start(["-m", MODULE, "--store", store.url, "--run", str(run.id)])
        self._show_state()

    def _heard(self, line: str) -> None:
        """{"doing": ...} or {"error": ...}; what a library prints is passed over."""
        try:
            said = json.loads(line)
            self._error = str(said.get("error", self._error))
            doing = str(said.get("doing", ""))
        except (ValueError, AttributeError):
            return
        if doing:
            self.bar.working.say(doing[:1].upper() + doing[1:])

    def _profiled(self) -> None:
        self._ended("")
        self._wanted_run = self._working_on
        self.feed.refresh()

    def _refused(self, sentence: str) -> None:
        self._ended("")
        self.notice.say("error", self._error or sentence)

    def _ended(self, sentence: str) -> None:
        self.notice.clear()
        self._show_state()
        if sentence:
            self.notice.say("info", sentence)

    def save_trace(self, target: Path | None = None) -> None:
        """Copy the trace; asks where to unless `target` says it."""
        if self.profile is not None and self.profile.trace is not None:
            trace.save(self._desk, self.profile.trace, self.notice, self, target)

    def _open_folder(self) -> None:
        if self.profile is not None and self.profile.trace is not None:
            trace.open_folder(self.profile.trace)

    def _recolour(self, theme: Theme) -> None:
        recolour(self, theme)
        self.step.paint_with(theme)
        for part in (*self._parts, self.sensitivity):
            part.paint_with(theme)
