"""Studies: one operation measured over sizes, with an expectation that the figures meet or refute; run here, live, and what earlier ones found."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from workbench.cards import card_html
from workbench.desk import Desk
from workbench.forms import Form
from workbench.programs import Program
from workbench.studying.bar import StudyBar
from workbench.studying.hearing import Hearing, parameter_words
from workbench.studying.result_page import ResultPage
from workbench.studying.study_list import StudyList
from workbench.theme import Theme
from workbench.watching.experiment_list import ago
from workbench.widgets.richtext import RichText
from workbench.widgets.surfaces import Card, Empty, Notice, recolour, scrolled, topped

REDRAW_MS = 150
"""How long points are gathered before the picture is drawn again."""


class StudiesView(QWidget):
    """One study at a time is measured, in a process of its own; whichever study is shown meanwhile."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self.study = ""
        self.measured = ""
        self.hearing = Hearing()
        self._values: dict[str, dict[str, Any]] = {}
        self._rows: list[Any] = []
        self.form = Form({})
        self.program = Program(self)
        self.program.told.connect(self._heard)
        self.program.answered.connect(lambda _text: self._over(""))
        self.program.failed.connect(self._over)
        self.program.stopped.connect(lambda: self._over(""))
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(REDRAW_MS)
        self._late.timeout.connect(self._redraw)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        self.list = StudyList()
        self.list.chosen.connect(self._show)
        splitter.addWidget(self.list)
        self.pages = QStackedWidget()
        self.empty = Empty("studies", "Reading the catalogue …", "Studies are plugins; they appear with the catalogue.")
        self.empty.paint_with(desk.theme)
        self.pages.addWidget(self.empty)
        self.pages.addWidget(self._page())
        splitter.addWidget(self.pages)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([270, 870])
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(splitter)
        desk.catalogue_ready.connect(self._fill)
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self._read())
        if desk.catalogue is not None:
            self._fill(desk.catalogue)

    def _page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.bar = StudyBar()
        self.bar.result_chosen.connect(self._load)
        self.bar.run_asked.connect(self.start)
        self.bar.stop_asked.connect(self.program.stop)
        column.addWidget(self.bar)
        body = QVBoxLayout()
        body.setContentsMargins(14, 8, 14, 0)
        body.setSpacing(8)
        self.notice = Notice()
        body.addWidget(self.notice)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setDrawBase(False)
        self.results = QStackedWidget()
        self.unmeasured = Empty("studies", "Not measured here yet", "", "Run this study")
        self.unmeasured.acted.connect(self.start)
        self.unmeasured.paint_with(self._desk.theme)
        self.results.addWidget(self.unmeasured)
        self.result = ResultPage(self._desk.theme)
        self.results.addWidget(scrolled(topped(self.result, above=12, below=16)))
        self.tabs.addTab(self.results, "Result")
        settings = Card("Parameters", "What the next run of this study uses; what stands in a result is told with it.")
        self._form_box = settings.body
        self._form_box.addWidget(self.form)
        self.tabs.addTab(scrolled(topped(settings, above=12, below=16)), "Parameters")
        about = Card()
        self.card = RichText()
        self.card.setAccessibleName("About this study")
        about.body.addWidget(self.card)
        self.tabs.addTab(scrolled(topped(about, above=12, below=16)), "About")
        body.addWidget(self.tabs, 1)
        column.addLayout(body, 1)
        return page

    # --- Which study ------------------------------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._read()

    def leave(self) -> None:
        """The window closes; a study that is being measured ends with it."""
        self._late.stop()
        self.program.close()

    def _fill(self, catalogue: dict[str, Any]) -> None:
        found = self.list.fill(catalogue["plugins"], self._desk.theme, self.study)
        self.pages.setCurrentIndex(1 if found else 0)
        if not found:
            self.empty.say("No studies", "The catalogue holds no plugin of the kind study.")

    def choose(self, plugin_id: str) -> None:
        """Show a study of the catalogue."""
        self.list.select(plugin_id)

    def _show(self, plugin_id: str) -> None:
        entry = self._desk.entry(plugin_id)
        if entry is None:
            return
        if self.study:
            self._values[self.study] = self.form.values()
        self.study = plugin_id
        self.notice.clear()
        self.bar.title.setText(str(entry["title"]))
        self.bar.caption.setText(plugin_id)
        old, self.form = self.form, Form(entry["parameters"])
        self.form.set_values(self._values.get(plugin_id, {}))
        self._form_box.replaceWidget(old, self.form)
        old.hide()
        old.deleteLater()
        self.card.say(card_html(entry, self._desk.theme), str(entry["card"]))
        self._rows = []
        self.bar.history.clear()
        if not entry["available"]["ok"]:
            self.notice.say("warning", f"Not available here: {entry['available']['reason']}")
        self._show_state()
        self._read()

    # --- Earlier results --------------------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """The results of this study that the store holds."""
        store, plugin_id = self._desk.store, self.study
        if store is None or not plugin_id:
            return

        def work() -> list[Any]:
            from engines import studying
            from engines.store import queries

            studying.settle(store)
            return [row for row in queries.studies(store, plugin_id) if row.status != "running"]

        def show(rows: list[Any]) -> None:
            if plugin_id == self.study:
                self._offer(rows)

        self._desk.errands.run(work, show, lambda sentence: self.notice.say("error", sentence))

    def _offer(self, rows: list[Any]) -> None:
        if [row.id for row in rows] == [row.id for row in self._rows] and self.bar.history.count():
            return
        self._rows = rows
        schema = (self._desk.entry(self.study) or {}).get("parameters", {})
        self.bar.history.clear()
        for row in reversed(rows):
            state = "" if row.status == "done" else f"{row.status}, "
            self.bar.history.addItem(f"#{row.id}  {state}{ago(row.created)}  ·  {parameter_words(row.parameters, schema)}", row.id)
        done = next((row.id for row in reversed(rows) if row.status == "done"), None)
        self.bar.history.setCurrentIndex(max(0, self.bar.history.findData(done)) if rows else -1)
        self._load()

    def _load(self) -> None:
        """Read and show the chosen result."""
        store, number = self._desk.store, self.bar.history.currentData()
        self._show_state()
        if store is None or number is None or self._live:
            return

        def work() -> Any:
            from engines.store import queries

            return queries.study(store, number)

        def show(row: Any) -> None:
            if number != self.bar.history.currentData() or row.study != self.study or self._live:
                return
            if row.result:
                self.result.show_result(row.result)
                self.results.setCurrentIndex(1)
            else:
                self.unmeasured.say(f"Measurement #{row.id} left no result", f"{row.status.capitalize()}. {row.reason}")
                self.results.setCurrentIndex(0)

        self._desk.errands.run(work, show, lambda sentence: self.notice.say("error", sentence))

    # --- Measuring --------------------------------------------------------------------------------------------------------------------------

    @property
    def _live(self) -> bool:
        """Whether the study that is shown is the one that is measured now."""
        return self.program.running and self.measured == self.study

    def start(self) -> None:
        """Measure the study that is shown."""
        store = self._desk.store
        if store is None or not self.study or self.program.running:
            return
        wrong = self.form.problems()
        if wrong:
            self.tabs.setCurrentIndex(1)
            self.form.focus(next(iter(wrong)))
            self.notice.say("error", "The study cannot run yet: " + " ".join(f"{key}: {sentence}" for key, sentence in wrong.items()))
            return
        from engines import studying

        self.notice.clear()
        self.measured, self.hearing = self.study, Hearing()
        self.program.start(studying.command(store.url, self.study, self.form.values())[1:], studying.environment())
        self.tabs.setCurrentIndex(0)
        self._show_state()

    def _heard(self, line: str) -> None:
        changed = self.hearing.hear(line)
        self.bar.working.say(self._progress(), self.hearing.share)
        if changed and not self._late.isActive():
            self._late.start()

    def _progress(self) -> str:
        title = (self._desk.entry(self.measured) or {}).get("title", self.measured)
        return self.hearing.progress if self.measured == self.study else f"{title}: {self.hearing.progress}"

    def _redraw(self) -> None:
        if self._live:
            self.result.show_points(self.hearing.result)

    def _over(self, sentence: str) -> None:
        """The process has ended; sentence: why it died, where it could not say so itself."""
        self._late.stop()
        ending = self.hearing.ending
        self._rows = []
        self._show_state()
        self._read()
        status, reason = ending.get("status", "failed"), ending.get("reason") or sentence
        if status == "cancelled":
            self.notice.say("info", "The study was stopped; a study that is stopped leaves no result.")
        elif status != "done":
            self.notice.say("error", reason)

    def _show_state(self) -> None:
        """What can be done now, and what is shown while there is no result."""
        entry = self._desk.entry(self.study) or {}
        available = bool(entry.get("available", {}).get("ok"))
        self.bar.working.setVisible(self.program.running)
        self.bar.working.say(self._progress(), self.hearing.share)
        self.bar.run_button.setEnabled(available and not self.program.running)
        self.bar.history.setVisible(bool(self._rows))
        if self._live:
            self.result.show_result(self.hearing.result, str(entry.get("expects", "")))
            self.results.setCurrentIndex(1)
        elif not self._rows:
            words = f"It expects: {entry['expects']}" if entry.get("expects") else ""
            self.unmeasured.say("Not measured here yet", f"{words} It holds the machine while it measures; runs wait meanwhile.".strip())
            self.unmeasured.button.setVisible(available and not self.program.running)
            self.results.setCurrentIndex(0)

    def _recolour(self, theme: Theme) -> None:
        recolour(self, theme)
        self.result.paint_with(theme)
        entry = self._desk.entry(self.study)
        if self._desk.catalogue is not None:
            self.list.fill(self._desk.catalogue["plugins"], theme, self.study)
        if entry is not None:
            self.card.say(card_html(entry, theme), str(entry["card"]))
