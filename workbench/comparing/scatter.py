"""Two figures of the variants against each other, a third as the size of the dots, and the Pareto front: what no other variant beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent

from engines.report import labels
from engines.report.figures import Scale
from workbench.comparing import names
from workbench.theme import Theme

SMALLEST, LARGEST = 13.0, 34.0
SIDE = 1000.0
"""Length of both axes in the plot's own coordinates; figures are put on them by a linear or logarithmic scale."""
LOG_FROM = 4.0
"""Figures that span more than this factor stand on a logarithmic axis, as in the report."""
LONGEST = 36
"""Characters of a name beside the left axis; a longer one would be cut off there, and its short form stands for it."""
NEAR = 22.0
"""Pixels within which the mouse means a dot."""
FADED = 0.65
"""Share of the surface in the colour of a dot that is beaten."""


@dataclass(frozen=True)
class Dot:
    """A variant in the plot; x, y: its figures. beaten: another variant is at least as good in both and better in one."""

    name: str
    x: Mapping[str, Any]
    y: Mapping[str, Any]
    size: float
    beaten: bool
    dimmed: bool

    @property
    def faded(self) -> bool:
        return self.beaten or self.dimmed


class Scatter(pg.PlotWidget):
    """`pointed(variant)` as the mouse finds a dot (empty when it leaves), `picked(variant)` on a click or with the arrow keys."""

    pointed = Signal(str)
    picked = Signal(str)

    def __init__(self, theme: Theme) -> None:
        plot = pg.PlotItem(enableMenu=False)
        super().__init__(plotItem=plot)
        self._plot = plot
        self.setFrameShape(self.Shape.NoFrame)
        self.setMinimumHeight(260)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._plot.hideButtons()
        self._plot.setMouseEnabled(x=False, y=False)
        self._box = self._plot.getViewBox()
        self._box.disableAutoRange()
        self._box.setRange(xRange=(0, SIDE), yRange=(0, SIDE), padding=0)
        self._box.sigResized.connect(lambda *_: self._place_names())
        self.scene().sigMouseMoved.connect(self._moved)
        self.scene().sigMouseClicked.connect(self._clicked)
        self.dots: dict[str, Dot] = {}
        self.front: list[str] = []
        self._at: dict[str, tuple[float, float]] = {}
        # Made once and filled again: items are most of what drawing costs.
        self._line, self._whiskers, self._spots = pg.PlotCurveItem(), pg.PlotCurveItem(connect="pairs"), pg.ScatterPlotItem()
        for item in (self._line, self._whiskers, self._spots):
            self._plot.addItem(item, ignoreBounds=True)
        self._whiskers.setZValue(10)  # In front of the dots: most intervals are shorter than their dot is wide.
        self._texts: list[pg.TextItem] = []
        self._colours: Mapping[str, str] = {}
        self._baseline = self._selected = self._under = ""
        self.paint_with(theme)

    @property
    def points(self) -> dict[str, tuple[float, float]]:
        """Variant -> its two figures."""
        return {name: (dot.x["value"], dot.y["value"]) for name, dot in self.dots.items()}

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme; `show_dots` follows."""
        self._theme = theme
        self.setBackground(QColor(theme.surface))
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(QColor(theme.border))
            axis.setTextPen(QColor(theme.muted))
            axis.enableAutoSIPrefix(False)
        self._plot.getAxis("left").setWidth(74)
        self._line.setPen(pg.mkPen(theme.strong, width=1, style=Qt.PenStyle.DashLine))
        self._whiskers.setPen(pg.mkPen(theme.muted, width=1))
        self._plot.showGrid(x=True, y=True, alpha=0.15)

    def clear_dots(self) -> None:
        """Show nothing."""
        self._line.setData([], [])
        self._whiskers.setData([], [])
        self._spots.setData([])
        for text in self._texts:
            text.hide()
        self.dots, self.front, self._at = {}, [], {}

    def show_dots(self, comparison: Mapping[str, Any], x_key: str, y_key: str, size_key: str, colours: Mapping[str, str]) -> None:
        """Draw the variants that have both figures; an empty `size_key` makes all dots the same."""
        self.clear_dots()
        self._colours, self._baseline = colours, comparison["baseline"]
        results = {name: variant["results"] for name, variant in comparison["variants"].items()}
        chosen = [name for name, found in results.items() if _value(found, x_key) is not None and _value(found, y_key) is not None]
        if not chosen:
            return
        better = [results[chosen[0]][key]["better"] for key in (x_key, y_key)]
        self.front = _front(chosen, [[results[name][x_key]["value"], results[name][y_key]["value"]] for name in chosen], better)
        sizes = _sizes([_value(results[name], size_key) for name in chosen])
        for name, size in zip(chosen, sizes, strict=True):
            found = results[name]
            beaten = bool(self.front) and name not in self.front
            self.dots[name] = Dot(name, found[x_key], found[y_key], size, beaten, bool(comparison["variants"][name].get("violations")))
        across, up = (_scale([end for dot in self.dots.values() for end in _ends(getattr(dot, side))]) for side in ("x", "y"))
        self._at = {name: (float(across(dot.x["value"])), float(up(dot.y["value"]))) for name, dot in self.dots.items()}
        corners = sorted(self._at[name] for name in self.front)
        if len(corners) > 1:
            self._line.setData([x for x, _ in corners], [y for _, y in corners])
        ends = [end for name in self.dots for end in self._intervals(name, across, up)]
        self._whiskers.setData([x for x, _ in ends], [y for _, y in ends])
        for side, key, scale, which in (("bottom", x_key, across, better[0]), ("left", y_key, up, better[1])):
            arrow = {"higher": "  (higher is better)", "lower": "  (lower is better)"}.get(which, "")
            axis = self._plot.getAxis(side)
            axis.setTicks([[(place, text) for place, text in scale.ticks() if 0 <= place <= SIDE]])
            words = labels.name(key) if side == "bottom" or len(labels.name(key)) <= LONGEST else labels.short(key)
            axis.setLabel(words + (", log axis" if scale.logarithmic else "") + arrow, color=self._theme.muted)
        self.setAccessibleName(f"Scatter: {labels.name(y_key)} against {labels.name(x_key)} of {len(chosen)} variants")
        self._write_names()
        self._place_names()
        self.mark(self._selected)

    def _intervals(self, name: str, across: Scale, up: Scale) -> list[tuple[float, float]]:
        """Both ends of each interval of a dot."""
        dot, (x, y) = self.dots[name], self._at[name]
        found: list[tuple[float, float]] = []
        for result, scale in ((dot.x, across), (dot.y, up)):
            low, high = result.get("low"), result.get("high")
            if low is not None and high is not None and low != high:
                found += [(float(scale(end)), y) if scale is across else (x, float(scale(end))) for end in (low, high)]
        return found

    def mark(self, name: str) -> None:
        """A ring around the dot of this variant, which stands in front; what is beaten stands behind."""
        self._selected = name
        spots = []
        for other in sorted(self.dots, key=lambda other: (other == name, not self.dots[other].faded)):
            dot, (x, y) = self.dots[other], self._at[other]
            colour = QColor(self._colours.get(other, self._theme.accent))
            # Mixed with the surface, not transparent: what lies below must not shine through.
            colour = _mixed(colour, QColor(self._theme.surface), FADED) if dot.faded else colour
            ring = pg.mkPen(self._theme.text, width=2) if other == name else pg.mkPen(self._theme.surface, width=1)
            shape = "s" if other == self._baseline else "o"
            spots.append({"pos": (x, y), "size": dot.size, "symbol": shape, "brush": pg.mkBrush(colour), "pen": ring})
        self._spots.setData(spots)

    def _write_names(self) -> None:
        while len(self._texts) < len(self.dots):
            text = pg.TextItem(anchor=(0, 0))
            text.setZValue(20)
            self._plot.addItem(text, ignoreBounds=True)
            self._texts.append(text)
        for text, (name, dot) in zip(self._texts, self.dots.items(), strict=False):
            text.setText(name + (" (baseline)" if name == self._baseline else ""), color=QColor(self._theme.muted if dot.faded else self._theme.text))
            text.show()

    def _place_names(self) -> None:
        """Names keep their distance in pixels, so they are placed again whenever the plot changes its size."""
        width, height = self._box.width(), self._box.height()
        if not self.dots or width < 1 or height < 1:
            return
        across, up = SIDE / width, SIDE / height
        dots, extents = [], []
        for name, text in zip(self.dots, self._texts, strict=False):
            x, y = self._at[name]
            dots.append((x / across, (SIDE - y) / up, self.dots[name].size))
            area = text.textItem.boundingRect()
            extents.append((area.width(), area.height()))
        for text, box in zip(self._texts, names.place(dots, extents, (width, height)), strict=False):
            text.setPos(box[0] * across, SIDE - box[1] * up)

    # --- Mouse and keyboard -----------------------------------------------------------------------------------------------------------------

    def _nearest(self, position: QPointF) -> str:
        place = self._box.mapSceneToView(position)
        across, up = self._box.width() / SIDE, self._box.height() / SIDE
        away = {name: float(np.hypot((x - place.x()) * across, (y - place.y()) * up)) for name, (x, y) in self._at.items()}
        found = min(away, key=lambda name: away[name], default="")
        return found if found and away[found] <= max(NEAR, self.dots[found].size / 2) else ""

    def _moved(self, position: QPointF) -> None:
        found = self._nearest(position)
        if found != self._under:
            self._under = found
            self.setCursor(Qt.CursorShape.PointingHandCursor if found else Qt.CursorShape.ArrowCursor)
            self.pointed.emit(found)

    def _clicked(self, event: Any) -> None:
        self.picked.emit(self._nearest(event.scenePos()))

    def leaveEvent(self, event) -> None:
        super().leaveEvent(event)
        if self._under:
            self._under = ""
            self.pointed.emit("")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The arrow keys go through the dots from left to right; Escape selects none."""
        step = {Qt.Key.Key_Right: 1, Qt.Key.Key_Up: 1, Qt.Key.Key_Left: -1, Qt.Key.Key_Down: -1}.get(Qt.Key(event.key()))
        order = sorted(self._at, key=lambda name: self._at[name])
        if event.key() == Qt.Key.Key_Escape:
            self.picked.emit("")
        elif step is None or not order:
            super().keyPressEvent(event)
        elif self._selected in order:
            self.picked.emit(order[(order.index(self._selected) + step) % len(order)])
        else:
            self.picked.emit(order[0 if step > 0 else -1])


