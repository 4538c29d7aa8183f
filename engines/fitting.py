"""The exponent of a power law from a measured curve, fitted where the curve is straight. Numpy only.

Small sizes cost what a call costs, whatever it does; a line through them and the large ones would have a slope that neither has. So points are
dropped from the small end until what is left is straight on double logarithmic axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.statistics import LEVEL, student_quantile

FEWEST_POINTS = 4
"""A slope from fewer has an interval that says nothing."""
SHORTEST_SPAN = 4.0
"""Largest x over smallest: two doublings, or no power can be told from another."""
WIDEST = 1.0
"""An interval that holds linear and quadratic alike is no finding."""


@dataclass(frozen=True)
class Power:
    """y grows as x ** exponent between `first` and `last`; low and high: interval of the exponent; n: points that it rests on."""

    exponent: float
    low: float
    high: float
    first: float
    last: float
    n: int


def power_law(x: Sequence[float], y: Sequence[float], level: float = LEVEL) -> Power | None:
    """The power law of the largest range, up to the largest x, on which log y is straight in log x.

    None where there is none, or where its exponent is hardly known.
    Straight: the quadratic coefficient of a fit cannot be told from zero (t test at `level`). The slope is that of the least squares line with
    its t interval. x, y: shape (n,), above zero. Raises ValueError for values without a logarithm.
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if xs.shape != ys.shape or xs.ndim != 1:
        raise ValueError(f"A curve needs two rows of the same length, got shapes {xs.shape} and {ys.shape}.")
    if not (np.isfinite(xs).all() and np.isfinite(ys).all() and (xs > 0).all() and (ys > 0).all()):
        raise ValueError("A power law needs finite values above zero.")
    order = np.argsort(xs)
    u, v = np.log(xs[order]), np.log(ys[order])
    for start in range(len(u) - FEWEST_POINTS + 1):
        if u[-1] - u[start] < math.log(SHORTEST_SPAN):
            return None
        if _is_straight(u[start:], v[start:], level):
            found = _line(u[start:], v[start:], level)
            return found if found.high - found.low <= WIDEST else None
    return None


def _is_straight(u: np.ndarray, v: np.ndarray, level: float) -> bool:
    design = np.stack([np.ones_like(u), u - u.mean(), (u - u.mean()) ** 2], axis=1)
    if np.linalg.matrix_rank(design) < 3:
        return False
    coefficients, error = _least_squares(design, v)
    return bool(abs(coefficients[2]) <= student_quantile(0.5 + level / 2, len(u) - 3) * error[2])


def _line(u: np.ndarray, v: np.ndarray, level: float) -> Power:
    coefficients, error = _least_squares(np.stack([np.ones_like(u), u - u.mean()], axis=1), v)
    slope, half = float(coefficients[1]), student_quantile(0.5 + level / 2, len(u) - 2) * float(error[1])
    return Power(slope, slope - half, slope + half, math.exp(u[0]), math.exp(u[-1]), len(u))


def _least_squares(design: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coefficients, their standard errors)."""
    coefficients = np.linalg.lstsq(design, v, rcond=None)[0]
    residuals = v - design @ coefficients
    # An exact law leaves rounding errors only; below them there is no curvature to see.
    variance = max(float(residuals @ residuals), len(v) * (1e-12 * max(1.0, float(np.abs(v).max()))) ** 2) / (len(v) - design.shape[1])
    return coefficients, np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
