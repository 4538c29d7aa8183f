"""Pictures of a profile show what is in it, and nothing where it is not."""

from __future__ import annotations

import pytest

from engines.report import profile_pictures
from engines.report.profile_pictures import WIDTH
from tests.engines.report.profile_sample import profile


def test_parts_of_the_flame_are_as_wide_as_their_time_and_lie_below_their_whole():
    found = profile_pictures.flame(profile())
    bars = {shape.hint.split(":")[0]: shape.attributes for shape in found.shapes if shape.element == "rect"}
    assert bars["step"]["width"] == pytest.approx(WIDTH - 1)
    assert bars["backward"]["width"] == pytest.approx(11 / 24 * WIDTH - 1, abs=0.1)
    assert bars["backward"]["x"] == pytest.approx(9 / 24 * WIDTH, abs=0.1)
    assert bars["step"]["y"] < bars["backward"]["y"] < bars["sgemm"]["y"]


def test_the_memory_stack_ends_at_the_sum_of_its_owners():
    found = profile_pictures.memory(profile())
    assert "83.16 MiB at its peak" in found.title
    owners = [shape.hint.split(":")[0] for shape in found.shapes if shape.element == "path"]
    assert owners == ["parameters", "gradients", "optimizer", "activations", "other"]


def test_the_roofline_draws_a_roof_only_where_it_was_measured():
    made = profile()
    found = profile_pictures.roofline(made)
    assert sum(shape.element == "circle" for shape in found.shapes) == 4
    assert [shape.hint for shape in found.shapes if shape.attributes["class"] == "roof"] == ["measured: 100G FLOP/s, 20G B/s"]
    made["roofline"]["peaks"] = None
    without = profile_pictures.roofline(made)
    assert "not measured" in without.title
    assert not any(shape.attributes["class"] == "roof" for shape in without.shapes)


def test_layers_come_by_time_with_their_share_and_limit():
    rows = profile_pictures.layers(profile())
    assert [row["name"] for row in rows] == ["head", "layers.1.mixer", "layers.0.mixer", "embedding"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert rows[0]["bound"] == "compute"


@pytest.mark.parametrize("gone", ["flame", "memory", "roofline"])
def test_what_a_profile_has_not_is_not_drawn(gone):
    made = profile()
    del made[gone]
    assert len(profile_pictures.pictures(made)) == 2
    assert profile_pictures.pictures({}) == []
    assert profile_pictures.layers({}) == []
