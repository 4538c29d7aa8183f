"""The page of one run: what it is, how it went, its figures, what its techniques did, what it cost, where it ran, what it left, what it says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from workbench.asking.question import Question
from workbench.desk import Desk
from workbench.watching.run_columns import KINDS, observed, state_word
from workbench.watching.run_facts import Facts, Figure, read
from workbench.widgets.columns import Columns
from workbench.widgets.flow import Beside
from workbench.widgets.head import TITLE
from workbench.widgets.richtext import RichText
from workbench.widgets.surfaces import Card, Empty, Notice, scrolled
from workbench.widgets.text import ElidedLabel, duration, flag, label, number

SAMPLE_TOKENS = 60
WIDE = 820
"""Pixels from which on there are two columns of cards."""


class RunPage(QStackedWidget):
    """`show_run(id)` reads and shows; `asked(run)` to question its model at length."""

    asked = Signal(int)
    profiled = Signal(int)
    export_wanted = Signal(object)
    """Write the finished model of this run (its row) to a file."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self.facts: Facts | None = None
        self._run: int | None = None
        self.empty = Empty(
            "info", "No run is selected", "Select a run in the table above: what it is, its figures, effects, price and files appear here."
        )
        self.empty.paint_with(desk.theme)
        self.addWidget(self.empty)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(12)
        head = Beside(gap=10, least=TITLE)
        self.title = ElidedLabel("heading")
        self.badge = QLabel()
        self.badge.setProperty("badge", "muted")
        head.addWidget(self.title)
        head.addWidget(self.badge)
        self.ask_button, self.profile_button, self.export_button, self.folder_button = (QPushButton(text) for text in _BUTTONS)
        for button, tip in zip((self.ask_button, self.profile_button, self.export_button, self.folder_button), _BUTTONS.values(), strict=True):
            button.setToolTip(tip)
            head.addWidget(button)
        self.ask_button.clicked.connect(lambda: self.asked.emit(self._run or 0))
        self.profile_button.clicked.connect(lambda: self.profiled.emit(self._run or 0))
        self.export_button.clicked.connect(lambda: self.export_wanted.emit(self.facts.run if self.facts else None))
        self.folder_button.clicked.connect(self._open_folder)
        column.addLayout(head)
        self.notice = Notice()
        column.addWidget(self.notice)
        self._texts: dict[str, RichText] = {}
        cards = [self._card(key, heading, caption) for key, heading, caption in _CARDS]
        cards.append(self._sample_card())
        places = {key: place for place, (key, *_rest) in enumerate(_CARDS)}
        sample = len(_CARDS)
        left = [places[key] for key in ("what", "effects", "events", "artifacts")]
        right = [places[key] for key in ("figures", "price", "machine")]
        both = [left[0], right[0], *left[1:], *right[1:], sample]
        self._columns = Columns(cards, [(0, [both]), (WIDE, [[*left, sample], right])])
        column.addWidget(self._columns)
        column.addStretch(1)
        self.addWidget(scrolled(page))

    def _card(self, key: str, heading: str, caption: str) -> Card:
        card = Card(heading, caption)
        text = self._texts[key] = RichText()
        text.setAccessibleName(heading)
        card.body.addWidget(text)
        return card

    def _sample_card(self) -> Card:
        self.sample_card = Card("A sample", f"{SAMPLE_TOKENS} tokens that the finished model writes, drawn as often as it believes in them.")
        self.sample_button = QPushButton("Let it write")
        self.sample_button.clicked.connect(self.write_sample)
        self.sample = label("", wrap=True, selectable=True)
        self.sample.setAccessibleName("What the model wrote")
        self.sample.hide()
        self._question = Question(self._desk, self.notice, lambda: self._run, self.sample_button, "Writing …")
        row = QHBoxLayout()
        row.addWidget(self.sample_button)
        row.addStretch(1)
        self.sample_card.body.addWidget(self.sample)
        self.sample_card.body.addLayout(row)
        return self.sample_card

    # --- Showing ------------------------------------------------------------------------------------------------------------------------------

    def show_run(self, run_id: int | None) -> None:
        """Read a run and show it; None: that none is selected."""
        if run_id != self._run:
            self._question.forget()
            self.sample.hide()
            self.notice.clear()
        self._run = run_id
        store = self._desk.store
        if run_id is None or store is None:
            self.facts = None
            self.setCurrentIndex(0)
            return

        def show(facts: Facts) -> None:
            if facts.run.id == self._run:
                self._show(facts)

        self._desk.errands.run(lambda: read(store, run_id), show, lambda sentence: self.notice.say("error", sentence))

    def _show(self, facts: Facts) -> None:
        self.facts = facts
        run = facts.run
        self.title.setText(f"{run.variant}, seed {run.seed}  ·  run {run.id}")
        self.badge.setText(state_word(run))
        flag(self.badge, "badge", {"accent": "muted"}.get(KINDS.get(run.status, "muted"), KINDS.get(run.status, "muted")))
        if run.reason:
            self.notice.say("info" if run.status == "cancelled" else "error", f"{run.reason} {run.advice}".strip())
        self.ask_button.setEnabled(facts.has_model)
        self.export_button.setEnabled(facts.has_model)
        self.profile_button.setEnabled(run.over)
        self.folder_button.setEnabled(facts.folder.exists())
        self.sample_card.setVisible(facts.has_model and self._writes(facts))
        self._paint()
        self.setCurrentIndex(1)

    def _writes(self, facts: Facts) -> bool:
        """Whether its task predicts the next token."""
        task = self._desk.entry(str(facts.plan.get("task", {}).get("id"))) or {}
        return not task.get("no_steps")

    def _paint(self) -> None:
        if self.facts is None:
            return
        html = {
            "what": self._what(self.facts), "figures": self._figures(self.facts), "effects": self._effects(self.facts),
            "price": self._price(self.facts), "machine": self._machine(self.facts), "artifacts": self._artifacts(self.facts),
            "events": self._events(self.facts),
        }  # fmt: skip
        for key, text in html.items():
            if self._texts[key].property("shown") != text:  # Else a selection in it would be lost at every look.
                self._texts[key].setProperty("shown", text)
                self._texts[key].setHtml(text)

    def _muted(self, text: str) -> str:
        return f"<span style='color:{self._desk.theme.muted}'>{escape(text)}</span>"

    def _what(self, facts: Facts) -> str:
        theme, run = self._desk.theme, facts.run
        said = ""
        if facts.differences:
            said = f"<p style='margin:0 0 6px 0'>{self._muted(f'What it does otherwise than the baseline, {facts.baseline}:')}</p>"
            rows = ((key, self._muted(old), f"<b style='color:{theme.accent}'>{escape(new)}</b>") for key, old, new in facts.differences)
            said += self._table(rows, ("", facts.baseline, run.variant))
        elif facts.baseline:
            said = f"<p>Its plan is that of the baseline, {escape(facts.baseline)}.</p>"
        else:
            said = "<p style='margin:0 0 6px 0'><b>The baseline</b>: the other variants are held against it.</p>"
        facts_ = [("Techniques", ", ".join(each["id"] for each in facts.plan.get("techniques", [])) or "none")]
        facts_ += [(name, _short(facts.plan[key])) for key, name in _PLAN if facts.plan.get(key)]
        if facts.needs:
            facts_.append(("Comes after", ", ".join(facts.needs)))
        return said + self._table(((name, escape(value)) for name, value in facts_))

    def _figures(self, facts: Facts) -> str:
        shown = [figure for figure in facts.figures if figure.group != "Price"]
        if not shown:
            return self._muted("It has no figures yet: they come when it is done." if not facts.run.over else "It ended without figures.")
        return self._grouped(shown)

    def _price(self, facts: Facts) -> str:
        run = facts.run
        rows = [("Whole run", duration(run.ended - run.started) if run.ended and run.started else "not ended yet")]
        priced = [figure for figure in facts.figures if figure.group == "Price"]
        rows += [(figure.name, f"{number(figure.value)} {figure.unit}".strip()) for figure in priced]
        watched = observed(run).strip()
        note = f"<p style='margin:6px 0 0 0'>{self._muted(watched)}</p>" if watched else ""
        return self._table((name, escape(value)) for name, value in rows) + note

    def _grouped(self, figures: Sequence[Figure]) -> str:
        rows: list[tuple[str, ...]] = []
        group = ""
        several, bounded = any(figure.seeds for figure in figures), any(figure.low is not None for figure in figures)
        for figure in figures:
            if figure.group != group:
                group = figure.group
                rows.append((f"<b>{escape(group)}</b>",))
            interval = f"{number(figure.low)} to {number(figure.high)}" if figure.low is not None and figure.high is not None else ""
            seeds = _range(*figure.seeds) if figure.seeds else ""
            cells = [escape(figure.name), f"{_figure(figure.value)}&nbsp;{escape(figure.unit)}".removesuffix("&nbsp;")]
            rows.append((*cells, *([self._muted(interval)] if bounded else []), *([self._muted(seeds)] if several else [])))
        heads = ("", "this run", *(["interval"] if bounded else []), *(["all seeds"] if several else []))
        return self._table(rows, heads, plain=True)

    def _effects(self, facts: Facts) -> str:
        if not facts.effects:
            return self._muted("Nothing was measured: no technique of this run has changed the model yet, or it has none.")
        return "".join(
            f"<p style='margin:0 0 7px 0'><b>{escape(each.technique or 'run')}</b> {self._muted(each.hook)}<br>{escape(each.sentence)}</p>"
            for each in facts.effects
        )

    def _machine(self, facts: Facts) -> str:
        if not facts.machine:
            return self._muted("Known once a supervisor has taken it.")
        machine = facts.machine
        rows = [(name, str(machine[key])) for key, name in _MACHINE if machine.get(key)]
        rows += [("GPU", f"{gpu['name']}, {number(gpu['memory_mib'])} MiB, driver {gpu['driver']}") for gpu in machine.get("gpus", [])]
        rows += [("Threads", str(facts.plan.get("threads", "default")))]
        if machine.get("memory_mib"):
            rows.append(("Memory", f"{machine['memory_mib'] / 1024:.1f} GiB"))
        rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())))
        return self._table((name, escape(value)) for name, value in rows if value)

    def _artifacts(self, facts: Facts) -> str:
        if not facts.artifacts:
            return self._muted("It has left no files yet.")
        rows = ((each.kind, escape(each.name), f"{each.bytes / 2**20:,.1f} MiB" if each.bytes else "") for each in facts.artifacts)
        return self._table(rows) + f"<p style='margin:6px 0 0 0'>{self._muted(str(facts.folder))}</p>"

    def _events(self, facts: Facts) -> str:
        if not facts.events:
            return self._muted("Nothing out of the ordinary. The whole log is behind the tab Log.")
        colours = {"warning": self._desk.theme.warning, "error": self._desk.theme.danger}
        return "".join(
            f"<p style='margin:0 0 4px 0'><span style='color:{colours.get(each.level, self._desk.theme.muted)}'>{escape(each.level)}</span> "
            f"{escape(each.text)}</p>"
            for each in facts.events
        )

    def _table(self, rows: Iterable[Sequence[str]], heads: Sequence[str] = (), *, plain: bool = False) -> str:
        """Rows of HTML cells; the first cell of a row is text, muted unless plain."""
        top = "".join(f"<td style='padding:0 14px 3px 0'>{self._muted(head)}</td>" for head in heads)
        lines = [f"<tr>{top}</tr>"] if heads else []
        for first, *rest in rows:
            cells = [first if plain else self._muted(first), *rest]
            lines.append("<tr>" + "".join(f"<td style='padding:1px 14px 2px 0'>{cell}</td>" for cell in cells) + "</tr>")
        return f"<table cellspacing='0'>{''.join(lines)}</table>"

    # --- Actions ------------------------------------------------------------------------------------------------------------------------------

    def write_sample(self) -> None:
        """Let the finished model write some text."""

        def show(answer: Any) -> None:
            self.sample.setText(str(answer["text"]).strip())
            self.sample.show()

        self._question.ask("generate", show, prompt="", tokens=SAMPLE_TOKENS, temperature=0.8, top_k=0, seed=0)

    def _open_folder(self) -> None:
        if self.facts is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.facts.folder)))

    def paint_again(self) -> None:
        """Take the colours of the theme."""
        self.empty.paint_with(self._desk.theme)
        self._paint()


_BUTTONS = {
    "Ask": "Let its model write, judge sentences and show its words",
    "Profile": "Where its training step spends time and memory",
    "Export model …": "Write the finished model as one file",
    "Open folder": "The folder with its model, checkpoint and log",
}
_CARDS = (
    ("what", "What it is", ""), ("figures", "Figures", ""), ("effects", "What its techniques did", "As measured on the model, not as promised"),
    ("price", "What it cost", ""), ("machine", "Where it ran", ""), ("artifacts", "What it left", ""), ("events", "What happened", ""),
)  # fmt: skip
_PLAN = (("task", "Task"), ("corpus", "Corpus"), ("budget", "Budget"), ("device", "Device"))
_MACHINE = (("host", "Host"), ("cpu", "Processor"), ("cores", "Cores"), ("system", "System"), ("python", "Python"))


def _short(value: Any) -> str:
    from engines.differences import text

    return text(value)


def _figure(value: float | None) -> str:
    from engines.report import labels

    return labels.figure(value)


def _range(low: float, high: float, count: int) -> str:
    span = _figure(low) if _figure(low) == _figure(high) else f"{_figure(low)} to {_figure(high)}"
    return f"{span} (n = {count})".replace(" ", "\u00a0")
