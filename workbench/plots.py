"""Curves that stay fast: one thin opaque line each, reduced to the viewport before it is drawn, redrawn only when its points changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QGraphicsItem, QVBoxLayout, QWidget

from workbench.reduction import EMPTY, Outline, outline
from workbench.theme import Theme
from workbench.widgets.text import label, number

pg.setConfigOptions(antialias=False, useOpenGL=False)
FILLED = 0.7
"""Share of the visible range that the points must fill; below it the range is fitted anew."""
DOT = 8
"""Pixels of the dot that a curve of one point is."""
AHEAD = 0.15
"""How far the x range of growing curves runs ahead of them."""


@dataclass
class _Line:
    item: pg.PlotCurveItem
    name: str
    colour: str
    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    drawn: Outline
    stale: bool = True


class CurvePlot(QWidget):
    """One quantity over steps or time for several runs. `set_curve` only stores points; `redraw` draws what changed."""

    viewed = Signal(float, float)
    """The user zoomed or panned to this x range (or back to everything, then NaN, NaN)."""
    pointed = Signal(float)
    """The mouse is over this x; NaN when it left."""

    def __init__(self, title: str, unit: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.unit = title, unit
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 10, 10, 6)
        column.setSpacing(2)
        self._heading = label(title, "strong")
        self._caption = label("", "caption")
        self._x_name = "steps"
        column.addWidget(self._heading)
        column.addWidget(self._caption)
        self._plot = pg.PlotItem(enableMenu=False)
        self._canvas = pg.PlotWidget(plotItem=self._plot)
        self._canvas.setFrameShape(self._canvas.Shape.NoFrame)
        self._canvas.setAccessibleName(f"{title} in {unit}" if unit else title)
        self._canvas.setMinimumHeight(110)
        column.addWidget(self._canvas, 1)
        self._plot.hideButtons()
        self._box = self._plot.getViewBox()
        self._box.disableAutoRange()
        self._box.setDefaultPadding(0)
        self._lines: dict[object, _Line] = {}
        self._single: list[tuple[float, float, str]] = []
        self._follow = True
        self._from_zero = False
        self._range = (0.0, 1.0)
        self._heights = (math.inf, -math.inf)
        self._scaled = True
        self._shown: tuple[float, float, float, float] | None = None
        self._dots = pg.ScatterPlotItem(pxMode=True)
        self._plot.addItem(self._dots, ignoreBounds=True)
        self._cross = pg.InfiniteLine(angle=90, movable=False)
        self._cross.setZValue(50)
        self._cross.hide()
        self._plot.addItem(self._cross, ignoreBounds=True)
        self._box.sigRangeChangedManually.connect(self._by_hand)
        self._box.sigXRangeChanged.connect(lambda *_: self._moved())
        self._canvas.scene().sigMouseMoved.connect(self._mouse)
        self._show_caption()
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(16)
        self._late.timeout.connect(self.redraw)
        self.paint_with(theme)

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme; curves keep the colours they were given until they are set again."""
        self._theme = theme
        self._canvas.setBackground(QColor(theme.surface))
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(QColor(theme.border))
            axis.setTextPen(QColor(theme.muted))
            axis.setStyle(tickLength=-4, maxTickLevel=1)
            axis.enableAutoSIPrefix(False)
            # An axis that did not change is a picture that is only copied: its texts cost more than all curves together.
            axis.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self._plot.getAxis("left").setWidth(58)
        self._plot.showGrid(x=False, y=True, alpha=0.18)
        self._cross.setPen(pg.mkPen(theme.strong, width=1))

    def start_at_zero(self) -> None:
        """Let the y axis begin at zero (memory, throughput): differences then look as large as they are."""
        self._from_zero = True

    def set_curve(self, key: object, name: str, colour: str, x: np.ndarray, low: np.ndarray, high: np.ndarray | None = None) -> None:
        """Store the points of a curve, x (n,) rising; NaN is a gap. Drawn at the next `redraw`."""
        line = self._lines.get(key)
        if line is None:
            item = pg.PlotCurveItem(skipFiniteCheck=True, antialias=False)
            self._plot.addItem(item, ignoreBounds=True)
            line = self._lines[key] = _Line(item, name, "", x, low, low if high is None else high, EMPTY)
        if line.colour != colour:
            line.colour = colour
            line.item.setPen(pg.mkPen(colour, width=1))
        line.name, line.x, line.low, line.high, line.stale = name, x, low, low if high is None else high, True

    def remove_curve(self, key: object) -> None:
        line = self._lines.pop(key, None)
        if line is not None:
            self._plot.removeItem(line.item)

    def clear(self) -> None:
        for key in list(self._lines):
            self.remove_curve(key)
        self.show_all()

    @property
    def keys(self) -> list[object]:
        return list(self._lines)

    def drawn_points(self, key: object) -> int:
        """How many points of a curve are on the screen, after reduction."""
        return len(self._lines[key].drawn.x)

    def emphasise(self, key: object | None) -> None:
        """Bring one curve to the front (None: as they came)."""
        for other, line in self._lines.items():
            line.item.setZValue(10 if other == key else 0)
            colour = QColor(line.colour)
            colour.setAlpha(255 if key is None or other == key else 70)
            line.item.setPen(pg.mkPen(colour, width=1))

    def show_all(self) -> None:
        """Follow the data again after zooming."""
        self._follow, self._range, self._heights, self._shown = True, (0.0, 1.0), (math.inf, -math.inf), None
        self.viewed.emit(math.nan, math.nan)
        self._late.start()

    def show_range(self, start: float, stop: float) -> None:
        """Zoom to an x range; the y range fits what is inside."""
        self._follow = False
        self._box.setXRange(start, stop, padding=0)
        self._late.start()

    def redraw(self) -> None:
        """Draw the curves whose points changed since the last call, and fit the axes."""
        lines = [line for line in self._lines.values() if len(line.x)]
        self._show_scales(on=bool(lines))
        self._draw_dots(lines)
        if not lines:
            for line in self._lines.values():
                line.item.setData(EMPTY.x, EMPTY.y)
            return
        start, stop = self._followed(lines) if self._follow else self._range
        if (start, stop) != self._range:
            self._range = (start, stop)
            for line in lines:
                line.stale = True
        pixels = max(100, int(self._canvas.width()))
        for line in lines:
            if line.stale:
                line.drawn = outline(line.x, line.low, line.high, start, stop, pixels)
                line.item.setData(line.drawn.x, line.drawn.y, connect=line.drawn.connect, skipFiniteCheck=True)
                line.stale = False
        self._fit(lines, start, stop)

    def _draw_dots(self, lines: list[_Line]) -> None:
        """A curve of one point has no line: it is a dot, which is drawn anew only when there are others."""
        single = [(float(line.x[0]), float(line.high[0]), line.colour) for line in lines if len(line.x) == 1 and math.isfinite(line.high[0])]
        if single != self._single:
            self._single = single
            self._dots.setData(
                [{"pos": (x, y), "size": DOT, "brush": pg.mkBrush(colour), "pen": pg.mkPen(self._theme.surface)} for x, y, colour in single]
            )

    def _show_scales(self, *, on: bool) -> None:
        """Ticks and grid only where there is something to read off: they are most of what painting a plot costs."""
        if on != self._scaled:
            self._scaled = on
            for side in ("left", "bottom"):
                self._plot.getAxis(side).setTicks(None if on else [[]])

    def _followed(self, lines: list[_Line]) -> tuple[float, float]:
        """The x range that shows all points. While they grow it runs ahead, so that axes and scales move now and then, not at every redraw."""
        first, last = min(float(line.x[0]) for line in lines), max(float(line.x[-1]) for line in lines)
        start, stop = self._range
        if first == start and last <= stop and last - first >= FILLED * (stop - start):
            return start, stop
        grows = first == start and last > stop
        return first, last + AHEAD * (last - first) if grows else last if last > first else first + 1.0

    def _fit(self, lines: list[_Line], start: float, stop: float) -> None:
        drawn = [line.drawn.y for line in lines if len(line.drawn.y)]
        if not drawn:
            return
        low, high = min(float(y.min()) for y in drawn), max(float(y.max()) for y in drawn)
        if self._from_zero:
            low = min(low, 0.0)
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        bottom, top = (low if self._from_zero and low == 0 else low - room), high + room
        if self._heights[0] <= low and high <= self._heights[1] and top - bottom >= FILLED * (self._heights[1] - self._heights[0]):
            bottom, top = self._heights
        side = (stop - start) * 0.01
        wanted = (start - side, stop + side, bottom, top)
        if wanted == self._shown:
            return
        self._shown, self._heights = wanted, (bottom, top)
        self._box.blockSignals(True)
        self._box.setRange(xRange=wanted[:2], yRange=wanted[2:], padding=0)
        self._box.blockSignals(False)
        # Blocked signals also keep the axes from hearing of the new range; tell them.
        for side_name, axis_range in zip(("bottom", "left"), self._box.viewRange(), strict=True):
            self._plot.getAxis(side_name).setRange(*axis_range)

    def _by_hand(self, *_: object) -> None:
        self._follow = False

    def _moved(self) -> None:
        if self._follow:
            return
        (start, stop), _ = self._box.viewRange()
        self._range, self._shown = (start, stop), None
        for line in self._lines.values():
            line.stale = True
        self._late.start()
        self.viewed.emit(start, stop)

    def mouseDoubleClickEvent(self, event) -> None:
        self.show_all()
        super().mouseDoubleClickEvent(event)

    def _mouse(self, position: QPointF) -> None:
        inside = self._plot.sceneBoundingRect().contains(position)
        self.pointed.emit(self._box.mapSceneToView(position).x() if inside else math.nan)

    def point_at(self, x: float) -> None:
        """Show the crosshair and the values there; NaN hides it. Called by all linked plots, so that they point at the same x."""
        if math.isnan(x):
            self._cross.hide()
            self._show_caption()
            return
        self._cross.setPos(x)
        self._cross.show()
        parts = []
        for line in self._lines.values():
            if len(line.x):
                nearest = min(len(line.x) - 1, int(np.searchsorted(line.x, x)))
                parts.append(f"{line.name} {number(float(line.high[nearest]))}")
        self._caption.setText(f"at {number(x)}:  " + "   ".join(parts[:5]) if parts else "")

    def set_unit(self, unit: str) -> None:
        """The unit, which is known only once the first point is there."""
        if unit and unit != self.unit:
            self.unit = unit
            self._canvas.setAccessibleName(f"{self.title} in {unit}")
            self._show_caption()

    def name_x(self, name: str) -> None:
        """What x counts: steps, seconds."""
        self._x_name = name
        self._show_caption()

    def _show_caption(self) -> None:
        self._caption.setText(f"{self.unit} over {self._x_name}" if self.unit else f"over {self._x_name}")

    def leaveEvent(self, event) -> None:
        self.pointed.emit(math.nan)
        super().leaveEvent(event)

    def keyPressEvent(self, event) -> None:
        if event.key() in (Qt.Key.Key_Home, Qt.Key.Key_A):
            self.show_all()
        else:
            super().keyPressEvent(event)
