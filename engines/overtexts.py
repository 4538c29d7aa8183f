"""Two models held against each other on the same held-out texts: a paired bootstrap (Efron and Tibshirani, 1993, chapters 8 and 13).

A task that judges by one figure of many texts may keep that figure for each of R resamples of the texts (engines.toolbox.correlation). Resample r of
every model judged on the same texts is of the same texts, so the difference of two models, resample by resample, is that of a paired bootstrap, and
nothing else of the judging has to be kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.statistics import LEVEL, Interval

ENOUGH = 0.9
"""Share of the resamples that must have a figure for both models."""


@dataclass(frozen=True)
class Resamples:
    """drawn: a seal of the pairs of texts and what they were judged by; pairs: how many there are; figures: (R,), NaN where a resample has none."""

    drawn: str
    pairs: int
    figures: np.ndarray


def resamples_of(detail: Mapping[str, Any]) -> Resamples | None:
    """What the detail of a figure keeps; None where it keeps nothing."""
    kept = detail.get("resampled")
    if not kept:
        return None
    figures = np.array([np.nan if value is None else value for value in kept], dtype=float)
    return Resamples(str(detail.get("drawn", "")), int(detail.get("pairs", 0)), figures)


def own(value: float, found: Resamples) -> Interval:
    """The model's own figure with its interval over the texts."""
    return _interval(value, found.figures, found.pairs)


def ratio(value: float, baseline: float, own: Resamples, other: Resamples) -> Interval | None:
    """Model / baseline; None where they were not judged on the same texts. Unknown limits where a figure is not above zero."""
    if not paired(own, other):
        return None
    divisible = (own.figures > 0) & (other.figures > 0)
    found = np.divide(own.figures, other.figures, out=np.full(len(own.figures), np.nan), where=divisible)
    return _interval(value / baseline if value > 0 and baseline > 0 else np.nan, found, own.pairs)


def difference(values: Sequence[float], baselines: Sequence[float], own: Sequence[Resamples], other: Sequence[Resamples]) -> Interval | None:
    """Model - baseline, mean over pairs of models (one a seed) that are judged on the same texts; None where some are not."""
    if not own or not all(paired(one, each) for one, each in zip(own, other, strict=True)):
        return None
    found = np.mean([one.figures - each.figures for one, each in zip(own, other, strict=True)], axis=0)
    return _interval(float(np.mean(np.subtract(values, baselines))), found, own[0].pairs)


def paired(own: Resamples, other: Resamples) -> bool:
    """Whether resample r is of the same texts in both."""
    return own.drawn == other.drawn and len(own.figures) == len(other.figures)


def _interval(value: float, figures: np.ndarray, n: int) -> Interval:
    """Percentiles of the resamples; no limits where too few of them have a figure."""
    there = figures[np.isfinite(figures)]
    if not len(there) or len(there) < ENOUGH * len(figures):
        return Interval(value, np.nan, np.nan, n)
    low, high = np.quantile(there, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high), n)
