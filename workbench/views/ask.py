"""Ask a finished model: let it write on, see how probable it finds each word of a sentence, and which words are near each other in it."""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from workbench.asking.text_face import TextFace
from workbench.asking.words_face import WordsFace
from workbench.desk import Desk
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.surfaces import Empty, Notice, recolour, scrolled
from workbench.widgets.text import label

TEXT, WORDS = 0, 1
"""Places of the faces."""


class AskView(QWidget):
    """The inspector answers, in its own process; the window never holds a model. A model has the faces that its task and its parts allow."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._wanted: int | None = None
        self._run: int | None = None
        self.pages = QStackedWidget()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.pages)
        self.empty = Empty(
            "ask",
            "No finished model yet",
            "Once a run is done, you can let a language model write and judge sentences of yours, and look at which words it holds for near.",
            "Go to the experiment",
        )
        self.empty.acted.connect(desk.wants_editor)
        self.empty.paint_with(desk.theme)
        self.pages.addWidget(self.empty)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(24, 20, 24, 24)
        column.setSpacing(14)
        column.addWidget(label("Ask a finished model", "title"))
        row = QHBoxLayout()
        row.addWidget(label("Model of the run", "muted"))
        self.runs = Choice()
        self.runs.setAccessibleName("Which finished run")
        self.runs.setMaximumWidth(560)
        self.runs.currentIndexChanged.connect(lambda _place: self._chosen())
        row.addWidget(self.runs, 1)
        row.addStretch(1)
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.setAccessibleName("What is asked")
        for title, tip in (("Text", "Let it write, and judge sentences"), ("Words", "Which words are near each other in its vectors")):
            self.tabs.setTabToolTip(self.tabs.addTab(title), tip)
        row.addWidget(self.tabs)
        column.addLayout(row)
        self.notice = Notice()
        column.addWidget(self.notice)
        self.text = TextFace(desk, self.notice, lambda: self._run)
        self.words = WordsFace(desk, self.notice, lambda: self._run)
        self.faces = QStackedWidget()
        self.faces.setEnabled(False)
        self.faces.addWidget(scrolled(self.text))
        self.faces.addWidget(self.words)
        column.addWidget(self.faces, 1)
        self._stale = {TEXT, WORDS}
        self.tabs.currentChanged.connect(self._show_face)
        self.pages.addWidget(page)
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self._load())

    # --- Which model ------------------------------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._load()

    def choose(self, run_id: int) -> None:
        """Ask the model of this run."""
        self._wanted = run_id
        self._load()

    def _load(self) -> None:
        store = self._desk.store
        if store is None:
            return

        def work() -> list[tuple[int, str]]:
            from engines.store import queries

            names = {row.id: row.name for row in queries.experiments(store)}
            done = [run for run in queries.runs(store, status="done") if run.experiment_id in names]
            return [(run.id, f"{run.variant}, seed {run.seed}  –  {names[run.experiment_id]} (#{run.experiment_id})") for run in reversed(done)]

        self._desk.errands.run(work, self._offer, lambda sentence: self.notice.say("error", sentence))

    def _offer(self, runs: list[tuple[int, str]]) -> None:
        kept = self._wanted if self._wanted is not None else self.runs.currentData()
        self._wanted = None
        # Quietly: every run that is chosen on the way, and be it for a moment, would drop the question under way.
        self.runs.blockSignals(True)
        self.runs.clear()
        for run_id, text in runs:
            self.runs.addItem(text, run_id)
        self.runs.setCurrentIndex(max(0, self.runs.findData(kept)) if runs else -1)
        self.runs.blockSignals(False)
        self.pages.setCurrentIndex(1 if runs else 0)
        self._chosen()

    def _chosen(self) -> None:
        """Another run may have been chosen: see what its model can be asked."""
        run, store = self.runs.currentData(), self._desk.store
        if run is None or store is None or run == self._run:
            return
        self._run = run
        self.notice.clear()
        self.faces.setEnabled(False)  # a question asked before it is known what this model can be asked would be lost

        def work() -> dict[str, Any]:
            from engines.store import queries

            return queries.plan(store, run)

        def offer(plan: dict[str, Any]) -> None:
            if run == self._run:
                self._offer_faces(plan)

        self._desk.errands.run(work, offer, lambda sentence: self.notice.say("error", sentence))

    def _offer_faces(self, plan: dict[str, Any]) -> None:
        """Text where the task predicts the next token, words where the model has an embedding; text where neither is known."""
        task = self._desk.entry(str(plan.get("task", {}).get("id"))) or {}
        offered = {WORDS: bool(plan.get("model", {}).get("embedding")), TEXT: not task.get("no_steps")}
        offered[TEXT] = offered[TEXT] or not offered[WORDS]
        self._stale = {TEXT, WORDS}
        if not offered[self.tabs.currentIndex()]:
            self.tabs.setCurrentIndex(TEXT if offered[TEXT] else WORDS)
        # Both tabs or none: Qt draws a tab that comes back where there was no room for it.
        self.tabs.setVisible(all(offered.values()))
        self._show_face(self.tabs.currentIndex())
        self.faces.setEnabled(True)

    def _show_face(self, place: int) -> None:
        """Show a face; it looks at the model when it is first shown with it, so that no model is loaded for nothing."""
        self.faces.setCurrentIndex(place)
        if place in self._stale and self._run is not None:
            self._stale.discard(place)
            (self.text if place == TEXT else self.words).look()

    def _recolour(self, theme: Theme) -> None:
        recolour(self, theme)
        self.text.paint_again()
        self.words.paint_again()
