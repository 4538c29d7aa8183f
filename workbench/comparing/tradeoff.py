"""The trade-off: any two figures of the variants against each other, and the exact figures of the variant under the mouse or selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout

from engines.report import labels
from workbench.comparing import verdicts
from workbench.comparing.pictures import picture_button
from workbench.comparing.scatter import Scatter
from workbench.comparing.subject import Part, Subject
from workbench.desk import Desk
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.surfaces import Card
from workbench.widgets.text import label

if TYPE_CHECKING:
    from engines.report.drawing import Drawing

FIRST = {
    "x": ("speed/infer_tokens_per_s", "speed/train_tokens_per_s", "latency/p50_ms"),
    "y": ("quality/test_perplexity", "quality/test_bits_per_char", "quality/test_accuracy", "quality/test_spearman", "quality/test_"),
    "size": ("memory/infer_peak_host_mib", "size/model_mib", "memory/train_peak_host_mib"),
}
"""What is shown until the user chooses: speed against quality, sized by memory."""
HINT = "Point at a dot for its exact figures; a click, or the arrow keys, select its variant."


class Tradeoff(Part):
    """A scatter with its three choices and a line of exact figures."""

    def __init__(self, subject: Subject, desk: Desk) -> None:
        super().__init__(subject)
        self._comparison: Mapping[str, Any] | None = None
        page = QVBoxLayout(self)
        page.setContentsMargins(14, 14, 14, 14)
        card = Card("Trade-off")
        card.corner.addWidget(picture_button(desk, self.picture))
        page.addWidget(card)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.choices: dict[str, Choice] = {}
        for key, text in (("x", "Across"), ("y", "Up"), ("size", "Size")):
            choice = Choice()
            choice.setAccessibleName(f"{text}: which figure")
            choice.activated.connect(lambda _place: self._fill())
            choice.setMaximumWidth(260)
            caption = label(text, "caption")
            caption.setBuddy(choice)
            row.addWidget(caption)
            row.addWidget(choice, 1)
            row.addSpacing(8)
            self.choices[key] = choice
        row.addStretch(1)
        card.body.addLayout(row)
        self.scatter = Scatter(subject.theme)
        self.scatter.picked.connect(subject.select)
        self.scatter.pointed.connect(lambda name: self._tell(name or self.subject.variant))
        self.pages = QStackedWidget()
        self.pages.addWidget(self.scatter)
        self.missing = label("", "muted", wrap=True)
        self.missing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.pages.addWidget(self.missing)
        card.body.addWidget(self.pages, 1)
        self.readout = label(HINT, wrap=True, selectable=True)
        self.readout.setMinimumHeight(2 * self.readout.fontMetrics().height() + 4)  # So that the plot does not jump when the figures come.
        self.readout.setAlignment(Qt.AlignmentFlag.AlignTop)
        card.body.addWidget(self.readout)
        self.note = label("", "caption", wrap=True)
        card.body.addWidget(self.note)

    def draw(self, comparison: Mapping[str, Any]) -> None:
        """The chosen figures stay where they are in this comparison."""
        self._comparison = comparison
        keys = _keys(comparison)
        for name, choice in self.choices.items():
            kept = choice.currentData()
            choice.clear()
            if name == "size":
                choice.addItem("all the same", "")
            for key in keys:
                choice.addItem(labels.name(key), key)
                choice.setItemData(choice.count() - 1, key, Qt.ItemDataRole.ToolTipRole)
            choice.setCurrentIndex(max(0, choice.findData(kept if kept in keys or kept == "" else _first(comparison, keys, FIRST[name]))))
        self._fill()

    def paint_with(self, theme: Theme) -> None:
        self.scatter.paint_with(theme)

    def picture(self) -> Drawing | None:
        """The chosen two figures as a drawing; None where no variant has both."""
        from engines.report import charts

        x, y = (str(self.choices[side].currentData() or "") for side in ("x", "y"))
        found = charts.scatters(self._comparison, x, y) if self._comparison is not None and x and y else []
        return found[0] if found else None

    def _fill(self) -> None:
        if self._comparison is None:
            return
        x, y, size = (str(self.choices[name].currentData() or "") for name in ("x", "y", "size"))
        self.scatter.show_dots(self._comparison, x, y, size, self.subject.colours())
        self.pages.setCurrentIndex(0 if self.scatter.dots else 1)
        if not self.scatter.dots:
            self.missing.setText(f"No variant has both {labels.name(x)} and {labels.name(y)} yet." if x and y else "Nothing was measured yet.")
        left_out = [name for name in self._comparison["variants"] if name not in self.scatter.dots]
        sentences = [
            "The dashed line joins what no other variant beats in both figures; what is beaten is faded."
            if self.scatter.front
            else "One of the figures has no better side, so there is no front.",
            "Lines through a dot are the intervals of its figures.",
        ]
        if size:
            sentences.append(f"The area of a dot is its {labels.name(size)}.")
        if any(dot.dimmed for dot in self.scatter.dots.values()):
            sentences.append("Variants over a limit of the experiment are faded too.")
        if left_out and self.scatter.dots:
            sentences.append(f"Not measured in both: {', '.join(left_out)}.")
        self.note.setText(" ".join(sentences))
        self._tell(self.subject.variant)

    def _tell(self, name: str) -> None:
        """The exact figures of one dot."""
        dot = self.scatter.dots.get(name)
        if dot is None or self._comparison is None:
            self.readout.setText(HINT)
            return
        parts = []
        for side, result in (("x", dot.x), ("y", dot.y)):
            ratio = verdicts.ratio(result) if name != self._comparison["baseline"] else ""
            sign = verdicts.SIGNS.get(result["verdict"], "") if ratio else ""
            parts.append(f"{labels.name(self.choices[side].currentData())} {verdicts.measured(result)}" + (f", {ratio} {sign}" if ratio else ""))
        place = "beaten by another variant" if dot.beaten else "on the front" if self.scatter.front else ""
        limits = labels.over_limits(self._comparison["variants"][name])
        self.readout.setText("; ".join([f"{name}: {parts[0]}", *parts[1:], *([place] if place else [])]) + ". " + " ".join(limits))

    def mark(self, name: str) -> None:
        self.scatter.mark(name)
        self._tell(name)


def _keys(comparison: Mapping[str, Any]) -> list[str]:
    """What was measured, the judging figures first."""
    found = {key for variant in comparison["variants"].values() for key, result in variant["results"].items() if result["value"] is not None}
    judging = labels.columns(comparison)
    return judging + sorted(found - set(judging))


def _first(comparison: Mapping[str, Any], keys: Sequence[str], wishes: Sequence[str]) -> str:
    """The first wish that tells most variants apart: a figure that many lack, or that is the same for all, is no first choice.

    Judging figures go before others, in the order of the wishes.
    """
    judging = set(labels.columns(comparison))
    wished = [key for wish in wishes for key in keys if key.startswith(wish)]
    wished = sorted(dict.fromkeys(wished), key=lambda key: key not in judging)
    return max(wished, key=lambda key: _told_apart(comparison, key)) if wished else keys[0] if keys else ""


def _told_apart(comparison: Mapping[str, Any], key: str) -> int:
    """How many variants have the figure; none where all have the same."""
    values = [variant["results"][key]["value"] for variant in comparison["variants"].values() if key in variant["results"]]
    values = [value for value in values if value is not None]
    return len(values) if len(set(values)) > 1 else 0
