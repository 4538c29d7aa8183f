"""Parallel coordinates of the variants, and which settings go with a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QScrollArea, QTableWidget, QTableWidgetItem, QVBoxLayout

from engines.importance import FEWEST, Field, Importance, fields, importance, missing
from engines.report import labels
from workbench.comparing import parallel_axes
from workbench.comparing.parallel_plot import ParallelPlot
from workbench.comparing.subject import Part, Subject
from workbench.desk import Desk
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.surfaces import Card
from workbench.widgets.text import label

SETTINGS, FIGURES = 6, 3
"""So many axes of each kind: more cannot be read beside each other."""
HEADS = ("Setting", "Share", "By chance", "Direction", "p", "Variants", "Changes together with")
TIPS = (
    "Key of the plans", "Part of the variance of the figure's ranks that goes with this setting alone",
    "What 1 in 20 random assignments of its values reaches: a share below it says nothing", "Rank correlation with its 95% interval over variants",
    "Part of random assignments that reach the share found", "Variants that have both",
    "Settings that cut the variants alike: their credit cannot be told apart",
)  # fmt: skip
METHOD = (
    "One setting at a time: squared rank correlation for numbers, correlation ratio of ranks for the rest; 2,000 random assignments "
    "tell what chance gives, 500 resamples of the variants the interval. One in twenty settings passes by chance. "
    "What acts only together with another, or up and then down, is not seen."
)


class Parallel(Part):
    """Choosing a line selects its variant; the choice above the plot says whose importance is shown."""

    def __init__(self, subject: Subject, desk: Desk) -> None:
        super().__init__(subject)
        self._desk = desk
        self._comparison: Mapping[str, Any] | None = None
        page = QVBoxLayout(self)
        page.setContentsMargins(14, 14, 14, 14)
        page.setSpacing(14)
        card = Card(
            "Parallel coordinates", "A line is a variant, dashed the baseline. Settings first, the most telling ones at the left, then figures."
        )
        self.plot = ParallelPlot(subject.theme)
        self.plot.picked.connect(subject.select)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidget(self.plot)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        card.body.addWidget(area, 1)
        self.left_out = label("", "caption", wrap=True)
        card.body.addWidget(self.left_out)
        page.addWidget(card, 5)
        lower = Card("Which settings go with a figure")
        row = QHBoxLayout()
        self.quantity = Choice()
        self.quantity.setAccessibleName("Importance for which figure")
        self.quantity.setMaximumWidth(320)
        self.quantity.setMinimumWidth(220)
        self.quantity.activated.connect(lambda _place: self._weigh())
        caption = label("Figure", "caption")
        caption.setBuddy(self.quantity)
        row.addWidget(caption)
        row.addWidget(self.quantity)
        lower.corner.addLayout(row)
        self.table = _table()
        lower.body.addWidget(self.table, 1)
        self.note = label("", "caption", wrap=True)
        lower.body.addWidget(self.note)
        page.addWidget(lower, 3)
        self.found: list[Importance] = []

    def draw(self, comparison: Mapping[str, Any]) -> None:
        """The chosen figure stays where it is in this comparison."""
        self._comparison = comparison
        kept = self.quantity.currentData()
        keys = labels.columns(comparison)
        keys = [*keys, *labels.other_keys(comparison, keys)]
        self.quantity.clear()
        for key in keys:
            self.quantity.addItem(labels.name(key), key)
            self.quantity.setItemData(self.quantity.count() - 1, key, Qt.ItemDataRole.ToolTipRole)
        self.quantity.setCurrentIndex(max(0, self.quantity.findData(kept)))
        self._weigh()

    def paint_with(self, theme: Theme) -> None:
        self.plot.paint_with(theme)

    def mark(self, name: str) -> None:
        self.plot.mark(name)

    def _weigh(self) -> None:
        """Weigh the settings in a thread, and draw: the axes stand in the order of importance."""
        comparison, quantity = self._comparison, str(self.quantity.currentData() or "")
        if comparison is None:
            return

        def work() -> tuple[list[Field], list[Importance]]:
            return fields(comparison), importance(comparison, quantity)

        def show(told: tuple[list[Field], list[Importance]]) -> None:
            if comparison is self._comparison and quantity == str(self.quantity.currentData() or ""):
                self._show(*told)

        self._desk.errands.run(work, show, self.note.setText)

    def _show(self, known: Sequence[Field], found: list[Importance]) -> None:
        comparison, quantity = self._comparison, str(self.quantity.currentData() or "")
        assert comparison is not None
        self.found = found
        order = {each.key: place for place, each in enumerate(found)}
        alike = {each.key: each.together for each in found}
        settings: list[Field] = []
        for field in sorted(known, key=lambda field: order.get(field.key, len(order))):
            # Of settings that always change together one axis tells as much as all.
            if len(settings) < SETTINGS and not set(alike.get(field.key, ())) & {drawn.key for drawn in settings}:
                settings.append(field)
        wanted = [quantity, *(key for key in labels.columns(comparison) if key != quantity)]
        figures = [axis for axis in (parallel_axes.of_figure(comparison, key) for key in wanted) if axis is not None][:FIGURES]
        axes = [parallel_axes.of_field(field) for field in settings] + list(reversed(figures))
        self.plot.show_axes(axes, self.subject.colours(), comparison["baseline"])
        self.plot.mark(self.subject.variant)
        rest = [parallel_axes.short(field.key) for field in known if field not in settings]
        self.left_out.setText(f"Not drawn: {', '.join(rest)}." if rest else "")
        self.left_out.setVisible(bool(rest))
        self._fill(found)
        self.note.setText(METHOD if found else _why_nothing(comparison, quantity, known))

    def _fill(self, found: Sequence[Importance]) -> None:
        self.table.setVisible(bool(found))
        self.table.setRowCount(len(found))
        for row, each in enumerate(found):
            direction = f"{each.rho:+.2f} [{each.low:+.2f} to {each.high:+.2f}]" if each.rho is not None else "groups"
            together = ", ".join(parallel_axes.short(key) for key in each.together)
            sign = "" if each.told else " ?"
            cells = (each.key, f"{each.share:.0%}{sign}", f"{each.chance:.0%}", direction, f"{each.p:.3f}", str(each.n), together)
            for column, words in enumerate(cells):
                item = QTableWidgetItem(words)
                item.setToolTip(words if column in (0, 6) else TIPS[column] + ("" if each.told else "\n? chance gives as much"))
                if not each.told:
                    item.setForeground(self.palette().placeholderText())
                self.table.setItem(row, column, item)


def _why_nothing(comparison: Mapping[str, Any], quantity: str, known: Sequence[Field]) -> str:
    if not known:
        return "The variants differ in no setting."
    if not quantity:
        return "Nothing was measured yet."
    lacking = missing(comparison, quantity)
    if lacking == FEWEST:
        return f"{labels.name(quantity)} is the same for all variants, or was not measured: no setting goes with it."
    if lacking:
        return (
            f"Importance needs {FEWEST} variants with this figure; {lacking} more are missing. "
            "A sweep makes them: in the editor, or with workbench sweep."
        )
    return f"No setting is held by {FEWEST} variants with this figure and differs among them."


def _table() -> QTableWidget:
    table = QTableWidget(0, len(HEADS))
    for column, (head, tip) in enumerate(zip(HEADS, TIPS, strict=True)):
        item = QTableWidgetItem(head)
        item.setToolTip(tip)
        table.setHorizontalHeaderItem(column, item)
    table.setAccessibleName("Importance of settings")
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setAlternatingRowColors(True)
    table.setShowGrid(False)
    table.setTabKeyNavigation(False)
    table.setMinimumHeight(110)
    table.verticalHeader().hide()
    header = table.horizontalHeader()
    header.setHighlightSections(False)
    header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    return table
