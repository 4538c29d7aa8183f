"""The points of one series as the curves hold them, and how they are drawn: as they are, or smoothed with the raw band behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from workbench.reduction import Growing, smoothed

if TYPE_CHECKING:
    from engines.store.rows import Curve, SeriesRow


FEWEST = 5
"""Spans of smoothing that a curve must have: a figure that is taken ten times in a run is not smoothed over fifty points."""


@dataclass
class Held:
    """points: single ones; history: all before them, reduced; detail: the part that is zoomed to, finer."""

    series: SeriesRow
    points: Growing = field(default_factory=Growing)
    history: Curve | None = None
    detail: Curve | None = None
    stale: bool = True

    @property
    def reduced(self) -> bool:
        """Whether bins stand for some of the points."""
        return (self.detail or self.history) is not None and not (self.detail or self.history).exact  # type: ignore[union-attr]

    def steps(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Steps of what is drawn, and its unix seconds, where each of them is one point."""
        steps, times, _values = self.points.arrays()
        if self.detail is not None:
            return _reaching_the_end(self.detail), None
        if self.history is not None:
            return np.concatenate([_reaching_the_end(self.history), steps]), None
        return steps, times

    def values(self, span: float) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
        """(lows, highs, raw lows and highs behind them). span: points to smooth over; bins are smoothed at their middle."""
        _steps, _times, values = self.points.arrays()
        if self.detail is not None:
            low, high = self.detail.lows, self.detail.highs
        elif self.history is not None:
            low, high = np.concatenate([self.history.lows, values]), np.concatenate([self.history.highs, values])
        else:
            low = high = values
        span = min(span, len(low) / FEWEST)
        if span <= 1 or not len(low):
            return low, high, None
        mean = smoothed(values, span) if low is values else self._smoothed(low, high, values, span)
        return mean, mean, (low, high)

    def _smoothed(self, low: np.ndarray, high: np.ndarray, values: np.ndarray, span: float) -> np.ndarray:
        curve = self.detail or self.history
        assert curve is not None
        middle = (low + high) / 2
        bins = len(curve)
        whole = smoothed(middle[:bins], span * bins / max(1, curve.points))
        if self.detail is not None or not len(values):
            return whole
        before = int(2 * span)
        tail = smoothed(np.concatenate([np.full(min(before, bins), whole[-1]), values]), span)[min(before, bins) :]
        return np.concatenate([whole, tail])


def _reaching_the_end(curve: Curve) -> np.ndarray:
    """Where the bins of a reduced curve begin, the last one where it ends: so that the drawing does."""
    steps = curve.steps.copy()
    steps[-1:] = curve.steps_last[-1:]
    return steps
