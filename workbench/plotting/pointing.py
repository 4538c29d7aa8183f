"""The crosshair of a plot: a line at a real point, a dot on each curve, and one label beside the mouse."""

from __future__ import annotations

from collections.abc import Iterable

import pyqtgraph as pg
from PySide6.QtCore import QPointF
from PySide6.QtWidgets import QWidget

from workbench.plotting.lines import Line
from workbench.plotting.readout import Readout, nearest, readings
from workbench.theme import Theme
from workbench.widgets.text import number

MARK = 7


class Crosshair:
    """`point_at` moves it. pointer: where the mouse is in the scene while it is over this plot, else None: then no label is shown here."""

    def __init__(self, plot: pg.PlotItem, canvas: pg.PlotWidget) -> None:
        self._box, self._canvas = plot.getViewBox(), canvas
        self._cross = pg.InfiniteLine(angle=90, movable=False)
        self._marks = pg.ScatterPlotItem(pxMode=True)
        for item, height in ((self._cross, 50), (self._marks, 60)):
            item.setZValue(height)
            plot.addItem(item, ignoreBounds=True)
        label_parent: QWidget = canvas
        self._readout = Readout(label_parent)
        self.pointer: QPointF | None = None
        self.hide()

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._surface = theme.surface
        self._cross.setPen(pg.mkPen(theme.strong, width=1))
        self._readout.paint_with(theme)

    def hide(self) -> None:
        for item in (self._cross, self._marks, self._readout):
            item.hide()

    @property
    def text(self) -> str:
        """What the label says; empty while there is none."""
        return "" if self._readout.isHidden() else self._readout.text()

    def point_at(self, lines: Iterable[Line], x: float, x_name: str, unit: str, *, log_x: bool, log_y: bool) -> str | None:
        """Point at x. Returns what there is to say of it where the mouse is over another plot: "steps 1,200: 4.1 to 5.2 nats/token".

        Empty where the label says it, None where there is nothing at x.
        """
        found = readings(lines, x, log_y=log_y)
        if not found:
            self.hide()
            return None
        y = self._box.mapSceneToView(self.pointer).y() if self.pointer is not None else max(each.y for each in found)
        closest = min(found, key=lambda each: abs(each.y - y))
        kept = nearest(found, y, self._canvas.height())
        self._cross.setPos(closest.x)
        self._marks.setData([{"pos": (e.x, e.y), "size": MARK, "brush": pg.mkBrush(e.line.colour), "pen": pg.mkPen(self._surface)} for e in kept])
        self._cross.show()
        self._marks.show()
        heading = f"{x_name} {number(10**closest.x if log_x else closest.x, 6)}"
        if self.pointer is not None:
            self._readout.show_at(self._canvas.mapFromScene(self.pointer), heading, kept, closest, len(found) - len(kept))
            return ""
        self._readout.hide()
        values = sorted(each.value for each in found)
        span = number(values[0]) if len(values) == 1 else f"{number(values[0])} to {number(values[-1])}"
        return f"{heading}:  {span} {unit}".rstrip()
