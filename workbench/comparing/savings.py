"""Savings side by side: what each variant claims, stores, executes and moves, what was measured, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from workbench.comparing import savings_table, verdicts
from workbench.comparing.figure_table import FigureTable
from workbench.comparing.forest_table import ForestTable
from workbench.comparing.savings_table import SavingsTable
from workbench.comparing.subject import Part, Subject
from workbench.theme import Theme
from workbench.widgets.surfaces import Card, scrolled
from workbench.widgets.text import label

LEGEND = (
    f"Ratios to the baseline. {verdicts.LEGEND}. Only what was stored, executed or measured counts as a saving: “simulated” marks what a "
    "technique claims and neither the file nor the work bears out, like zeros that are stored and multiplied all the same."
)


class Savings(Part):
    """A compact table of all variants, below it everything about the selected one."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self._comparison: Mapping[str, Any] | None = None
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(14, 14, 14, 20)
        column.setSpacing(14)
        card = Card("What each variant saves, and what it costs", LEGEND)
        self.all_keys = QCheckBox("All figures")
        self.all_keys.setToolTip("Show every saving that was measured, not only the first of each kind")
        self.all_keys.toggled.connect(lambda _on: self._fill())
        card.corner.addWidget(self.all_keys, 0, Qt.AlignmentFlag.AlignTop)
        self.model = SavingsTable(self)
        self.table = FigureTable(self.model, subject.theme, "Savings of the variants")
        self.table.selection.selectionChanged.connect(lambda *_: self._picked())
        card.body.addWidget(self.table)
        column.addWidget(card)
        self.details = Card("One variant in full")
        self.hint = label("Choose a variant in the table to see everything about it.", "caption", wrap=True)
        self.details.body.addWidget(self.hint)
        self.lines = ForestTable(subject.theme)
        self.lines.setAccessibleName("All savings of the selected variant")
        self.details.body.addWidget(self.lines)
        column.addWidget(self.details)
        column.addStretch(1)
        page = QVBoxLayout(self)
        page.setContentsMargins(0, 0, 0, 0)
        page.addWidget(scrolled(body))

    def draw(self, comparison: Mapping[str, Any]) -> None:
        self._comparison = comparison
        self._fill()

    def paint_with(self, theme: Theme) -> None:
        self.table.paint_with(theme)
        self.lines.paint_with(theme)

    def _fill(self) -> None:
        comparison = self._comparison
        if comparison is None:
            return
        columns = savings_table.columns(comparison, everything=self.all_keys.isChecked())
        self.model.show_comparison(comparison, columns, self.subject.colours())
        self.table.fit()
        self.mark(self.subject.variant)

    def _picked(self) -> None:
        row = self.table.selected_row()
        if row >= 0:
            self.subject.select(self.model.names[row])

    def mark(self, name: str) -> None:
        self.table.show_row(self.model.names.index(name) if name in self.model.names else -1)
        self._tell(name)

    def _tell(self, name: str) -> None:
        comparison = self._comparison
        found = savings_table.lines(comparison, name) if comparison is not None and name in self.model.names else []
        self.details.heading.setText(name if found else "One variant in full")
        self.hint.setVisible(not found)
        self.lines.setVisible(bool(found))
        if found:
            self.lines.show_lines(found, "Saving", {})
            self.lines.setFixedHeight(self.lines.whole_height())
