from __future__ import annotations

import numpy as np
import pytest

from workbench.reduction import Growing, outline, smoothed


def test_short_curves_are_drawn_point_by_point() -> None:
    x, y = np.arange(5.0), np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    drawn = outline(x, y, y, 0, 4, 100)
    assert drawn.x.tolist() == x.tolist()
    assert drawn.y.tolist() == y.tolist()
    assert drawn.connect.tolist() == [1, 1, 1, 1, 0]


@pytest.mark.parametrize("spike", [0, 1, 123_456, 499_999, 999_999])
def test_no_spike_is_lost_in_a_million_points(spike: int) -> None:
    x, y = np.arange(1e6), np.sin(np.arange(1e6) / 1e4)
    y[spike], y[(spike + 7) % 1_000_000] = 50.0, -50.0
    drawn = outline(x, y, y, 0, 1e6 - 1, 1200)
    assert drawn.y.max() == 50.0
    assert drawn.y.min() == -50.0
    assert len(drawn.x) <= 4 * 1200 + 4


def test_only_the_window_is_drawn_with_a_neighbour_on_either_side() -> None:
    x = np.arange(100.0)
    drawn = outline(x, x, x, 40.5, 50.5, 500)
    assert drawn.x.tolist() == [float(n) for n in range(40, 52)]


def test_nan_is_a_gap() -> None:
    x, y = np.arange(5.0), np.array([1.0, 2.0, np.nan, 4.0, 5.0])
    drawn = outline(x, y, y, 0, 4, 100)
    assert drawn.x.tolist() == [0.0, 1.0, 3.0, 4.0]
    assert drawn.connect.tolist() == [1, 0, 1, 0]
    assert np.isfinite(drawn.y).all()


def test_a_reduced_column_with_gaps_only_stays_a_gap() -> None:
    x, y = np.arange(10_000.0), np.ones(10_000)
    y[3000:6000] = np.nan
    drawn = outline(x, y, y, 0, 9999, 100)
    assert not ((drawn.x > 3100) & (drawn.x < 5900)).any()
    assert (drawn.connect == 0).sum() == 2


def test_all_gaps_draw_nothing() -> None:
    x = np.arange(1000.0)
    assert len(outline(x, np.full(1000, np.nan), np.full(1000, np.nan), 0, 999, 10).x) == 0


def test_extremes_of_points_reduced_before_are_kept() -> None:
    x, low, high = np.arange(10.0), np.zeros(10), np.arange(10.0) + 1
    drawn = outline(x, low, high, 0, 9, 100)
    assert drawn.y.min() == 0.0
    assert drawn.y.max() == 10.0
    assert sorted(set(drawn.x.tolist())) == x.tolist()


def test_smoothing_keeps_constants_and_gaps() -> None:
    values = np.array([2.0, 2.0, np.nan, 2.0])
    result = smoothed(values, 10)
    assert np.allclose(result[[0, 1, 3]], 2.0)
    assert np.isnan(result[2])
    assert smoothed(values, 1) is values


def test_smoothing_equals_the_recursion() -> None:
    values = np.random.default_rng(0).normal(size=300)
    decay, total, weight, expected = 1 - 2 / 21, 0.0, 0.0, []
    for value in values:
        total, weight = decay * total + value, decay * weight + 1
        expected.append(total / weight)
    assert np.allclose(smoothed(values, 20), expected, atol=5e-3)


def test_growing_keeps_what_was_appended_and_cuts() -> None:
    points = Growing()
    for start in range(0, 5000, 700):
        steps = np.arange(start, start + 700, dtype=float)
        points.append(steps, steps + 0.5, steps * 2)
    steps, times, values = points.arrays()
    assert len(points) == len(steps) == 5600
    assert np.array_equal(times, steps + 0.5)
    assert np.array_equal(values, steps * 2)
    points.cut(99)
    assert len(points) == 100
