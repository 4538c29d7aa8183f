"""Ratios where the numbers say, with intervals, verdicts and the control."""

from __future__ import annotations

import math

from engines.report import labels
from engines.report.forest import LEFT, RIGHT, WIDTH, forest

KEY = "latency/p50_ms"


def shapes(drawing, element, look):
    return [shape for shape in drawing.shapes if shape.element == element and look in shape.attributes["class"].split()]


def test_every_ratio_has_a_mark_and_the_control_its_diamond(comparison):
    keys = labels.columns(comparison)
    found = forest(comparison, keys)
    ratios = sum(key in variant["results"] for name, variant in comparison["variants"].items() if name != "full" for key in keys)
    assert len(shapes(found, "circle", "known")) + len(shapes(found, "circle", "unknown")) == ratios == 12
    assert len(shapes(found, "circle", "unknown")) == 2  # training speed of separate runs
    assert len(shapes(found, "path", "control")) == 1
    assert [shape.text for shape in shapes(found, "text", "worse")] == ["worse"]


def test_twice_and_half_lie_equally_far_from_the_line(comparison):
    for name, ratio in (("adaptive", 2.0), ('<script>alert("x")</script> & $50_%', 0.5)):
        result = comparison["variants"]["adaptive"]["results"][KEY]
        comparison["variants"][name]["results"] = {KEY: {**result, "ratio": ratio, "ratio_low": ratio / 1.1, "ratio_high": ratio * 1.1}}
    found = forest(comparison, [KEY])
    one = shapes(found, "line", "one")[0].attributes["x1"]
    twice, half = (shape.attributes["cx"] for shape in shapes(found, "circle", "known"))
    assert math.isclose(twice - one, one - half, abs_tol=0.3)
    low, high, *_ = (shape.attributes for shape in shapes(found, "line", "interval"))
    assert low["x1"] < twice < low["x2"]
    assert high["x1"] == high["x2"]
    labelled = [shape for shape in shapes(found, "text", "tick") if LEFT <= shape.attributes["x"] <= WIDTH - RIGHT]
    ticks = [shape.attributes["x"] for shape in labelled if shape.text.endswith("x")]
    assert ticks == sorted(ticks)
    assert len(ticks) >= 3


def test_everything_stays_in_the_picture(comparison):
    found = forest(comparison, labels.columns(comparison))
    for shape in found.shapes:
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= shape.attributes.get(name, 0) <= WIDTH
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= shape.attributes.get(name, 0) <= found.height


def test_without_a_ratio_there_is_no_plot(comparison):
    assert forest(comparison, ["energy/joules_per_token"]) is None
