"""Curves that stay fast: each reduced to columns of pixels, drawn into one picture, of which only what changed is drawn again."""

from __future__ import annotations

import math
import time
from functools import partial

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QContextMenuEvent
from PySide6.QtWidgets import QMenu, QVBoxLayout, QWidget

from workbench.plotting.axes import Axes
from workbench.plotting.dots import Dots
from workbench.plotting.framing import Frame
from workbench.plotting.heading import Heading
from workbench.plotting.layer import CurveLayer
from workbench.plotting.lines import Line, Trace, on_scales
from workbench.plotting.mixing import mixed
from workbench.plotting.panebox import PaneBox
from workbench.plotting.pointing import Crosshair
from workbench.theme import Theme

pg.setConfigOptions(antialias=False, useOpenGL=False)
PAUSE_MS, LATEST_MS = 12, 100
"""Between a movement and its drawing: movements that come faster are drawn together."""
_EXPORTS = (("svg", "Export as SVG …"), ("pdf", "Export as PDF …"), ("png", "Export as PNG …"), ("csv", "Export the points as CSV …"))
FAINT = 0.35
"""How much of a curve's colour its raw band has, behind the smoothed curve."""


class CurvePlot(QWidget):
    """One quantity over steps, tokens or time for several runs. `set_curve` only stores points; `redraw` draws what changed.

    On a logarithmic axis all x and y in here are logarithms to base ten, also those of `viewed` and `pointed`.
    """

    viewed = Signal(float, float)
    """The user zoomed or panned to this x range (or back to everything, then NaN, NaN)."""
    pointed = Signal(float)
    """The mouse is over this x; NaN when it left."""
    export_wanted = Signal(str)
    """svg, png or csv."""
    unwanted = Signal()
    """The user closes this plot."""

    def __init__(self, title: str, unit: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 8, 8, 6)
        column.setSpacing(1)
        self.head = Heading(title, unit, theme)
        button = self.head.menu_button
        button.clicked.connect(lambda: self._menu().popup(button.mapToGlobal(button.rect().bottomLeft())))
        column.addWidget(self.head)
        self._box = PaneBox()
        self.axes = Axes()
        self._plot = pg.PlotItem(viewBox=self._box, axisItems=self.axes.items, enableMenu=False)
        self._canvas = pg.PlotWidget(plotItem=self._plot)
        self._canvas.setFrameShape(self._canvas.Shape.NoFrame)
        self._canvas.setAccessibleName(f"{title} in {unit}" if unit else title)
        self._canvas.setMinimumHeight(120)
        column.addWidget(self._canvas, 1)
        self._plot.hideButtons()
        # Half a number's height: the number of a tick at the very top would be cut.
        self._plot.layout.setContentsMargins(1, 8, 1, 1)
        self._layer = CurveLayer(self._box)
        self._lines: dict[object, Line] = {}
        self.frame = Frame()
        self._anew, self._cost = False, 0.0
        self._grown: dict[object, float] = {}
        self._emphasised: frozenset[object] = frozenset()
        self._shown: tuple[float, float, float, float] | None = None
        self._dots = Dots()
        self._plot.addItem(self._dots, ignoreBounds=True)
        self._crosshair = Crosshair(self._plot, self._canvas)
        self._box.sigRangeChangedManually.connect(self._by_hand)
        self._box.sigXRangeChanged.connect(lambda *_: self._moved())
        self._box.sigResized.connect(lambda *_: self._resized())
        scene = self._canvas.scene()
        scene.sigMouseMoved.connect(self._mouse)
        scene.sigMouseClicked.connect(lambda event: self.show_all() if event.double() else None)
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.timeout.connect(self.redraw)
        self.paint_with(theme)

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme; curves keep the colours they were given until they are set again."""
        self.theme = theme
        self._canvas.setBackground(QColor(theme.surface))
        self.axes.paint_with(theme)
        grid = mixed(theme.surface, theme.grid, 0.5)
        self._layer.stand_on(theme.surface, grid, lambda: self.axes.rules(self._box.viewRange()[1], self._box.height()))
        self._crosshair.paint_with(theme)

    # --- Curves --------------------------------------------------------------------------------------------------------------------------------

    def start_at_zero(self) -> None:
        """Let the y axis begin at zero (memory, throughput): differences then look as large as they are."""
        self.frame.from_zero = True

    def set_scales(self, *, log_x: bool, log_y: bool) -> None:
        """Logarithmic axes. Curves that were given before have to be given again."""
        if self.axes.set_scales(log_x=log_x, log_y=log_y):
            self.show_all()

    def set_curve(
        self, key: object, name: str, colour: str, x: np.ndarray, low: np.ndarray, high: np.ndarray | None = None, *,
        raw: tuple[np.ndarray, np.ndarray] | None = None, filled: bool = False, shown: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        """Store the points of a curve, x (n,) rising; NaN is a gap. raw: lows and highs that are drawn faintly behind it (what was smoothed).
        filled: the area between low and high; shown: the values to read off there. Drawn at the next `redraw`."""
        bands, shown = on_scales([x, low, low if high is None else high, *(raw or ())], shown, log_x=self.axes.log_x, log_y=self.axes.log_y)
        old = self._lines.get(key)
        same = old is not None and not filled and old.colour == colour and (old.behind is None) == (raw is None)
        front = Trace(bands[0], bands[1], bands[2], old.front if same and old is not None else None)
        behind = Trace(bands[0], bands[3], bands[4], old.behind if same and old is not None else None) if raw is not None else None
        line = Line(name, colour, mixed(self.theme.surface, colour, FAINT), front, behind, filled, shown)
        if same and old is not None and front.continued:
            self._grown.setdefault(key, float(old.front.x[-1]))
        else:
            self._anew = True
        self._lines[key] = line

    def remove_curve(self, key: object) -> None:
        if self._lines.pop(key, None) is not None:
            self._anew = True

    def clear(self) -> None:
        for key in list(self._lines):
            self.remove_curve(key)
        self.frame.extent = None
        self.point_at(math.nan)
        self.show_all()

    @property
    def keys(self) -> list[object]:
        return list(self._lines)

    @property
    def lines(self) -> list[Line]:
        return list(self._lines.values())

    def drawn_points(self, key: object) -> int:
        """How many points of a curve are on the screen, after reduction."""
        return len(self._lines[key].front.outline(*self.frame.range, max(100, self._canvas.width())).x)

    def emphasise(self, keys: frozenset[object]) -> None:
        """Let these curves stand out from the others (none: all alike)."""
        keys &= frozenset(self._lines)
        if keys != self._emphasised:
            self._emphasised, self._anew = keys, True
            self._late.start(PAUSE_MS)

    # --- What is seen ------------------------------------------------------------------------------------------------------------------------

    def show_all(self) -> None:
        """Follow the data again after zooming."""
        self.frame.follow()
        self._shown = None
        self.viewed.emit(math.nan, math.nan)
        self._late.start(PAUSE_MS)

    def show_range(self, start: float, stop: float) -> None:
        """Zoom to an x range; the y range fits what is inside."""
        self.frame.choose(start, stop)
        self._shown = None
        if not self._late.isActive():
            # Where a drawing is long, the plots beside the one that is moved come after it: the hand is not to feel them.
            self._late.start(min(LATEST_MS, max(PAUSE_MS, round(2000 * self._cost))))

    def redraw(self) -> None:
        """Draw the curves whose points changed since the last call, and fit the axes."""
        began = time.perf_counter()
        lines = [line for line in self._lines.values() if len(line.front.x)]
        self.axes.show_ticks(bool(lines))
        self.head.show_empty(not lines)
        self._dots.show_lines(lines, self.theme.surface)
        if lines:
            self._show(self.frame.fit(lines, self._box.viewRange()[1], log_y=self.axes.log_y))
        if self._anew:
            self._layer.draw_anew(self._coloured(lines))
        else:
            if self._grown:
                self._layer.know(self._coloured(lines))
            self._layer.look()
            if self._grown:
                self._layer.draw_more([(self._lines[key], start) for key, start in self._grown.items() if key in self._lines])
        self._anew, self._grown = False, {}
        self._cost = time.perf_counter() - began

    def seconds(self) -> float:
        """What drawing has taken of the window's thread since the last call."""
        return self._layer.take_seconds()

    def finish(self) -> None:
        """Draw at once what would be drawn in slices."""
        self.redraw()
        self._layer.finish()

    def _coloured(self, lines: list[Line]) -> list[Line]:
        """In the order of drawing: what stands out comes last, the others are paler then."""
        if not self._emphasised:
            return lines
        chosen = [line for key, line in self._lines.items() if key in self._emphasised]
        others = [line for line in lines if not any(line is each for each in chosen)]
        pale = [Line(o.name, o.faint, mixed(self.theme.surface, o.colour, FAINT / 2), o.front, o.behind, o.filled, o.shown) for o in others]
        return [*pale, *chosen]

    def _show(self, wanted: tuple[float, float, float, float] | None) -> None:
        if wanted is None or wanted == self._shown:
            return
        self._shown = wanted
        self._box.blockSignals(True)
        self._box.setRange(xRange=wanted[:2], yRange=wanted[2:], padding=0)
        self._box.blockSignals(False)
        # Blocked signals also keep the axes from hearing of the new range; tell them.
        self.axes.show_ranges(*self._box.viewRange())

    def _resized(self) -> None:
        self.axes.resized()
        self._layer.look()

    def _by_hand(self, mouse: tuple[bool, bool]) -> None:
        self.frame.follows = False
        if mouse[1]:
            self.frame.y_is_chosen = True
            self._late.start(PAUSE_MS)

    def _moved(self) -> None:
        if self.frame.follows:
            return
        (start, stop), _ = self._box.viewRange()
        self.frame.choose(start, stop)
        self._shown = None
        if not self._late.isActive():
            self._late.start(PAUSE_MS)
        self.viewed.emit(start, stop)

    # --- Pointing ------------------------------------------------------------------------------------------------------------------------------

    def _mouse(self, position: QPointF) -> None:
        inside = self._box.sceneBoundingRect().contains(position)
        self._crosshair.pointer = position if inside else None
        self.pointed.emit(self._box.mapSceneToView(position).x() if inside else math.nan)

    def point_at(self, x: float) -> None:
        """Show the crosshair and the values there; NaN hides it. Called for all linked plots, so that they point at the same x."""
        logs = {"log_x": self.axes.log_x, "log_y": self.axes.log_y}
        said = None if math.isnan(x) else self._crosshair.point_at(self.lines, x, self.head.x_name, self.head.unit, **logs)
        if said is None:
            self._crosshair.hide()
        self.head.read_out(said or "")

    @property
    def readout(self) -> str:
        """What the label at the pointer says; empty while there is none."""
        return self._crosshair.text

    def set_unit(self, unit: str) -> None:
        """The unit, which is known only once the first point is there."""
        if unit and unit != self.head.unit:
            self.head.set_unit(unit)
            self._canvas.setAccessibleName(f"{self.head.title} in {unit}")

    def leaveEvent(self, event) -> None:
        self._crosshair.pointer = None
        self.pointed.emit(math.nan)
        super().leaveEvent(event)

    def keyPressEvent(self, event) -> None:
        if event.key() in (Qt.Key.Key_Home, Qt.Key.Key_A):
            self.show_all()
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self._menu().popup(event.globalPos())

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Show everything", self.show_all)
        menu.addSeparator()
        for form, name in _EXPORTS:
            menu.addAction(name, partial(self.export_wanted.emit, form))
        menu.addSeparator()
        menu.addAction("Close this plot", self.unwanted.emit)
        return menu

    def close_down(self) -> None:
        """It is taken away: draw nothing any more."""
        self._late.stop()
        self._layer.close()

    def view(self) -> tuple[float, float, float, float]:
        """x at the left and right, y at the bottom and top."""
        (left, right), (bottom, top) = self._box.viewRange()
        return left, right, bottom, top
