"""Rank correlation, and how sure it is: a bootstrap over the things that were judged.

Shapes: P pairs of values, R resamples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95
DIGITS = 7
"""Of a resampled figure that is kept: far below what a resample differs from the next."""


def spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    """Correlation of the ranks, ties given their mean rank; None where one of them is constant or no number."""
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    return pearson(mean_ranks(one), mean_ranks(other))


def pearson(one: np.ndarray, other: np.ndarray) -> float | None:
    """Correlation of the values themselves; None where one of them is constant or no number."""
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return None
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else None


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """1 for the smallest; equal values share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def resampled(statistic: Callable[..., float | None], *columns: np.ndarray) -> np.ndarray:
    """The statistic of R bootstrap samples of the rows that the columns share, (R,); NaN where it has none.

    Which rows a resample draws depends on their number alone: resample r of two models judged on the same rows is of the same rows, so their
    differences, resample by resample, are a paired bootstrap (Efron and Tibshirani, 1993, An Introduction to the Bootstrap, chapter 8).
    """
    draw, n = np.random.default_rng(0), len(columns[0])
    found = np.full(RESAMPLES, np.nan)
    for r in range(RESAMPLES):
        picked = draw.integers(0, n, n)
        value = statistic(*(column[picked] for column in columns))
        found[r] = np.nan if value is None else value
    return found


def bounds(found: np.ndarray) -> tuple[float, float]:
    """The percentile interval of resampled figures; NaN where there are none."""
    there = found[np.isfinite(found)]
    if not len(there):
        return float("nan"), float("nan")
    low, high = np.quantile(there, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def interval(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap of `spearman` over pairs; the same for the same values."""
    return bounds(resampled(spearman, one, other))


def kept(found: np.ndarray, *judged_by: np.ndarray) -> dict[str, Any]:
    """What the detail of a figure keeps of its resamples, so that a comparison can pair them: "resampled", the figure of each resample, and
    "drawn", a seal of what they were drawn from (`judged_by`: the gold values in their order, the same for every model)."""
    seal = hashlib.sha256(f"{RESAMPLES}".encode())
    for column in judged_by:
        seal.update(np.ascontiguousarray(column, dtype="<f8").tobytes())
    return {"resampled": [round(value, DIGITS) if np.isfinite(value) else None for value in found.tolist()], "drawn": seal.hexdigest()[:16]}
