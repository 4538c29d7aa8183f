"""What is under the pointer: one label for all curves of a plot, the nearest ones first, each with its value at a real point."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QLabel, QWidget

from workbench.plotting.lines import Line
from workbench.theme import Theme
from workbench.widgets.text import number

MOST = 10
"""Curves that a label tells of; of more the ones nearest to the pointer."""
ROW, AROUND = 14, 46
"""Pixels of a line of the label, and of what is around them."""
APART = 14
"""Pixels between pointer and label."""


@dataclass(frozen=True)
class Reading:
    """The point of a curve that is nearest to an x: in the plot's own units (logarithms on a logarithmic axis), and its value as it is."""

    line: Line
    x: float
    y: float
    value: float


def readings(lines: Iterable[Line], x: float, *, log_y: bool) -> list[Reading]:
    """What the curves say at x: each at its own nearest point that has a value, none beyond its ends."""
    found = []
    for line in lines:
        at = line.front.nearest(x)
        if at is None:
            continue
        xs = line.front.x
        reach = xs[-1] - xs[0]
        if not xs[0] - 0.02 * reach <= x <= xs[-1] + 0.02 * reach and len(xs) > 1:
            continue
        y = float(line.front.high[at])
        if math.isfinite(y):
            value = line.shown[at] if line.shown is not None else y
            found.append(Reading(line, float(xs[at]), y, 10**value if log_y else float(value)))
    return found


def nearest(found: list[Reading], y: float, room: float) -> list[Reading]:
    """The readings nearest to the pointer, from the highest to the lowest. room: pixels that the label may be high."""
    kept = sorted(found, key=lambda each: abs(each.y - y))[: max(1, min(MOST, int((room - AROUND) / ROW)))]
    return sorted(kept, key=lambda each: -each.y)


class Readout(QLabel):
    """Floats above the plot beside the pointer and lets the mouse through."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._room = parent
        self.setObjectName("readout")
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._theme = theme
        self.setStyleSheet(
            f"#readout {{ background: {theme.surface}; color: {theme.text}; border: 1px solid {theme.strong}; border-radius: 6px; "
            "padding: 5px 8px; }"
        )

    def show_at(self, pointer: QPoint, heading: str, kept: list[Reading], closest: Reading | None, more: int) -> None:
        """Beside the pointer, on whichever side there is room."""
        rows = []
        for each in kept:
            name, value = escape(shortened(each.line.name)).replace(" ", "&nbsp;"), number(each.value)
            if each is closest and len(kept) > 1:
                name, value = f"<b>{name}</b>", f"<b>{value}</b>"
            rows.append(
                f"<tr><td style='color:{each.line.colour}'>■</td><td style='padding:0 10px 0 4px'>{name}</td><td align='right'>{value}</td></tr>"
            )
        rest = f"<span style='color:{self._theme.muted}'>and {more} more</span>" if more else ""
        self.setText(f"<span style='color:{self._theme.muted}'>{escape(heading)}</span><table cellspacing='0'>{''.join(rows)}</table>{rest}")
        self.adjustSize()
        room = self._room.rect()
        left = pointer.x() + APART if pointer.x() + APART + self.width() <= room.right() else pointer.x() - APART - self.width()
        top = min(max(room.top() + 2, pointer.y() - self.height() // 2), max(room.top() + 2, room.bottom() - self.height() - 2))
        self.move(max(room.left(), left), top)
        self.show()
        self.raise_()


def shortened(text: str, most: int = 34) -> str:
    """The beginning and the end of a long name."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 + 1 :]}"
