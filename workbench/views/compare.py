"""Finished variants held against the baseline: the experiment to compare, what is said about it, and its parts behind tabs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from engines.comparability import baseline_missing
from workbench.comparing import exporting
from workbench.comparing.subject import Part, Subject
from workbench.comparing.tabs import Tab, Tabs
from workbench.comparing.timing_panel import TimingPanel
from workbench.desk import Desk
from workbench.gathering import Update
from workbench.live import LiveFeed
from workbench.theme import Theme
from workbench.watching import run_actions
from workbench.watching.experiment_list import ExperimentList
from workbench.widgets.head import Head
from workbench.widgets.surfaces import Empty, Notice, recolour

if TYPE_CHECKING:
    from engines.store.rows import RunRow


class CompareView(QWidget):
    """Compares one experiment; anew whenever one of its runs changes state."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._wanted: int | None = None
        self._states: Any = None
        self._timing = ""
        self._runs: Sequence[RunRow] = ()
        self.subject = Subject(desk.theme, self)
        self.feed = LiveFeed(desk, self, series=False)
        self.feed.updated.connect(self._show_update)
        self.list = ExperimentList("Compare")
        self.list.chosen.connect(self._watch)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self.list)
        self.pages = QStackedWidget()
        self.empty = Empty(
            "compare", "Nothing to compare yet", "Once variants of an experiment are done, they are held against its baseline here.", "Go to the runs"
        )
        self.empty.acted.connect(lambda: desk.wants_runs.emit(self.list.current or 0))
        self.empty.paint_with(desk.theme)
        self.pages.addWidget(self.empty)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.head = self._head()
        column.addWidget(self.head)
        self.timing = TimingPanel(desk)
        self.head.row.insertWidget(1, self.timing.button)
        column.addWidget(self.timing)
        self.notice = Notice()
        self.missing = Notice()
        """Says that the baseline has no finished run, and why."""
        column.addWidget(self.notice)
        column.addWidget(self.missing)
        self.tabs = Tabs(self.subject, _tabs(desk, self.export))
        column.addWidget(self.tabs, 1)
        self.pages.addWidget(page)
        splitter.addWidget(self.pages)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([220, 900])
        row.addWidget(splitter)
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self.feed.refresh())

    @property
    def comparison(self) -> dict[str, Any] | None:
        """What is shown; None before the first experiment was compared."""
        return self.subject.comparison

    def _head(self) -> Head:
        head = Head()
        runs = QPushButton("Runs")
        runs.setToolTip("Show the runs of this experiment")
        runs.clicked.connect(lambda: self._desk.wants_runs.emit(self.list.current or 0))
        head.row.addWidget(runs)
        head.row.addWidget(exporting.export_button(self.export))
        return head

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
        for part in self.tabs.parts.values():
            part.leave()

    def choose(self, experiment_id: int) -> None:
        """Compare an experiment, also one that the list will only hold after the next read."""
        self._wanted = experiment_id
        if self.list.select(experiment_id):
            self._wanted = None
        self.feed.refresh()

    def _watch(self, experiment_id: int) -> None:
        self.notice.clear()
        self.missing.clear()
        self._states = None
        self.feed.watch(experiment_id)

    def _show_update(self, update: Update) -> None:
        self.list.show_experiments(update.experiments, update.active, update.tags)
        if not update.experiments:
            self.pages.setCurrentIndex(0)
            return
        if self._wanted is not None and self.list.select(self._wanted):
            self._wanted = None
        elif self.list.current is None:
            self.list.list.setCurrentRow(0)
        if update.experiment is None or update.experiment != self.list.current:
            return
        self._runs = update.runs
        self._timing = update.timing_words
        self.timing.show_state(update)
        self._caption()
        # Sessions are made after the runs, and a profile may be made at any time: both change what is to be said.
        states = [(run.id, run.status) for run in update.runs], [session[:2] for session in update.timing], update.profiled
        if states != self._states:
            self._states = states
            self._compare(update.experiment)

    def _compare(self, experiment_id: int) -> None:
        store = self._desk.store
        if store is None:
            return

        def work() -> dict[str, Any]:
            from engines.comparison import compare

            return compare(store, [experiment_id])

        def show(comparison: dict[str, Any]) -> None:
            if experiment_id == self.list.current:
                self._show(comparison)

        self._desk.errands.run(work, show, lambda sentence: self.notice.say("error", sentence))

    def _show(self, comparison: dict[str, Any]) -> None:
        variants = comparison["variants"]
        measured = any(variant["results"] for variant in variants.values())
        self.pages.setCurrentIndex(1 if measured else 0)
        failures = [failure for variant in variants.values() for failure in variant["failures"]]
        if not measured:
            self._say_nothing_is_done(failures, any(not run.over for run in self._runs))
            return
        self._say_what_is_missing(comparison)
        self.head.title.setText(comparison["experiment"])
        self.subject.show(comparison)
        self._caption()

    def _caption(self) -> None:
        found = self.comparison
        if found is not None:
            told = f"{len(found['variants'])} variants, baseline “{found['baseline']}”, margin {found['margin']:.1%}"
            self.head.caption.setText(f"{told} · {self._timing}" if self._timing else told)

    def _say_nothing_is_done(self, failures: Sequence[Mapping[str, Any]], awaited: bool) -> None:
        if awaited or not failures:
            self.empty.say("No variant is done yet", "The comparison appears with the first finished run of this experiment.")
            return
        first, others = failures[0], len(failures) - 1
        told = f"r{first['run']} {first['status']}: {first['reason']} {first['advice']}".strip()
        self.empty.say("No run of this experiment finished", told + (f"\n{others} more did not finish either." if others else ""))

    def _say_what_is_missing(self, comparison: Mapping[str, Any]) -> None:
        baseline = comparison["baseline"]
        variant = comparison["variants"][baseline]
        sentence = baseline_missing(baseline, variant["status"], variant["failures"])
        if not sentence:
            self.missing.clear()
        elif not variant["failures"]:
            self.missing.say("info", sentence)
        elif self._desk.store is not None and self._desk.store.read_only:
            self.missing.say("error", sentence)
        else:
            self.missing.say("error", sentence, "Run the baseline again", lambda: self._retry({each["run"] for each in variant["failures"]}))

    def _retry(self, runs: set[int]) -> None:
        run_actions.resume(self._desk, [run for run in self._runs if run.id in runs], self.feed.refresh, lambda why: self.notice.say("error", why))

    # --- Exporting and appearance -------------------------------------------------------------------------------------------------------------

    def export(self, form: str, path: Path | None = None) -> None:
        """Write the report as it is designed; asks where to unless `path` says it. form: one of `exporting.FORMATS`."""
        experiment = self.list.current
        if experiment is None or self.comparison is None:
            self._desk.says.emit("There is no comparison to export yet.")
            return
        path = path or exporting.ask_path(self._desk, self, form, self.head.title.text())
        if path is not None:
            exporting.write(self._desk, [experiment], form, path, self.notice, getattr(self.tabs.parts.get("report"), "design", None))

    def _recolour(self, theme: Theme) -> None:
        self.subject.theme = theme
        recolour(self, theme)
        self.tabs.paint_with(theme)


