"""A curve of one point has no line: it is a dot."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pyqtgraph as pg

from workbench.plotting.lines import Line

SIZE = 8
"""Pixels of a dot."""


class Dots(pg.ScatterPlotItem):
    """Drawn anew only when there are others."""

    def __init__(self) -> None:
        super().__init__(pxMode=True)
        self.setZValue(20)
        self._single: list[tuple[float, float, str]] = []

    def show_lines(self, lines: Iterable[Line], surface: str) -> None:
        """Those of one point. surface: the colour that they lie on."""
        fronts = [(line.front, line.colour) for line in lines if len(line.front.x) == 1]
        single = [(float(front.x[0]), float(front.high[0]), colour) for front, colour in fronts if math.isfinite(front.high[0])]
        if single != self._single:
            self._single = single
            self.setData([{"pos": (x, y), "size": SIZE, "brush": pg.mkBrush(colour), "pen": pg.mkPen(surface)} for x, y, colour in single])
