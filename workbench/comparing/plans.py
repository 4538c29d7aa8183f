"""Differences of plans: the variants against their baseline, and one experiment against another, stored or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout

from workbench.comparing import plan_differences
from workbench.comparing.difference_table import DifferenceTable
from workbench.comparing.subject import Part, Subject
from workbench.desk import Desk
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.surfaces import Card
from workbench.widgets.text import label

if TYPE_CHECKING:
    from engines.store.database import Store

Source = int | Path
"""A stored experiment by its id, or a file."""
FILE = "file"
TALLEST = 230
"""Pixels of the upper table; it scrolls where the variants change more."""
ALIKE = "The plans say the same."


class Plans(Part):
    """Above, what each variant changes; below, two experiments of the user's choice."""

    def __init__(self, subject: Subject, desk: Desk) -> None:
        super().__init__(subject)
        self._desk = desk
        self._comparison: Mapping[str, Any] | None = None
        self._files: list[Path] = []
        self._names: dict[int, str] = {}
        page = QVBoxLayout(self)
        page.setContentsMargins(14, 14, 14, 14)
        page.setSpacing(14)
        card = Card("What the variants change", "Keys of the merged plans whose value is not the baseline's.")
        self.variants = DifferenceTable(subject.theme)
        self.variants.setAccessibleName("Differences of the variants from the baseline")
        self.variants.setSelectionMode(DifferenceTable.SelectionMode.ExtendedSelection)
        self.variants.clicked.connect(lambda index: self._pick(index.row()))
        self.variants.activated.connect(lambda index: self._pick(index.row()))
        card.body.addWidget(self.variants)
        self.variants_note = label("", "muted", wrap=True)
        card.body.addWidget(self.variants_note)
        page.addWidget(card)
        other = Card("Two experiments", "Their variants by name, stored experiments or files; what all of them share stands once.")
        row = QHBoxLayout()
        row.setSpacing(8)
        self.sides: tuple[Choice, Choice] = (Choice(), Choice())
        for choice, text in zip(self.sides, ("From", "To"), strict=True):
            choice.setAccessibleName(f"{text}: which experiment")
            choice.setMaximumWidth(340)
            choice.activated.connect(lambda _place, choice=choice: self._chosen(choice))
            caption = label(text, "caption")
            caption.setBuddy(choice)
            row.addWidget(caption)
            row.addWidget(choice, 1)
            row.addSpacing(8)
        row.addStretch(1)
        other.body.addLayout(row)
        self.experiments = DifferenceTable(subject.theme)
        self.experiments.setAccessibleName("Differences of two experiments")
        other.body.addWidget(self.experiments, 100)
        self.note = label("", "muted", wrap=True, selectable=True)
        self.note.setAlignment(Qt.AlignmentFlag.AlignTop)
        other.body.addWidget(self.note)
        other.body.addStretch(1)
        page.addWidget(other, 1)

    def draw(self, comparison: Mapping[str, Any]) -> None:
        self._comparison = comparison
        rows = plan_differences.of_variants(comparison)
        self.variants.show_rows(rows, f"{comparison['baseline']} (baseline)", "Variant's value", self.subject.colours())
        self.variants.setVisible(bool(rows))
        self.variants.setFixedHeight(min(TALLEST, self.variants.whole_height()))
        named = {row.variant for row in rows}
        alike = [name for name in comparison["variants"] if name not in named and name != comparison["baseline"]]
        self.variants_note.setText(f"As the baseline: {', '.join(alike)}." if alike else "" if rows else "There is only the baseline.")
        self.variants_note.setVisible(bool(self.variants_note.text()))
        self._read_experiments(comparison["experiments"][0])

    def paint_with(self, theme: Theme) -> None:
        self.variants.paint_with(theme)
        self.experiments.paint_with(theme)

    def mark(self, name: str) -> None:
        table = self.variants
        rows = [place for place, row in enumerate(table.rows) if row.variant == name]
        table.clearSelection()
        if rows:
            # All rows of the variant: select the first, then add the others.
            model = table.selectionModel()
            for place in rows:
                model.select(table.model().index(place, 0), model.SelectionFlag.Select | model.SelectionFlag.Rows)
            table.scrollTo(table.model().index(rows[0], 0))

    def _pick(self, row: int) -> None:
        self.subject.select(self.variants.rows[row].variant)
        self.mark(self.subject.variant)

    # --- Two experiments ----------------------------------------------------------------------------------------------------------------------

    def _read_experiments(self, shown: int) -> None:
        store = self._desk.store
        if store is None:
            return

        def read() -> list[tuple[int, str]]:
            from engines.store import queries

            return [(row.id, row.name) for row in queries.experiments(store)]

        def offer(found: list[tuple[int, str]]) -> None:
            earlier = [each for each, _ in found if each < shown] or [each for each, _ in found if each != shown]
            self._names = dict(found)
            self._offer([earlier[-1] if earlier else shown, shown])

        self._desk.errands.run(read, offer, self.note.setText)

    def _offer(self, preferred: list[Source]) -> None:
        for choice, first in zip(self.sides, preferred, strict=True):
            kept = choice.currentData()
            choice.clear()
            for number, name in sorted(self._names.items(), reverse=True):
                choice.addItem(f"#{number} {name}", number)
            for path in self._files:
                choice.addItem(path.name, path)
                choice.setItemData(choice.count() - 1, str(path), Qt.ItemDataRole.ToolTipRole)
            choice.addItem("A file …", FILE)
            place = choice.findData(kept) if isinstance(kept, Path) else choice.findData(first)
            choice.setCurrentIndex(max(0, place))
        self._compare()

    def _chosen(self, choice: Choice) -> None:
        if choice.currentData() == FILE:
            chosen, _ = QFileDialog.getOpenFileName(self, "Experiment file", "", "Experiments (*.toml *.json)")
            sides: list[Source] = [each.currentData() for each in self.sides]
            place = self.sides.index(choice)
            sides[place] = Path(chosen) if chosen else self._comparison["experiments"][0] if self._comparison else 0
            self.show_pair(*sides)
            return
        self._compare()

    def show_pair(self, old: Source, new: Source) -> None:
        """Hold two experiments against each other; files are added to both choices."""
        self._files += [each for each in dict.fromkeys((old, new)) if isinstance(each, Path) and each not in self._files]
        for choice in self.sides:
            choice.setCurrentIndex(-1)
        self._offer([old, new])

    def _compare(self) -> None:
        store, catalogue = self._desk.store, self._desk.catalogue
        old, new = (choice.currentData() for choice in self.sides)
        if store is None or old is None or new is None or FILE in (old, new):
            return
        if old == new:
            self._show([], "Choose two different experiments." if len(self._names) + len(self._files) > 1 else "There is only this experiment yet.")
            return

        def read() -> list[plan_differences.Row]:
            return plan_differences.between(_plans(store, old, catalogue), _plans(store, new, catalogue))

        def show(rows: list[plan_differences.Row]) -> None:
            if (old, new) == tuple(choice.currentData() for choice in self.sides):
                self._show(rows, "" if rows else ALIKE)

        self._desk.errands.run(read, show, lambda sentence: self._show([], sentence))

    def _show(self, rows: list[plan_differences.Row], note: str) -> None:
        old, new = (choice.currentText() for choice in self.sides)
        self.experiments.show_rows(rows, old, new, {})
        self.experiments.setVisible(bool(rows))
        self.note.setText(note)
        self.note.setVisible(bool(note))


def _plans(store: Store, source: Source, catalogue: Mapping[str, Any] | None) -> dict[str, Any]:
    """{variant: plan} of an experiment. Raises the engine's sentences for a file that is none."""
    if isinstance(source, Path):
        from engines.experiment import load

        return load(source).plans(catalogue)
    from engines.store import queries

    return {variant.name: variant.plan for variant in queries.variants(store, source)}
