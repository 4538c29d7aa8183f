"""What a plot shows: everything there is, running ahead of curves that grow, or the part of x that somebody chose; y fits what is inside."""

from __future__ import annotations

import math
from collections.abc import Sequence

from workbench.plotting.lines import Line

FILLED = 0.7
"""Share of the visible range that the points must fill; below it the range is fitted anew."""
AHEAD = 0.15
"""How far the x range of growing curves runs ahead of them."""


class Frame:
    """Ranges move now and then, not at every point: a new range redraws axes and all curves.

    extent: the first and last x of everything that is to be seen together, where that is more than one plot's own curves.
    """

    def __init__(self) -> None:
        self.follows = True
        self.y_is_chosen = self.from_zero = False
        self.extent: tuple[float, float] | None = None
        self.forget()

    def forget(self) -> None:
        """Fit anew at the next call."""
        self.range = (0.0, 1.0)
        self._heights = (math.inf, -math.inf)

    def follow(self) -> None:
        """Show everything again."""
        self.follows, self.y_is_chosen = True, False
        self.forget()

    def choose(self, start: float, stop: float) -> None:
        """Show this part of x."""
        self.follows, self.range = False, (start, stop)

    def fit(self, lines: Sequence[Line], height: tuple[float, float], *, log_y: bool) -> tuple[float, float, float, float] | None:
        """x at the left and right, y at the bottom and top; None where there is nothing to see. height: the y range that is shown now."""
        if self.follows:
            self.range = self._whole(lines)
        start, stop = self.range
        pairs = [line.extremes(start, stop) for line in lines]
        low, high = min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
        if low > high or not (math.isfinite(low) and math.isfinite(high)):
            return None
        bottom, top = height if self.y_is_chosen else self._fitting(low, high, zero=self.from_zero and not log_y)
        side = (stop - start) * 0.01 if self.follows else 0.0
        return start - side, stop + side, bottom, top

    def _fitting(self, low: float, high: float, *, zero: bool) -> tuple[float, float]:
        if zero:
            low = min(low, 0.0)
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        bottom, top = (low if zero and low == 0 else low - room), high + room
        if not (self._heights[0] <= low and high <= self._heights[1] and top - bottom >= FILLED * (self._heights[1] - self._heights[0])):
            self._heights = (bottom, top)
        return self._heights

    def _whole(self, lines: Sequence[Line]) -> tuple[float, float]:
        first, last = min(float(line.front.x[0]) for line in lines), max(float(line.front.x[-1]) for line in lines)
        if self.extent is not None:
            first, last = min(first, self.extent[0]), max(last, self.extent[1])
        start, stop = self.range
        if first == start and last <= stop and last - first >= FILLED * (stop - start):
            return start, stop
        grows = first == start and last > stop
        return first, last + AHEAD * (last - first) if grows else last if last > first else first + 1.0
