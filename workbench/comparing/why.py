"""Why: for each variant the explanations that its figures carry, what its techniques changed, and what is to be noted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from engines.report import labels
from workbench.comparing.savings_table import new_techniques
from workbench.comparing.subject import Part, Subject
from workbench.desk import Desk
from workbench.widgets.surfaces import Card, emptied, scrolled
from workbench.widgets.text import label

AT_ONCE = 2
"""Cards that are made in one turn of the event loop; more would be felt."""
UNEXPLAINED = "No rule found the figures it needs to explain anything here."


class Why(Part):
    """All variants, or the selected one alone."""

    def __init__(self, subject: Subject, desk: Desk) -> None:
        super().__init__(subject)
        self._desk = desk
        self._comparison: Mapping[str, Any] | None = None
        self._waiting: list[str] = []
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(14, 14, 14, 20)
        column.setSpacing(14)
        self.note = label("", "caption", wrap=True)
        column.addWidget(self.note)
        self.cards = QVBoxLayout()
        self.cards.setSpacing(14)
        column.addLayout(self.cards)
        self.all = QPushButton("Show all variants")
        self.all.setProperty("quiet", True)
        self.all.clicked.connect(lambda: subject.select(""))
        column.addWidget(self.all)
        column.addStretch(1)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._make_some)
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.addWidget(scrolled(body))

    def draw(self, comparison: Mapping[str, Any]) -> None:
        self._comparison = comparison

    def mark(self, name: str) -> None:
        comparison = self._comparison
        if comparison is None:
            return
        emptied(self.cards)
        others = [each for each in comparison["variants"] if each != comparison["baseline"]]
        explained = sum(bool(comparison["variants"][each].get("explanations")) for each in others)
        self.note.setText(
            "Every sentence is made of figures of this comparison; a rule whose figures were not measured says nothing. "
            f"{explained} of {len(others)} variants are explained."
        )
        self._waiting = [name] if name else others or [comparison["baseline"]]
        self.all.setVisible(bool(name) and len(comparison["variants"]) > 1)
        self._make_some()

    def _make_some(self) -> None:
        now, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        for name in now:
            self.cards.addWidget(self._card(name))
        if self._waiting:
            self._later.start(0)

    def _card(self, name: str) -> Card:
        assert self._comparison is not None
        variant = self._comparison["variants"][name]
        baseline = name == self._comparison["baseline"]
        card = Card(name, "the baseline" if baseline else ", ".join(new_techniques(self._comparison, name)))
        if "profile" in variant:
            run = int(variant["profile"])
            link = QPushButton(f"Profile of run {run}")
            link.setProperty("quiet", True)
            link.setToolTip("Where its training step spends time and memory")
            link.clicked.connect(lambda: self._desk.wants_profile.emit(run))
            card.corner.addWidget(link, 0, Qt.AlignmentFlag.AlignTop)
        for sentence in labels.over_limits(variant):
            card.body.addWidget(label(sentence, "error", wrap=True, selectable=True))
        found = [entry["sentence"] for entry in variant.get("explanations") or ()]
        for sentence in found:
            card.body.addWidget(label(f"• {sentence}", wrap=True, selectable=True))
        if not found and not baseline:
            card.body.addWidget(label(UNEXPLAINED, "muted", wrap=True))
        if variant["effects"]:
            card.body.addSpacing(4)
            card.body.addWidget(label("What the techniques changed", "strong"))
            for effect in variant["effects"]:
                card.body.addWidget(label(f"{effect['technique']}: {effect['sentence']}", wrap=True, selectable=True))
        if variant["notes"]:
            card.body.addSpacing(4)
            card.body.addWidget(label("To be noted", "strong"))
            for note in variant["notes"]:
                card.body.addWidget(label(note, wrap=True, selectable=True))
        return card
