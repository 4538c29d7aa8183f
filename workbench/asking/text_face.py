"""A language model writes on, and says how probable it finds each word of a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QPushButton, QTextBrowser, QVBoxLayout, QWidget

from workbench.asking.question import Question
from workbench.desk import Desk
from workbench.forms import Form
from workbench.widgets.surfaces import Card, Notice
from workbench.widgets.text import label, number

SCHEMA: dict[str, Any] = {
    "properties": {
        "tokens": {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 100, "description": "How much it writes."},
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



class TextFace(QWidget):
    """`run` tells which run is asked; refusals are said in `notice`."""

    def __init__(self, desk: Desk, notice: Notice, run: Callable[[], int | None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk, self._notice, self._run = desk, notice, run
        self._answer: dict[str, Any] | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(14)
        column.addWidget(self._writing())
        column.addWidget(self._judging())
        column.addStretch(1)

    def look(self) -> None:
        """Another model is asked: what the last one said goes."""
        self._to_write.forget()
        self._to_judge.forget()
        self._answer = None
        for said in (self.text, self.verdict, self.words):
            said.hide()

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
        self._to_write = Question(self._desk, self._notice, self._run, self.write_button, "Writing …")
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
        self._to_judge = Question(self._desk, self._notice, self._run, self.judge_button, "Judging …")
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

        self._to_write.ask("generate", show, prompt=self.prompt.toPlainText(), **values)

    def judge(self) -> None:
        """Show the probability of the sentence and of each of its words."""

        def show(answer: Any) -> None:
            self._answer = answer
            self._show_words()

        self._to_judge.ask("probability", show, text=self.sentence.toPlainText())

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

    def paint_again(self) -> None:
        """Take the colours of the theme."""
        self._show_words()
