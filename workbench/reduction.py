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
    first, last = seen(x, start, stop)
    x, low, high = x[first:last], low[first:last], high[first:last]
    if len(x) > 2 * pixels:
        starts = _starts(x, start, stop, pixels)
        x, low, high = x[starts], np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)
    if low is high or np.array_equal(low, high, equal_nan=True):
        return _joined(x, low)
    xs = np.repeat(x, 2)
    ys = np.empty(2 * len(x))
    # Alternate the order, so that the line from one column to the next is short.
    ys[0::4], ys[1::4] = low[0::2], high[0::2]
    ys[2::4], ys[3::4] = high[1::2], low[1::2]
    return _joined(xs, ys)


def seen(x: np.ndarray, start: float, stop: float) -> tuple[int, int]:
    """First and last (exclusive) ordinal of the points between x = start and x = stop, and one more on either side."""
    return max(0, int(np.searchsorted(x, start, "left")) - 1), min(len(x), int(np.searchsorted(x, stop, "right")) + 1)


def _starts(x: np.ndarray, start: float, stop: float, pixels: int) -> np.ndarray:
    """Where the columns that hold points begin. Columns are as wide as pixels, so that sparse parts of an uneven (logarithmic) axis stay exact."""
    edges = np.searchsorted(x, np.linspace(start, stop, pixels + 1))
    starts = np.unique(np.concatenate(([0], edges)))
    return starts[starts < len(x)]


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
    """Exponential moving average over about `span` points, debiased: m_t = d m_(t-1) + (1 - d) v_t, given as m_t / (1 - d^t), with
    d = 1 - 2 / (span + 1). Gaps stay gaps and count for nothing. span <= 1 changes nothing."""
    if span <= 1 or len(values) == 0:
        return values
    keep = np.isfinite(values)
    kept = values[keep]
    if len(kept) == 0:
        return values
    decay = 1 - 2 / (span + 1)
    # The recursion in blocks: within a block it is a cumulative sum of v_t d^-t, which stays exact while d^-t is moderate.
    size = max(1, min(len(kept), int(np.log(1e6) / -np.log(decay))))
    blocks = -(-len(kept) // size)
    padded = np.zeros(blocks * size)
    padded[: len(kept)] = kept
    powers = decay ** np.arange(size)
    sums = (1 - decay) * powers * np.cumsum(padded.reshape(blocks, size) / powers, axis=1)
    carried, carry = np.zeros(blocks), 0.0
    for block in range(1, blocks):
        carried[block] = carry = sums[block - 1, -1] + powers[-1] * decay * carry
    means = (sums + carried[:, None] * (powers * decay)).ravel()[: len(kept)]
    result = np.full(len(values), np.nan)
    result[keep] = means / -np.expm1(np.log(decay) * np.arange(1, len(kept) + 1))
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
