"""Medians, intervals, paired ratios, verdicts and the Pareto front. Numpy only; every random draw is seeded.

Three kinds of quantity are judged in three ways, and all end in one interval of the ratio variant / baseline:

quality  the same seeds for both, few of them, roughly normal differences of log values: Student t interval of the paired differences. A
         bootstrap of five pairs covers far less than it says (tests measure it), t does not.
speed    interleaved rounds with rare slow outliers, over several launches of the processes: medians of the paired log-ratios of each launch,
         t interval over launches (from eight on without the most extreme ones), whose scatter all pairs of a session estimate together.
counts   parameters, bytes, operations: exact values, the interval is a point.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np

LEVEL = 0.95
FEWEST_SEEDS = 5
"""Fewer paired seeds carry no interval worth a verdict."""
TRIMMED = 8
"""Of so many launches the highest and the lowest is left out, of twice as many two of each: a launch beside which other work ran is no luck of
a process. Costs 4% of precision where all launches are alike, and saves most of it where one in ten is not."""
FEWEST_ROUNDS = 6
"""With fewer rounds even the whole range of a sample covers its median in less than 95% of cases (1 - 2 / 2**n)."""

Verdict = Literal["better", "worse", "no practical difference", "not enough data"]
Direction = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Interval:
    """An estimate from n values; `low` and `high` are NaN where n is too small to say."""

    value: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    def exponential(self) -> Interval:
        """Logarithms turned back into ratios."""
        return Interval(math.exp(self.value), math.exp(self.low), math.exp(self.high), self.n)


def log_ratios(values: Sequence[float], baseline: Sequence[float]) -> np.ndarray:
    """log(value / baseline), pair by pair, shape (n,). Raises ValueError for values that have no logarithm."""
    upper, lower = np.asarray(values, dtype=float), np.asarray(baseline, dtype=float)
    if upper.shape != lower.shape or upper.ndim != 1:
        raise ValueError(f"Pairs need two rows of the same length, got shapes {upper.shape} and {lower.shape}.")
    if not (np.isfinite(upper).all() and np.isfinite(lower).all() and (upper > 0).all() and (lower > 0).all()):
        raise ValueError("Ratios need finite values above zero.")
    ratios: np.ndarray = np.log(upper) - np.log(lower)
    return ratios


def student_interval(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> Interval:
    """Mean of n values and its Student t interval (NaN limits for n < 2)."""
    x = np.asarray(values, dtype=float)
    n = int(x.size)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(x.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = student_quantile(0.5 + level / 2, n - 1) * float(x.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def median_interval(values: Sequence[float] | np.ndarray, level: float = LEVEL, *, resamples: int = 4000, seed: int = 0) -> Interval:
    """Median of n values and its bootstrap interval: percentiles of the medians of `resamples` resamples, widened for small n.

    Percentile, not BCa: the jackknife of a median takes two or three distinct values, so the acceleration that BCa estimates from it is
    noise. Plain percentiles are too narrow for small n (87% instead of 95% at n = 7); the level is therefore expanded to
    alpha' = Phi(-sqrt(n / (n - 1)) * t(n - 1)): the expanded percentile interval of Hesterberg 2015 ("What Teachers Should Know About the
    Bootstrap").
    The limits are NaN for n < FEWEST_ROUNDS. The order of the values does not matter.
    """
    x = np.sort(np.asarray(values, dtype=float))
    n = int(x.size)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    centre = float(np.median(x))
    if n < FEWEST_ROUNDS:
        return Interval(centre, math.nan, math.nan, n)
    lower, upper = _middle_ranks(n, resamples, seed)
    medians = (x[lower] + x[upper]) / 2
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * student_quantile(0.5 + level / 2, n - 1))
    low, high = np.quantile(medians, [tail, 1 - tail])
    return Interval(centre, float(low), float(high), n)


@lru_cache(maxsize=32)
def _middle_ranks(n: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of n sorted values are in the middle of each resample, each of shape (resamples,); equal ones where n is odd.

    They depend on n alone, so a comparison draws once for all of its quantities.
    """
    draws = np.sort(np.random.default_rng(seed).integers(0, n, size=(resamples, n)), axis=1)
    return draws[:, (n - 1) // 2].copy(), draws[:, n // 2].copy()


def paired_ratio(values: Sequence[float], baseline: Sequence[float], level: float = LEVEL) -> Interval:
    """Ratio of quality over the same seeds: geometric mean of the paired ratios with a t interval of their logarithms."""
    return student_interval(log_ratios(values, baseline), level).exponential()


def median_ratio(values: Sequence[float], baseline: Sequence[float], level: float = LEVEL, *, seed: int = 0) -> Interval:
    """Ratio of speed over the same rounds: median of the paired ratios with a bootstrap interval."""
    return median_interval(log_ratios(values, baseline), level, seed=seed).exponential()


@dataclass(frozen=True)
class Between:
    """How much the median log-ratios of launches scatter, over all pairs of processes that were timed together.

    variance: of the median of one launch, rounds included (of many launches: so large that the trimmed mean of n has variance / n); degrees: of
    freedom it was estimated with (0: there was one launch, nothing is known); starts: first round of each launch.
    """

    variance: float = 0.0
    degrees: int = 0
    starts: tuple[int, ...] = ()


def between_launches(pairs: Sequence[Mapping[int, float]], starts: Sequence[int]) -> Between:
    """The scatter of launches, pooled over all pairs of processes that were timed together.

    pairs: log-ratio of each round, one mapping a pair (see `paired`); starts: the first round of each launch. Where a process lays its memory
    makes it faster or slower for its whole life, so a ratio of two processes is off by the same amount in every round of a launch: launches
    are independent, rounds within one are not. Few launches know their own scatter badly, so all pairs of a session share one estimate.
    P pairs that share the baseline count as P / (1 + (P - 1) / 4) (their ratios are correlated by 1/2, squares of them by 1/4).
    """
    rows = [np.array([np.median(launch) for launch in launches]) for pair in pairs if len(launches := _by_launch(pair, starts)) > 1]
    found = [_trimmed(row) for row in rows]
    counted = sum(degrees for _, _, degrees in found)
    if not counted:
        return Between(starts=tuple(starts))
    pooled = sum(degrees * variance for _, variance, degrees in found) / counted
    return Between(pooled, max(1, int(counted / (1 + (len(rows) - 1) / 4))), tuple(starts))


def paired(values: Mapping[int, float], baseline: Mapping[int, float]) -> dict[int, float]:
    """log(value / baseline) of every round that both have, where both are above zero."""
    common = (n for n in sorted(values.keys() & baseline.keys()) if values[n] > 0 and baseline[n] > 0)
    return {n: math.log(values[n] / baseline[n]) for n in common}


def interleaved_ratio(
    values: Mapping[int, float], baseline: Mapping[int, float], between: Between, level: float = LEVEL, *, seed: int = 0
) -> Interval:
    """Ratio of speed over the same rounds: trimmed mean of the medians of launches, with a Student t interval.

    values, baseline: figure by number of the round. The variance is the larger one of the pair's own and that of all pairs, so that a pair
    that scatters more than the others is not taken for one of them. With a single launch: median of the rounds, bootstrap interval.
    """
    pair = paired(values, baseline)
    launches = _by_launch(pair, between.starts)
    if len(launches) < 2 or between.degrees < 1:
        return median_interval(list(pair.values()), level, seed=seed).exponential()
    medians = np.array([np.median(launch) for launch in launches])
    centre, own, _ = _trimmed(medians)
    if len(pair) < FEWEST_ROUNDS:
        return Interval(centre, math.nan, math.nan, len(pair)).exponential()
    variance = max(own, between.variance)
    half = student_quantile(0.5 + level / 2, between.degrees) * math.sqrt(variance / len(launches))
    return Interval(centre, centre - half, centre + half, len(pair)).exponential()


def _trimmed(values: np.ndarray) -> tuple[float, float, int]:
    """Mean of n values without the n // TRIMMED highest and lowest, n times the variance of that mean, and its degrees of freedom.

    Yuen 1974 ("The two-sample trimmed t for unequal population variances"): with h = n - 2g kept, the values beyond them moved to their edge and
    s the standard deviation of all n then, the mean has the variance (n - 1) s^2 / (h (h - 1)) with h - 1 degrees of freedom.
    """
    x, n = np.sort(values), int(values.size)
    g = n // TRIMMED
    h = n - 2 * g
    edged = np.clip(x, x[g], x[n - g - 1])
    return float(x[g : n - g].mean()), float(edged.var(ddof=1)) * n * (n - 1) / (h * (h - 1)), h - 1


def _by_launch(pair: Mapping[int, float], starts: Sequence[int]) -> list[np.ndarray]:
    """The log-ratios of each launch that has rounds of the pair."""
    launches: dict[int, list[float]] = {}
    for n, value in pair.items():
        launches.setdefault(bisect_right(starts, n), []).append(value)
    return [np.array(values) for values in launches.values()]


def verdict(low: float, high: float, margin: float, better: Direction) -> Verdict:
    """What the interval [low, high] of the ratio variant / baseline says.

    margin: the smallest relative change that matters in practice; symmetric in logarithms, so 1 + margin and 1 / (1 + margin) bound the
    indifferent region. An interval that lies in none of the three regions decides nothing.
    """
    if margin < 0:
        raise ValueError(f"The margin is a relative change of at least 0, got {margin}.")
    if better == "none" or not (math.isfinite(low) and math.isfinite(high)):
        return "not enough data"
    # Ratios come from divisions: 1.02 / 1.0 and 51 / 50 must fall on the same side of a margin of 0.02.
    slack = 1e-12
    upper = 1 + margin
    lower = 1 / upper
    if lower - slack <= low and high <= upper + slack:
        return "no practical difference"
    if high <= lower:
        return "better" if better == "lower" else "worse"
    if low >= upper:
        return "worse" if better == "lower" else "better"
    return "not enough data"


def pareto(points: Sequence[Sequence[float]], better: Sequence[Direction]) -> np.ndarray:
    """Which points no other point beats: mask of shape (n,).

    A point beats another when it is at least as good in every dimension and better in one; equal points stand together. Points with a NaN
    are never on the front and beat nobody.
    """
    if not len(points):
        return np.zeros(0, dtype=bool)
    costs = np.asarray(points, dtype=float)
    if costs.ndim != 2 or costs.shape[1] != len(better):
        raise ValueError(f"Points of shape {costs.shape} do not fit {len(better)} directions.")
    costs = costs * np.array([-1.0 if direction == "higher" else 1.0 for direction in better])
    usable = ~np.isnan(costs).any(axis=1)
    no_worse = (costs[:, None, :] <= costs[None, :, :]).all(axis=2)
    ahead = (costs[:, None, :] < costs[None, :, :]).any(axis=2)
    beaten = (no_worse & ahead & usable[:, None]).any(axis=0)
    front: np.ndarray = usable & ~beaten
    return front


@lru_cache(maxsize=256)
def student_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t for 0.5 <= probability < 1 and a whole number of degrees of freedom, to about 1e-12."""
    if not 0.5 <= probability < 1 or degrees < 1:
        raise ValueError(f"Needs 0.5 <= probability < 1 and degrees >= 1, got {probability} and {degrees}.")
    low, high = 0.0, 1.0
    while student_cdf(high, degrees) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if student_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def student_cdf(t: float, degrees: int) -> float:
    """P(T <= t), t >= 0: the finite trigonometric series for whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if odd else 2, degrees - 1, 2):
        term *= (k - 1) / k * cosine * cosine
        total += term
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return 0.5 + within / 2
