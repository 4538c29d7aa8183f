"""A curve of a plot and its extremes at a coarser scale, so that any part of it is drawn from a few thousand figures."""

from __future__ import annotations

import math
from dataclasses import InitVar, dataclass, field

import numpy as np

from workbench.reduction import EMPTY, Outline, outline, seen

COARSE = 16
"""Points in a bin of the coarser scale."""
DENSE = 2
"""Points a column from which on a column is drawn as one span from its lowest to its highest value."""

NONE = np.empty((0, 4))


def on_scales(bands: list[np.ndarray], shown: np.ndarray | None, *, log_x: bool, log_y: bool) -> tuple[list[np.ndarray], np.ndarray | None]:
    """[x, values ...] and the values to read off, as logarithms to base ten where the axis is logarithmic, without points whose x is unknown."""
    x = bands[0]
    if not (log_x or log_y) and np.isfinite(x[[0, -1]] if len(x) else 0.0).all():  # A clock that does not know yet gives NaN.
        return bands, shown
    with np.errstate(divide="ignore", invalid="ignore"):
        bands = [np.log10(each) if (log_x if place == 0 else log_y) else each for place, each in enumerate(bands)]
        bands[1:] = [np.where(np.isfinite(each), each, np.nan) for each in bands[1:]]
        shown = np.log10(shown) if shown is not None and log_y else shown
    known = np.isfinite(bands[0])  # Zero and below have no logarithm.
    if known.all():
        return bands, shown
    return [each[known] for each in bands], None if shown is None else shown[known]


@dataclass
class Trace:
    """x (n,) rising; low and high (n,) values or extremes of bins, NaN for gaps; lows and highs: extremes of COARSE points each."""

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    before: InitVar[Trace | None] = None
    """What this one continues, where it does: its full bins are taken over."""
    lows: np.ndarray = field(init=False)
    highs: np.ndarray = field(init=False)
    continued: bool = field(init=False, default=False)

    def __post_init__(self, before: Trace | None) -> None:
        if before is not None and self._continues(before):
            self.continued = True
            full = len(before.x) // COARSE
            low, high = self._coarse(full)
            self.lows, self.highs = np.concatenate((before.lows[:full], low)), np.concatenate((before.highs[:full], high))
        else:
            self.lows, self.highs = self._coarse(0)

    def _coarse(self, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Extremes of the bins from number `first` on."""
        if first * COARSE >= len(self.x):
            return np.empty(0), np.empty(0)
        starts = np.arange(first * COARSE, len(self.x), COARSE) - first * COARSE
        return np.fmin.reduceat(self.low[first * COARSE :], starts), np.fmax.reduceat(self.high[first * COARSE :], starts)

    def _continues(self, other: Trace) -> bool:
        """Whether this is the other trace with points added at its end: told from its first, middle and last point."""
        n = len(other.x)
        if n == 0 or len(self.x) < n:
            return False
        return all(
            mine[at] == theirs[at] or (mine[at] != mine[at] and theirs[at] != theirs[at])
            for mine, theirs in ((self.x, other.x), (self.low, other.low), (self.high, other.high))
            for at in (0, n // 2, n - 1)
        )

    def extremes(self, start: float, stop: float) -> tuple[float, float]:
        """Lowest and highest value between x = start and x = stop; (inf, -inf) where there is none."""
        first, last = seen(self.x, start, stop)
        if last - first > 8 * COARSE:
            low, high = self.lows[first // COARSE : -(-last // COARSE)], self.highs[first // COARSE : -(-last // COARSE)]
        else:
            low, high = self.low[first:last], self.high[first:last]
        if not len(low):
            return math.inf, -math.inf
        lowest, highest = float(np.fmin.reduce(low)), float(np.fmax.reduce(high))
        if math.isfinite(lowest) and math.isfinite(highest):
            return lowest, highest
        low, high = low[np.isfinite(low)], high[np.isfinite(high)]
        return (float(low.min()), float(high.max())) if len(low) and len(high) else (math.inf, -math.inf)

    def nearest(self, x: float) -> int | None:
        """The ordinal of the point whose x is nearest; None where there is no point."""
        if not len(self.x):
            return None
        after = int(np.searchsorted(self.x, x))
        if after == len(self.x) or (after and x - self.x[after - 1] <= self.x[after] - x):
            after -= 1
        return after

    def outline(self, start: float, stop: float, pixels: int) -> Outline:
        return outline(self.x, self.low, self.high, start, stop, pixels) if len(self.x) else EMPTY

    def spans(self, start: float, step: float, first: int, last: int) -> Spans | None:
        """What the columns first to last (exclusive), each `step` wide and counted from x = start, show; None where points are few."""
        begin, end = seen(self.x, start + first * step, start + last * step)
        columns = last - first
        if end - begin <= DENSE * columns:
            return None
        edges = np.searchsorted(self.x, start + step * np.arange(first, last + 1))
        filled = np.flatnonzero(edges[1:] > edges[:-1])
        starts = edges[filled]
        if end - begin > 2 * COARSE * columns and len(filled) == columns:
            # Enough points a column that each begins in a bin of its own; a bin on a border counts for both sides.
            bins, stop = starts // COARSE, -(-int(edges[-1]) // COARSE)
            low, high = np.fmin.reduceat(self.lows[:stop], bins), np.fmax.reduceat(self.highs[:stop], bins)
        else:
            low, high = np.fmin.reduceat(self.low[: edges[-1]], starts), np.fmax.reduceat(self.high[: edges[-1]], starts)
        joints = self._joints(begin, end, filled, starts, edges) if len(filled) < columns else NONE
        return Spans(filled + first, low, high, joints)

    def _joints(self, begin: int, end: int, filled: np.ndarray, starts: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Lines over columns without points, and to the neighbours outside: (k, 4) of x1, y1, x2, y2."""
        over = starts[1:][np.diff(filled) > 1]
        outside = [at for at in (int(edges[0]), int(edges[-1])) if begin < at < end]
        after = np.concatenate((over, outside)).astype(np.intp)
        lines = np.stack((self.x[after - 1], self.high[after - 1], self.x[after], self.high[after]), axis=1)
        return lines[np.isfinite(lines).all(axis=1)]


@dataclass(frozen=True)
class Spans:
    """column (c,), low (c,), high (c,): one vertical span a column that holds points; joints (k, 4): x1, y1, x2, y2 of lines between."""

    column: np.ndarray
    low: np.ndarray
    high: np.ndarray
    joints: np.ndarray


@dataclass
class Line:
    """A curve: front is what is read off; behind it the raw band where the front is smoothed. filled: the area between low and high."""

    name: str
    colour: str
    faint: str
    front: Trace
    behind: Trace | None = None
    filled: bool = False
    shown: np.ndarray | None = None
    """The values to read off where they are not those drawn (the parts of a stack)."""

    def extremes(self, start: float, stop: float) -> tuple[float, float]:
        """Of the front and of what is behind it: a smoothed curve hides no spike."""
        low, high = self.front.extremes(start, stop)
        if self.behind is not None:
            below, above = self.behind.extremes(start, stop)
            low, high = min(low, below), max(high, above)
        return low, high
