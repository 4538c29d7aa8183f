"""Ask a finished language model: let it write on, and see how probable it finds each word of a sentence."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QStackedWidget, QTextBrowser, QVBoxLayout, QWidget

from workbench.desk import Desk
from workbench.forms import Form
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.surfaces import Card, Empty, Notice, recolour, scrolled
from workbench.widgets.text import label, number

SCHEMA: dict[str, Any] = {
    "properties": {
        "tokens": {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 100, "unit": "tokens", "description": "How much it writes."},
        "temperature": {
            "type": "number",
            "minimum": 0,
            "default": 0.8,
            "description": "0 takes the most probable word each time, 1 draws as often as the model believes.",
        },
        "top_k": {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "unit": "words",
            "description": "Draw only from so many most probable words; 0: from all.",
        },
        "seed": {"type": "integer", "minimum": 0, "default": 0, "description": "The same seed writes the same."},
    }
}


class AskView(QWidget):
    """The inspector answers, in its own process; the window never holds a model."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._wanted: int | None = None
        self._answer: dict[str, Any] | None = None
        self.pages = QStackedWidget()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.pages)
        self.empty = Empty(
            "ask",
            "No finished model yet",
            "Once a run of a language model is done, you can let it write and judge sentences of yours.",
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
        row.addWidget(self.runs, 1)
        row.addStretch(1)
        column.addLayout(row)
        self.notice = Notice()
        column.addWidget(self.notice)
        column.addWidget(self._writing())
        column.addWidget(self._judging())
        column.addStretch(1)
        self.pages.addWidget(scrolled(page))
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self._load())

    def _writing(self) -> Card:
        card = Card("Let it write", "It goes on after your words; without any it starts by itself.")
        self.prompt = QPlainTextEdit()
        self.prompt.setPlaceholderText("Words to begin with")
        self.prompt.setAccessibleName("Words to begin with")
        self.prompt.setFixedHeight(64)
        self.prompt.setTabChangesFocus(True)
        card.body.addWidget(self.prompt)
        self.form = Form(SCHEMA)
        self.form.set_values({})
        card.body.addWidget(self.form)
        self.write_button = QPushButton("Write")
        self.write_button.setProperty("primary", True)
        self.write_button.clicked.connect(self.write)
        card.body.addWidget(self.write_button, 0, Qt.AlignmentFlag.AlignLeft)
        self.text = QTextBrowser()
        self.text.setAccessibleName("What the model wrote")
        self.text.setMinimumHeight(150)
        self.text.hide()
        card.body.addWidget(self.text)
        return card

    def _judging(self) -> Card:
        card = Card("How probable is a sentence?", "Exact, word by word. The darker a word, the more surprised the model was by it.")
        row = QHBoxLayout()
        self.sentence = QPlainTextEdit()
        self.sentence.setPlaceholderText("A sentence of yours")
        self.sentence.setAccessibleName("A sentence to judge")
        self.sentence.setFixedHeight(64)
        self.sentence.setTabChangesFocus(True)
        row.addWidget(self.sentence, 1)
        card.body.addLayout(row)
        self.judge_button = QPushButton("Judge")
        self.judge_button.clicked.connect(self.judge)
        card.body.addWidget(self.judge_button, 0, Qt.AlignmentFlag.AlignLeft)
        self.verdict = label("", "strong", wrap=True, selectable=True)
        self.verdict.hide()
        card.body.addWidget(self.verdict)
        self.words = QTextBrowser()
        self.words.setAccessibleName("Log probability of each word")
        self.words.setMinimumHeight(110)
        self.words.hide()
        card.body.addWidget(self.words)
        return card

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
        self.runs.clear()
        for run_id, text in runs:
            self.runs.addItem(text, run_id)
        self.runs.setCurrentIndex(max(0, self.runs.findData(kept)) if runs else -1)
        self._wanted = None
        self.pages.setCurrentIndex(1 if runs else 0)

    # --- Asking -----------------------------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Let the model write on after the prompt."""
        if self.form.problems():
            return
        values = {key: property_["default"] for key, property_ in SCHEMA["properties"].items()} | self.form.values()

        def show(answer: Any) -> None:
            prompt = self.prompt.toPlainText()
            written = answer["text"]
            begin = written[: len(prompt)] if written.startswith(prompt) else ""
            theme = self._desk.theme
            self.text.setHtml(
                f"<p style='white-space: pre-wrap'><span style='color:{theme.muted}'>{escape(begin)}</span>{escape(written[len(begin) :])}</p>"
            )
            self.text.show()

        self._ask(self.write_button, "Writing …", "generate", show, prompt=self.prompt.toPlainText(), **values)

    def judge(self) -> None:
        """Show the probability of the sentence and of each of its words."""

        def show(answer: Any) -> None:
            self._answer = answer
            self._show_words()

        self._ask(self.judge_button, "Judging …", "probability", show, text=self.sentence.toPlainText())

    def _ask(self, button: QPushButton, waiting: str, question: str, show: Any, **fields: Any) -> None:
        run, store = self.runs.currentData(), self._desk.store
        if run is None or store is None:
            return
        text = button.text()
        button.setText(waiting)
        button.setEnabled(False)
        self.notice.clear()

        def settle() -> None:
            button.setText(text)
            button.setEnabled(True)

        def answered(answer: Any) -> None:
            settle()
            show(answer)

        def refused(sentence: str) -> None:
            settle()
            self.notice.say("error", sentence)

        self._desk.inspector.ask(question, answered, refused, store=store.url, run=run, **fields)

    def _show_words(self) -> None:
        answer = self._answer
        if answer is None:
            return
        perplexity = "" if answer.get("perplexity") is None else f", perplexity {number(answer['perplexity'])}"
        probability = f"e^−{answer['nats']:.2f}" if answer["nats"] > 20 else f"{math.exp(-answer['nats']):.3g}"
        self.verdict.setText(f"Probability {probability}: {answer['nats']:.2f} nats over {answer['tokens']} tokens{perplexity}.")
        self.verdict.show()
        spans = []
        for word in answer["words"]:
            surprise = min(1.0, -word["log_prob"] / 12)
            shade = QColor(self._desk.theme.accent)
            ground = QColor(self._desk.theme.surface)
            tones = ((shade.red(), ground.red()), (shade.green(), ground.green()), (shade.blue(), ground.blue()))
            mixed = [round(g + (s - g) * surprise * 0.75) for s, g in tones]
            ink = self._desk.theme.on_accent if surprise > 0.65 else self._desk.theme.text
            shown = escape(word["token"].replace("\n", "⏎").replace("Ġ", " ").replace("Ċ", "⏎")) + ("*" if word.get("unknown") else "")
            spans.append(
                f"<td align='center'><span style='background:rgb({mixed[0]},{mixed[1]},{mixed[2]}); color:{ink}'>&nbsp;{shown}&nbsp;</span>"
                f"<br><span style='color:{self._desk.theme.muted}; font-size: small'>{word['log_prob']:.2f}</span></td>"
            )
        rows = "".join(
            f"<table cellpadding='4' style='float: left'><tr>{''.join(spans[start : start + 10])}</tr></table>" for start in range(0, len(spans), 10)
        )
        unknown = any(word.get("unknown") for word in answer["words"])
        note = f"<p style='color:{self._desk.theme.muted}'>* not in the vocabulary, judged as the unknown word.</p>" if unknown else ""
        self.words.setHtml(rows + note)
        self.words.show()

    def _recolour(self, theme: Theme) -> None:
        recolour(self, theme)
        self._show_words()
