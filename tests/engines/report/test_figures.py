"""Pixels where the numbers say, spikes and gaps kept, labels apart."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.report import figures


def test_a_scale_maps_ends_to_ends():
    linear = figures.Scale(10, 20, 100, 300)
    assert linear(10) == 100
    assert linear(15) == 200
    logarithmic = figures.Scale(1, 100, 0, 200, logarithmic=True)
    assert logarithmic(10) == pytest.approx(100)


@given(st.floats(1e-6, 1e9), st.floats(1.001, 1e6), st.booleans())
def test_ticks_lie_on_the_axis_in_order(low, factor, logarithmic):
    found = figures.Scale(low, low * factor, 72, 620, logarithmic).ticks()
    pixels = [pixel for pixel, _ in found]
    assert 1 <= len(found) <= 16
    assert pixels == sorted(pixels)
    assert all(71.9 <= pixel <= 620.1 for pixel in pixels)


def test_a_scatter_places_better_speed_to_the_right_and_better_quality_below(comparison):
    found = figures.scatter(comparison, "speed/infer_tokens_per_s", "quality/test_perplexity")
    marks = {mark.name: mark for mark in found.marks}
    assert marks["adaptive"].x > marks["full"].x
    assert marks["adaptive"].y < marks["full"].y  # a higher perplexity is further up, where y is smaller
    assert marks["adaptive"].on_front
    assert found.front.startswith("M")
    assert found.x_title == "infer tokens/s (more is better)"
    low, high = sorted(marks["full"].whiskers[0][0::2])
    assert low < marks["full"].x < high


def test_a_variant_over_a_limit_is_faint(comparison):
    comparison["variants"]["adaptive"]["violations"] = ["Too slow."]
    marks = figures.scatter(comparison, "speed/infer_tokens_per_s", "quality/test_perplexity").marks
    assert {mark.name for mark in marks if mark.over} == {"adaptive"}


def test_names_do_not_lie_on_each_other(comparison):
    one = comparison["variants"]["adaptive"]
    comparison["variants"] = {"full": comparison["variants"]["full"]} | {f"variant {n}": one for n in range(6)}
    found = figures.scatter(comparison, "size/model_mib", "quality/test_perplexity")
    places = [(mark.label_x, mark.label_y) for mark in found.marks]
    for (ax, ay), (bx, by) in itertools.combinations(places, 2):
        assert abs(ax - bx) > 100 or abs(ay - by) >= 14.9


def test_a_scatter_needs_two_variants(comparison):
    comparison["variants"] = {"full": comparison["variants"]["full"]}
    assert figures.scatter(comparison, "size/model_mib", "quality/test_perplexity") is None
    assert figures.scatter(comparison, "energy/joules_per_token", "quality/test_perplexity") is None


def test_a_gap_lifts_the_pen_and_a_spike_reaches_the_top():
    y = np.array([5.0, 4.0, np.nan, 4.0, 9.0, 3.0])
    found = figures.learning_curves("Loss", "nats", [("a", 0, "a, run 1", np.arange(6.0), y)])
    path = found.curves[0].path
    assert path.count("M") == 2
    assert path.count("L") == 3
    heights = [float(pair.split()[1]) for pair in re.split("[ML]", path)[1:]]
    assert min(heights) == heights[3]  # the fourth drawn point is the spike
    assert all(found.top <= height <= found.bottom for height in heights)


def test_curves_without_a_finite_point_are_not_drawn():
    empty = ("a", 0, "a", np.arange(3.0), np.full(3, np.nan))
    assert figures.learning_curves("Loss", "nats", [empty]) is None
    assert figures.learning_curves("Loss", "nats", []) is None


def test_constant_curves_have_an_axis():
    found = figures.learning_curves("Loss", "nats", [("a", 0, "a", np.zeros(2), np.full(2, 3.0))])
    assert "nan" not in found.curves[0].path
    assert found.y_ticks


def test_bars_are_shares_of_the_largest(comparison):
    found = figures.bars(comparison, "cost/train_s")
    assert max(row["share"] for row in found) == 100
    assert [row["name"] for row in found][:2] == ["full", "adaptive"]
    assert figures.bars(comparison, "cost/train_flops") == []
