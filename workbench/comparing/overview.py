"""The overview: what the comparison says in sentences, all verdicts in a table, the selected variant in words, and how it was judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from engines.comparability import baseline_missing
from engines.report import labels, sentences
from workbench.comparing.subject import Part, Subject
from workbench.comparing.verdict_card import VerdictCard
from workbench.theme import Theme
from workbench.widgets.surfaces import Card, Notice, emptied, scrolled
from workbench.widgets.text import label

FEW = 6
"""So many headline sentences are shown at once."""


class Overview(Part):
    """Choosing a row selects its variant. A click on a head sorts by it; the two choices above the table do the same from the keyboard."""

    def __init__(self, subject: Subject, settings: QSettings) -> None:
        super().__init__(subject)
        self._comparison: Mapping[str, Any] | None = None
        self._everything = False
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(14, 14, 14, 20)
        column.setSpacing(14)
        self.warnings = Notice()
        column.addWidget(self.warnings)
        self.short = Card("In short")
        self.more = QPushButton()
        self.more.setProperty("quiet", True)
        self.more.clicked.connect(self._tell_all)
        self.short.corner.addWidget(self.more, 0, Qt.AlignmentFlag.AlignTop)
        self.lines = QGridLayout()
        self.lines.setHorizontalSpacing(16)
        self.lines.setVerticalSpacing(6)
        self.lines.setColumnStretch(1, 1)
        self.short.body.addLayout(self.lines)
        column.addWidget(self.short)
        self.verdicts = VerdictCard(subject.theme, settings)
        self.model, self.table = self.verdicts.model, self.verdicts.table
        self.table.selection.selectionChanged.connect(lambda *_: self._picked())
        self.verdicts.redrawn.connect(lambda: self.mark(self.subject.variant))
        column.addWidget(self.verdicts)
        lower = QHBoxLayout()
        lower.setSpacing(14)
        self.details = Card("In words")
        self.words = QVBoxLayout()
        self.words.setSpacing(8)
        self.details.body.addLayout(self.words)
        self.details.body.addStretch(1)
        lower.addWidget(self.details, 3)
        method = Card("How this was judged")
        self.method = label("", "caption", wrap=True, selectable=True)
        method.body.addWidget(self.method)
        method.body.addStretch(1)
        lower.addWidget(method, 2)
        column.addLayout(lower)
        column.addStretch(1)
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.addWidget(scrolled(body))

    # --- Showing ----------------------------------------------------------------------------------------------------------------------------

    def draw(self, comparison: Mapping[str, Any]) -> None:
        self._comparison = comparison
        baseline = comparison["variants"][comparison["baseline"]]
        above = baseline_missing(comparison["baseline"], baseline["status"], baseline["failures"])  # Said at the head of the view.
        told = [sentence for sentence in comparison["warnings"] if sentence != above]
        if told:
            self.warnings.say("warning", "\n".join(told))
        else:
            self.warnings.clear()
        self._tell()
        self.verdicts.draw(comparison, self.subject.colours())
        measured = [f"{what}: {text}" for what, text in sentences.conditions(comparison.get("conditions", {}))]
        method = [*sentences.method(comparison), *([f"While it was measured, {'; '.join(measured)}."] if measured else [])]
        self.method.setText("\n".join(f"• {sentence}" for sentence in method))

    def paint_with(self, theme: Theme) -> None:
        self.table.paint_with(theme)

    def _tell_all(self) -> None:
        self._everything = not self._everything
        self._tell()

    def _tell(self) -> None:
        assert self._comparison is not None
        emptied(self.lines)
        found = sentences.headline(self._comparison) or ["There is only the baseline: add a variant to compare."]
        others = [name for name in self._comparison["variants"] if name != self._comparison["baseline"]] or [""]
        for row, (name, sentence) in enumerate(list(zip(others, found, strict=True))[: None if self._everything else FEW]):
            self.lines.addWidget(label(name, "strong"), row, 0, Qt.AlignmentFlag.AlignTop)
            over = labels.over_limits(self._comparison["variants"].get(name, {}))
            told = " ".join([sentence.removeprefix(f"{name}: "), *over])
            self.lines.addWidget(label(told, wrap=True, selectable=True), row, 1)
        self.more.setVisible(len(found) > FEW)
        self.more.setText("Fewer" if self._everything else f"All {len(found)}")
        self.more.setAccessibleName(f"{self.more.text()} sentences")

    # --- The selected variant -----------------------------------------------------------------------------------------------------------------

    def _picked(self) -> None:
        row = self.table.selected_row()
        if row >= 0:
            self.subject.select(self.model.names[row])

    def mark(self, name: str) -> None:
        row = self.table.selected_row()
        looked_at = self.model.names[row] if row >= 0 else ""
        if name and looked_at != name:  # A seed of it may be looked at.
            self.table.show_row(self.model.names.index(name) if name in self.model.names else -1)
        elif not name and looked_at:
            self.table.show_row(-1)  # But the control may be looked at, though it is no variant.
        self._describe(name)

    def _describe(self, name: str) -> None:
        emptied(self.words)
        if self._comparison is None:
            return
        if not name:
            self.details.heading.setText("In words")
            self.words.addWidget(label("Choose a variant in the table for its details.", "caption", wrap=True))
            return
        variant = self._comparison["variants"][name]
        self.details.heading.setText(name)
        for sentence in labels.over_limits(variant):
            self.words.addWidget(label(sentence, "error", wrap=True, selectable=True))
        for failure in variant["failures"]:
            self.words.addWidget(
                label(f"Seed {failure['seed']} {failure['status']}: {failure['reason']} {failure['advice']}".strip(), "error", wrap=True)
            )
        if name == self._comparison["baseline"]:
            self.words.addWidget(label("The others are held against this variant.", wrap=True))
        else:
            for entry in sentences.of_variant(variant, labels.columns(self._comparison)):
                self.words.addWidget(label(entry["opening"], "strong"))
                self.words.addWidget(label(entry["text"], wrap=True, selectable=True))
        for note in variant["notes"]:
            self.words.addWidget(label(note, wrap=True, selectable=True))
        if variant["effects"]:
            self.words.addWidget(label("What the techniques changed", "strong"))
            for effect in variant["effects"]:
                self.words.addWidget(label(f"{effect['technique']}: {effect['sentence']}", wrap=True, selectable=True))
