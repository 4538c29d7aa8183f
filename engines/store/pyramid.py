"""Extremes of a series at several scales, so that any window of any curve is drawn from a few thousand rows and no spike is lost.

Bucket i of level k covers the points n in [i B^k, (i+1) B^k), B = tables.BRANCHING. Borders never move, so appending touches only the
buckets of the new points: their contributions are computed here and merged into the rows by the database, without reading them first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.store.rows import Floats
from engines.store.tables import BRANCHING

Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Bins:
    """Neighbouring bins of one level. i: their numbers; step_first and step_last: lowest and highest step; low and high: extremes of the
    values, NaN where there are none; gaps: points without a value. All of shape (bins,)."""

    i: Integers
    step_first: Integers
    step_last: Integers
    low: Floats
    high: Floats
    gaps: Integers

    def __len__(self) -> int:
        return len(self.i)


def bins_of_points(n: Integers, steps: Integers, values: Floats) -> Bins:
    """Points as bins of level 0, one point each."""
    return Bins(n, steps, steps, values, values, np.isnan(values).astype(np.int64))


def coarser(bins: Bins, factor: int = BRANCHING) -> Bins:
    """Merge bins into the larger bins that hold `factor` of them (fewer at the ends)."""
    if len(bins) == 0:
        return bins
    parent = bins.i // factor
    starts = np.concatenate(([0], np.flatnonzero(parent[1:] != parent[:-1]) + 1))
    # fmin and fmax pass over NaN; a bin of gaps only stays NaN.
    return Bins(
        parent[starts],
        np.minimum.reduceat(bins.step_first, starts),
        np.maximum.reduceat(bins.step_last, starts),
        np.fmin.reduceat(bins.low, starts),
        np.fmax.reduceat(bins.high, starts),
        np.add.reduceat(bins.gaps, starts),
    )