# Parts are imported as they are first shown: pyqtgraph alone takes a quarter of a second.


def _overview(desk: Desk, subject: Subject) -> Part:
    from workbench.comparing.overview import Overview

    return Overview(subject, desk.settings)


def _forest(desk: Desk, subject: Subject) -> Part:
    from workbench.comparing.forest import Forest

    return Forest(subject, desk)


def _tradeoff(desk: Desk, subject: Subject) -> Part:
    from workbench.comparing.tradeoff import Tradeoff

    return Tradeoff(subject, desk)


def _parallel(desk: Desk, subject: Subject) -> Part:
    from workbench.comparing.parallel import Parallel

    return Parallel(subject, desk)


def _savings(subject: Subject) -> Part:
    from workbench.comparing.savings import Savings

    return Savings(subject)


def _why(desk: Desk, subject: Subject) -> Part:
    from workbench.comparing.why import Why

    return Why(subject, desk)


def _plans(desk: Desk, subject: Subject) -> Part:
    from workbench.comparing.plans import Plans

    return Plans(subject, desk)


def _report(desk: Desk, export: Callable[[str], object], subject: Subject) -> Part:
    from workbench.reporting.designer import Designer

    return Designer(subject, desk, export)


def _several(comparison: Mapping[str, Any]) -> bool:
    return len(comparison["variants"]) > 1


def _saving(comparison: Mapping[str, Any]) -> bool:
    return any(any(variant.get("savings", {}).values()) for name, variant in comparison["variants"].items() if name != comparison["baseline"])


def _tabs(desk: Desk, export: Callable[[str], object]) -> list[Tab]:
    return [
        Tab("overview", "Overview", "What the comparison says, and every verdict", partial(_overview, desk)),
        Tab("forest", "Forest", "Ratios to the baseline with their intervals", partial(_forest, desk), _several),
        Tab("tradeoff", "Trade-off", "Any two figures against each other, with the front that no variant beats", partial(_tradeoff, desk)),
        Tab(
            "parallel",
            "Parallel",
            "Every variant as a line through its settings and figures, and which settings go with a figure",
            partial(_parallel, desk),
            _several,
        ),
        Tab("savings", "Savings", "What each variant claims, stores, executes, and what was measured", _savings, _saving),
        Tab("why", "Why", "Explanations, and what the techniques changed", partial(_why, desk), _several),
        Tab("plans", "Differences", "What the plans of variants and of experiments say otherwise", partial(_plans, desk)),
        Tab("report", "Report", "Choose what the report shows, write text between, and save it", partial(_report, desk, export)),
    ]
