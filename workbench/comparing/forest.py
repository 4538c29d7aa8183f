"""The forest plot: ratios to the baseline with their intervals, of one quantity over the variants or of one variant over its quantities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QStackedWidget, QVBoxLayout

from engines.report import labels
from workbench.comparing import forest_lines
from workbench.comparing.forest_table import ForestTable
from workbench.comparing.pictures import picture_button
from workbench.comparing.subject import Part, Subject
from workbench.desk import Desk
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.surfaces import Card
from workbench.widgets.text import label

if TYPE_CHECKING:
    from engines.report.drawing import Drawing

VARIANTS, QUANTITIES = "variants", "quantities"
LEGEND = (
    "▲ better   ▼ worse   ■ no practical difference   ○ not enough data   ◆ A/A control. Bars are the {level:.0%} interval of the ratio; "
    "shaded is the margin of {margin:.1%}{wider}, within which there is no practical difference. The axis is logarithmic."
)


class Forest(Part):
    """Choosing a line selects its variant; choosing a variant elsewhere brings out its line."""

    def __init__(self, subject: Subject, desk: Desk) -> None:
        super().__init__(subject)
        self._comparison: Mapping[str, Any] | None = None
        page = QVBoxLayout(self)
        page.setContentsMargins(14, 14, 14, 14)
        card = Card("Ratios to the baseline")
        card.corner.addWidget(picture_button(desk, self.picture))
        page.addWidget(card)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.rows = Choice()
        self.rows.addItem("Variants, for one quantity", VARIANTS)
        self.rows.addItem("Quantities, of one variant", QUANTITIES)
        self.of = Choice()
        self.order = Choice()
        self.order.addItem("As in the experiment", "")
        self.order.addItem("By ratio", "ratio")
        for choice, text, said, width in (
            (self.rows, "Rows", "What the rows are", 220),
            (self.of, "Of", "Which quantity or variant", 260),
            (self.order, "Order", "Order of the rows", 190),
        ):
            choice.setAccessibleName(said)
            choice.setMaximumWidth(width)
            caption = label(text, "caption")
            caption.setBuddy(choice)
            row.addWidget(caption)
            row.addWidget(choice, 1)
            row.addSpacing(6)
        self.all_keys = QCheckBox("All figures")
        self.all_keys.setToolTip("Also quantities that do not judge")
        row.addWidget(self.all_keys)
        row.addStretch(1)
        card.body.addLayout(row)
        self.rows.activated.connect(lambda _place: self._offer())
        self.of.activated.connect(lambda _place: self._chosen())
        self.order.activated.connect(lambda _place: self._fill())
        self.all_keys.toggled.connect(lambda _on: self._fill())
        self.table = ForestTable(subject.theme)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._picked())
        self.pages = QStackedWidget()
        self.pages.addWidget(self.table)
        self.missing = label("", "muted", wrap=True)
        self.missing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.pages.addWidget(self.missing)
        card.body.addWidget(self.pages, 100)
        self.note = label("", "caption", wrap=True)
        card.body.addWidget(self.note)
        self.legend = label("", "caption", wrap=True)
        card.body.addWidget(self.legend)
        card.body.addStretch(1)

    def draw(self, comparison: Mapping[str, Any]) -> None:
        self._comparison = comparison
        self._offer()

    def paint_with(self, theme: Theme) -> None:
        self.table.paint_with(theme)

    def picture(self) -> Drawing | None:
        """What is shown as a drawing; None where there is no ratio."""
        from engines.report.forest import forest

        comparison, chosen = self._comparison, self.of.currentData()
        if comparison is None or chosen is None:
            return None
        if self.rows.currentData() == VARIANTS:
            return forest(comparison, [chosen])
        keys = forest_lines.quantities(comparison) if self.all_keys.isChecked() else labels.columns(comparison)
        shown = {name: variant for name, variant in comparison["variants"].items() if name in (chosen, comparison["baseline"])}
        drawn = forest({**comparison, "variants": shown}, keys)
        return replace(drawn, title=f"{drawn.title}: {chosen}") if drawn is not None else None

    def _offer(self) -> None:
        """What the second choice offers follows from the first."""
        comparison = self._comparison
        if comparison is None:
            return
        kept = self.of.currentData()
        self.of.clear()
        of_variants = self.rows.currentData() == QUANTITIES
        if of_variants:
            for name in comparison["variants"]:
                if name != comparison["baseline"]:
                    self.of.addItem(name, name)
            kept = self.subject.variant or kept
        else:
            for key in forest_lines.quantities(comparison):
                self.of.addItem(labels.name(key), key)
        self.all_keys.setVisible(of_variants)
        self.of.setCurrentIndex(self._first_known(comparison) if kept is None and not of_variants else max(0, self.of.findData(kept)))
        self._fill()

    def _first_known(self, comparison: Mapping[str, Any]) -> int:
        """The place of the first quantity with an interval: points alone are no forest to begin with. The first where none has one."""
        others = [variant["results"] for name, variant in comparison["variants"].items() if name != comparison["baseline"]]
        keys = [self.of.itemData(place) for place in range(self.of.count())]
        return next((place for place, key in enumerate(keys) if any(labels.interval(own[key]) for own in others if key in own)), 0)

    def _chosen(self) -> None:
        if self.rows.currentData() == QUANTITIES:
            self.subject.select(self.of.currentData())
        self._fill()

    def _fill(self) -> None:
        comparison, chosen = self._comparison, self.of.currentData()
        if comparison is None:
            return
        of_variant = self.rows.currentData() == QUANTITIES
        if chosen is None:
            lines = []
        elif of_variant:
            keys = forest_lines.quantities(comparison)
            lines = forest_lines.of_variant(comparison, chosen, keys if self.all_keys.isChecked() else labels.columns(comparison))
        else:
            lines = forest_lines.of_quantity(comparison, chosen)
        if self.order.currentData() == "ratio":
            lines = forest_lines.by_ratio(lines)
        arrow = self._arrow(chosen) if chosen and not of_variant else ""
        self.table.show_lines(lines, arrow if not of_variant else "Quantity", {} if of_variant else self.subject.colours())
        self.pages.setCurrentIndex(0 if any(not line.control for line in lines) else 1)
        self.pages.setMaximumHeight(self.table.whole_height() if self.pages.currentIndex() == 0 else 240)
        self.missing.setText(self._why_nothing(chosen))
        missing = forest_lines.absent(comparison, chosen) if chosen and not of_variant else []
        self.note.setText(f"Without a ratio of this quantity: {', '.join(missing)}." if missing else "")
        self.note.setVisible(bool(missing))
        widest = max((line.margin for line in lines), default=comparison["margin"])
        wider = f" (up to {widest:.1%} where the A/A control asks for more)" if widest > comparison["margin"] else ""
        self.legend.setText(LEGEND.format(level=comparison["level"], margin=comparison["margin"], wider=wider))
        self.mark(self.subject.variant)

    def _arrow(self, key: str) -> str:
        assert self._comparison is not None
        found = (variant["results"].get(key) for variant in self._comparison["variants"].values())
        return next((forest_lines.ARROWS.get(result["better"], "") for result in found if result), "").capitalize()

    def _why_nothing(self, chosen: str | None) -> str:
        assert self._comparison is not None
        if len(self._comparison["variants"]) < 2:
            return "There is only the baseline: add a variant to compare."
        if chosen is None:
            return "No figure has a ratio to the baseline yet: the baseline and a variant must both be done."
        return "This variant has no ratio to the baseline yet: its runs, or the baseline's, are not done."

    def _picked(self) -> None:
        rows = self.table.selectionModel().selectedRows()
        if rows and self.rows.currentData() == VARIANTS:
            self.subject.select(self.table.lines[rows[0].row()].variant)

    def mark(self, name: str) -> None:
        if self.rows.currentData() == QUANTITIES:
            place = self.of.findData(name)
            if place >= 0 and place != self.of.currentIndex():
                self.of.setCurrentIndex(place)
                self._fill()
            return
        place = next((n for n, line in enumerate(self.table.lines) if line.variant == name and not line.control), -1)
        selection = self.table.selectionModel()
        if place >= 0:
            if self.table.currentIndex().row() != place or not selection.selectedRows():
                self.table.selectRow(place)
        elif selection.hasSelection() and not (name == "" and self._on_control()):
            selection.clearSelection()

    def _on_control(self) -> bool:
        rows = self.table.selectionModel().selectedRows()
        return bool(rows) and self.table.lines[rows[0].row()].control
