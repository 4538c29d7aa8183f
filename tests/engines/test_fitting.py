"""Exponents of known power laws are found, under noise and above a floor, and no law is found where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.fitting import FEWEST_POINTS, power_law

SIZES = 2.0 ** np.arange(4, 13)


@settings(max_examples=60, deadline=None)
@given(exponent=st.floats(-3, 4), factor=st.floats(1e-9, 1e9), n=st.integers(FEWEST_POINTS, 12))
def test_an_exact_law_is_found_whole(exponent, factor, n):
    x = 3.0 * 1.8 ** np.arange(n)
    found = power_law(x, factor * x**exponent)
    assert found is not None
    assert found.exponent == pytest.approx(exponent, abs=1e-6)
    assert (found.first, found.last, found.n) == (pytest.approx(x[0]), pytest.approx(x[-1]), n)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(len(SIZES))), scale=st.floats(1e-6, 1e6))
def test_neither_the_order_nor_the_unit_matters(order, scale):
    y = np.exp(np.random.default_rng(1).normal(0, 0.02, len(SIZES))) * SIZES**2
    one, other = power_law(SIZES, y), power_law(SIZES[order], scale * y[order])
    assert one is not None
    assert other is not None
    assert one.exponent == pytest.approx(other.exponent, abs=1e-9)


@pytest.mark.parametrize("noise", [0.01, 0.1])
@pytest.mark.parametrize("exponent", [1.0, 2.81, 3.0])
def test_the_interval_covers_the_exponent_under_noise(noise, exponent):
    generator = np.random.default_rng(7)
    found = [power_law(SIZES, SIZES**exponent * np.exp(generator.normal(0, noise, len(SIZES)))) for _ in range(400)]
    hits = sum(each is not None and each.low <= exponent <= each.high for each in found)
    # 400 trials: three standard errors of a share of 0.95 are 0.033.
    assert hits / 400 >= 0.91
    assert np.median([each.high - each.low for each in found if each is not None]) < 1.5 * noise


@pytest.mark.parametrize("floor", [1e2, 1e4, 1e6])
def test_what_every_call_costs_is_left_out_of_the_slope(floor):
    """Seconds are a floor plus a power: the small sizes lie on the floor."""
    generator = np.random.default_rng(3)
    found = [power_law(SIZES, (floor + SIZES**3) * np.exp(generator.normal(0, 0.01, len(SIZES)))) for _ in range(100)]
    exponents = [each.exponent for each in found if each is not None]
    assert len(exponents) > 90
    assert np.median(exponents) == pytest.approx(3.0, abs=0.1)
    assert all(each.first >= 0.7 * floor ** (1 / 3) for each in found if each is not None)
    # A line through all points would say something else.
    plain = np.polyfit(np.log(SIZES), np.log(1e6 + SIZES**3), 1)[0]
    assert plain < 2.6


def test_where_there_is_no_law_there_is_no_figure():
    assert power_law([1, 2, 4], [1, 2, 4]) is None, "too few points"
    assert power_law([1, 1.1, 1.2, 1.3], [1, 2, 3, 4]) is None, "too short a span"
    assert power_law(SIZES, np.exp(SIZES / SIZES[-1] * 9)) is None, "an exponential"
    assert power_law([], []) is None


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1]), ([1, 2, 3, 4], [1, 2, 3, 0]), ([1, 2, 3, math.nan], [1, 2, 3, 4])])
def test_what_has_no_logarithm_is_refused(x, y):
    with pytest.raises(ValueError):
        power_law(x, y)
