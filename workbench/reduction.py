"""Fewer points, same picture: minimum and maximum per pixel column, so that a curve of any length is drawn fast and no spike is lost. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Outline:
    """What to draw: x and y of shape (n,), finite and contiguous; connect of shape (n,), 1 where a point is joined to the next."""

    x: np.ndarray
    y: np.ndarray
    connect: np.ndarray


EMPTY = Outline(np.empty(0), np.empty(0), np.empty(0, dtype=np.int32))


def outline(x: np.ndarray, low: np.ndarray, high: np.ndarray, start: float, stop: float, pixels: int) -> Outline:
    """Reduce a curve to a viewport of `pixels` columns between x = start and x = stop.

    x (n,) rises; low and high (n,) are the values, or the extremes of points that were reduced before; NaN is a gap. At most 4 points a
    column come back: one point on either side of the viewport is kept, so that lines run on to the edges.
    """
    if len(x) == 0 or stop <= start:
        return EMPTY
    first = max(0, int(np.searchsorted(x, start, "left")) - 1)
    last = min(len(x), int(np.searchsorted(x, stop, "right")) + 1)
    x, low, high = x[first:last], low[first:last], high[first:last]
    if len(x) > 2 * pixels:
        x, low, high = _columns(x, low, high, pixels)
    if low is high or np.array_equal(low, high, equal_nan=True):
        return _joined(x, low)
    xs = np.repeat(x, 2)
    ys = np.empty(2 * len(x))
    # Alternate the order, so that the line from one column to the next is short.
    ys[0::4], ys[1::4] = low[0::2], high[0::2]
    ys[2::4], ys[3::4] = high[1::2], low[1::2]
    return _joined(xs, ys)


def _columns(x: np.ndarray, low: np.ndarray, high: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Extremes over runs of equally many points. A column with a gap and values keeps the values; one of gaps only stays a gap."""
    size = -(-len(x) // pixels)
    starts = np.arange(0, len(x), size)
    lows, highs = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    gaps = np.isnan(lows) | np.isnan(highs)
    if gaps.any():
        # Only now the long way over all points, which few curves need: gaps do not count as extremes.
        lows = np.minimum.reduceat(np.where(np.isnan(low), np.inf, low), starts)
        highs = np.maximum.reduceat(np.where(np.isnan(high), -np.inf, high), starts)
        empty = lows > highs
        lows[empty] = highs[empty] = np.nan
    return x[starts], lows, highs


def _joined(x: np.ndarray, y: np.ndarray) -> Outline:
    finite = np.isfinite(y)
    if finite.all():
        connect = np.ones(len(y), dtype=np.int32)
        if len(connect):
            connect[-1] = 0
        return Outline(np.ascontiguousarray(x, dtype=np.float64), np.ascontiguousarray(y, dtype=np.float64), connect)
    after = np.append(finite[1:], False)
    return Outline(
        np.ascontiguousarray(x[finite], dtype=np.float64), np.ascontiguousarray(y[finite], dtype=np.float64), after[finite].astype(np.int32)
    )


def smoothed(values: np.ndarray, span: float) -> np.ndarray:
    """Moving average over about `span` points, exponential and bias-corrected; gaps stay gaps. span <= 1 changes nothing."""
    if span <= 1 or len(values) == 0:
        return values
    keep = np.isfinite(values)
    kept = values[keep]
    if len(kept) == 0:
        return values
    decay = 1 - 2 / (span + 1)
    window = min(len(kept), max(1, int(np.ceil(np.log(1e-3) / np.log(decay)))))
    kernel = decay ** np.arange(window)
    # The convolution of values and of ones: their ratio is the weighted mean of the points there are.
    weight = np.convolve(np.ones(min(len(kept), 2 * window)), kernel)[: min(len(kept), 2 * window)]
    weights = np.full(len(kept), weight[-1])
    weights[: len(weight)] = weight
    result = np.full(len(values), np.nan)
    result[keep] = np.convolve(kept, kernel)[: len(kept)] / weights
    return result


class Growing:
    """Points that arrive in pieces, in arrays that double: appending is cheap, `arrays()` copies nothing."""

    def __init__(self) -> None:
        self._count = 0
        self._room = {name: np.empty(1024) for name in ("step", "time", "value")}

    def __len__(self) -> int:
        return self._count

    def append(self, steps: np.ndarray, times: np.ndarray, values: np.ndarray) -> None:
        """Add points, in order of step."""
        needed = self._count + len(steps)
        for name, piece in (("step", steps), ("time", times), ("value", values)):
            room = self._room[name]
            if needed > len(room):
                larger = np.empty(max(needed, 2 * len(room)))
                larger[: self._count] = room[: self._count]
                self._room[name] = room = larger
            room[self._count : needed] = piece
        self._count = needed

    def cut(self, step: float) -> None:
        """Drop the points after a step (a resumed run goes back to its checkpoint)."""
        self._count = int(np.searchsorted(self._room["step"][: self._count], step, "right"))

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Steps, times, values: views of shape (n,)."""
        return self._room["step"][: self._count], self._room["time"][: self._count], self._room["value"][: self._count]
