"""The two axes of a plot: logarithmic or not, drawn once and copied until they change."""

from __future__ import annotations

from PySide6.QtGui import QColor
from PySide6.QtWidgets import QGraphicsItem

from workbench.logaxis import ScaleAxis
from workbench.theme import Theme

WIDTH = 58
"""Pixels of the axis at the left."""


class Axes:
    """An axis that did not change is a picture that is only copied: its texts cost more than all curves together."""

    def __init__(self) -> None:
        self.items = {side: ScaleAxis(side) for side in ("left", "bottom")}
        self._ticks = True

    @property
    def log_x(self) -> bool:
        return self.items["bottom"].logarithmic

    @property
    def log_y(self) -> bool:
        return self.items["left"].logarithmic

    def set_scales(self, *, log_x: bool, log_y: bool) -> bool:
        """Whether that is a change."""
        if (log_x, log_y) == (self.log_x, self.log_y):
            return False
        self.items["bottom"].logarithmic, self.items["left"].logarithmic = log_x, log_y
        for axis in self.items.values():
            axis.picture = None
            axis.update()
        return True

    def show_ticks(self, on: bool) -> None:
        """Only where there is something to read off: they are most of what painting a plot costs."""
        if on != self._ticks:
            self._ticks = on
            for axis in self.items.values():
                axis.setTicks(None if on else [[]])

    def show_ranges(self, x: list[float], y: list[float]) -> None:
        self.items["bottom"].setRange(*x)
        self.items["left"].setRange(*y)

    def rules(self, y: list[float], height: float) -> list[float]:
        """At which y of a range an axis of so many pixels has its numbers."""
        found = self.items["left"].tickValues(y[0], y[1], height) if self._ticks else []
        return [float(tick) for tick in found[0][1]] if found else []

    def resized(self) -> None:
        """The cache of an axis keeps what was painted at its old size."""
        for axis in self.items.values():
            axis.picture = None
            axis.setCacheMode(QGraphicsItem.CacheMode.NoCache)
            axis.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        for axis in self.items.values():
            axis.setPen(QColor(theme.border))
            axis.setTextPen(QColor(theme.muted))
            axis.setStyle(tickLength=-4, maxTickLevel=1)
            axis.enableAutoSIPrefix(False)
            axis.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.items["left"].setWidth(WIDTH)