def _mixed(colour: QColor, other: QColor, share: float) -> QColor:
    """So much of the other colour in this one."""
    red, green, blue = (
        round((1 - share) * one + share * another)
        for one, another in ((colour.red(), other.red()), (colour.green(), other.green()), (colour.blue(), other.blue()))
    )
    return QColor(red, green, blue)


def _ends(result: Mapping[str, Any]) -> list[float]:
    """The value of a figure and the ends of its interval, where it has one."""
    return [float(result[key]) for key in ("value", "low", "high") if result.get(key) is not None]


def _value(results: Mapping[str, Any], key: str) -> float | None:
    result = results.get(key)
    return None if result is None else result["value"]


def _scale(values: Sequence[float]) -> Scale:
    """Room around the dots and their intervals, so that names are not cut off."""
    low, high = min(values), max(values)
    if low > 0 and high / low > LOG_FROM:
        air = (high / low) ** 0.12
        return Scale(low / air, high * air, 0.0, SIDE, logarithmic=True)
    room = (high - low) * 0.14 or abs(high) * 0.2 or 1.0
    return Scale(low - room, high + room, 0.0, SIDE)


def _sizes(values: Sequence[float | None]) -> list[float]:
    """Dot diameters in pixels; the area grows with the figure."""
    known = [value for value in values if value is not None and value > 0]
    if not known:
        return [SMALLEST + 3] * len(values)
    largest = max(known)
    return [SMALLEST if not value else max(SMALLEST, LARGEST * float(np.sqrt(value / largest))) for value in values]


def _front(chosen: Sequence[str], points: Sequence[Sequence[float]], better: Sequence[str]) -> list[str]:
    """The variants that no other one beats or equals in both figures while beating it in one; none where a figure has no direction."""
    from engines.statistics import pareto

    if "none" in better:
        return []
    keep = pareto(points, list(better))  # type: ignore[arg-type]
    return [name for name, kept in zip(chosen, keep, strict=True) if kept]
