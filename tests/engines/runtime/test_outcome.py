"""Results of studies from times that are known."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from engines.api import Axis, Cell, Conclusion, Group, Measured, Study
from engines.runtime import outcome
from engines.runtime.rounds import Left, Times


class Which(Study):
    """Which is faster?"""

    x: ClassVar[Axis] = Axis("size", "words")
    y: ClassVar[Axis] = Axis("speed", "kop/s", better="higher", scale=1e-3)
    expects: ClassVar[str] = "One of them is."

    def conclude(self, measured: Measured) -> Conclusion:
        return Conclusion((f"{len(measured.curves)} curves.",), "met", "So it was.", {"peak": measured.peak("flops_per_s", dtype="float32") or 0.0})

    def not_shown(self) -> tuple[str, ...]:
        return ("The other side of the moon.",)


def cell(curve: str, work: float = 0.0, **fields: Any) -> Cell:
    return Cell(curve, lambda shared: lambda: None, work=work, **fields)


def times(x: float | None, seconds: dict[str, float], *, rounds: int = 20, noise: float = 0.01, work: float = 0.0, **fields: Any) -> Times:
    generator = np.random.default_rng(0)
    drift = np.exp(generator.normal(0, 0.2, rounds))
    made = {name: list(value * drift * np.exp(generator.normal(0, noise, rounds))) for name, value in seconds.items()}
    return Times(Group(x, tuple(cell(name, work) for name in seconds), **fields), made)


class Searched(Which):
    """Which is fast and good?"""

    x: ClassVar[Axis] = Axis("share found", fact="found", log=False)
    y: ClassVar[Axis] = Axis("time", "ms", better="lower", scale=1e3)


def setting(order: float, curve: str, found: float, seconds: float, *, first: bool = False) -> Times:
    """A setting of a curve in a group with the exact way, which finds all and is shown once."""
    made = times(order, {"exact": 4e-3, curve: seconds})
    cells = (cell("exact", shown=first), cell(curve, setting=f"effort {order:g}"))
    return Times(Group(order, cells), made.seconds, facts={"exact": {"found": 1.0}, curve: {"found": found, "MiB": 3.0}})


def test_an_axis_of_a_fact_places_every_setting_where_its_fact_is() -> None:
    found = [setting(0, "tree", 0.9, 2e-3, first=True), setting(1, "tree", 1.0, 3e-3), setting(2, "list", 0.5, 1e-3), setting(3, "tree", 1.0, 8e-3)]
    figures = outcome.Figures(found, axis=Searched.x)
    result = outcome.result(Searched(), "", found, [Left("tree", 9.0, "it is too large")], figures)
    curves = {curve["name"]: curve for curve in result["curves"]}
    assert set(curves) == {"exact", "tree", "list"}
    assert [point["x"] for point in curves["exact"]["points"]] == [1.0]
    assert [point["setting"] for point in curves["tree"]["points"]] == ["effort 0", "effort 3", "effort 1"]
    assert [point["x"] for point in curves["tree"]["points"]] == pytest.approx([0.9, 1.0, 1.0], abs=1e-12)
    assert [point["value"] for point in curves["tree"]["points"]] == pytest.approx([2.0, 8.0, 3.0], rel=0.2)
    assert curves["list"]["points"][0]["facts"] == {"found": 0.5, "MiB": 3.0}
    assert all(curve["exponent"] is None for curve in curves.values())
    ratios = {speedup["name"]: [point["value"] for point in speedup["points"]] for speedup in result["speedups"]}
    assert {speedup["over"] for speedup in result["speedups"]} == {"exact"}
    assert ratios["tree"] == pytest.approx([2.0, 0.5, 4 / 3], rel=0.02)
    assert ratios["list"] == pytest.approx([4.0], rel=0.02)
    assert figures.setting("list", 0.5) == "effort 2"
    assert result["not_shown"][1] == "tree: left out: it is too large."


def test_the_whole_result() -> None:
    found = [times(n, {"plain": 1e-6 * n**2, "better": 0.5e-6 * n**2}, work=n) for n in (1.0, 2.0, 4.0, 8.0, 16.0)]
    steps = times(None, {"first": 0.8e-3, "second": 0.4e-3, "third": 0.1e-3}, title="An example")
    figures = outcome.Figures([*found, steps], stored=lambda device, threads: {"flops_per_s": {"float32": 3000.0}})
    result = outcome.result(Which(), "Which is faster?", [*found, steps], [Left("better", 32.0, "it is too large")], figures)
    assert result["x"] == {"name": "size", "unit": "words", "log": True, "better": "none"}
    assert [curve["name"] for curve in result["curves"]] == ["plain", "better"]
    first = result["curves"][0]["points"][1]
    assert first["value"] == pytest.approx(1e-3 * 2 / first["seconds"])
    assert first["seconds"] == pytest.approx(4e-6, rel=0.2)
    assert first["low"] < first["value"] < first["high"]
    assert first["n"] == 20
    assert result["curves"][0]["exponent"]["value"] == pytest.approx(2.0, abs=0.05)
    (speedups,) = result["speedups"]
    assert (speedups["name"], speedups["over"]) == ("better", "plain")
    for point in speedups["points"]:
        assert point["value"] == pytest.approx(2.0, rel=0.02)
        assert point["low"] <= 2.0 <= point["high"]
        assert point["high"] / point["low"] < 1.05, "what drifts falls on both"
    assert result["lines"] == [{"name": "peak", "value": 3000.0}]
    assert [(step["name"], step["unit"]) for step in result["steps"]] == [("first", "µs"), ("second", "µs"), ("third", "µs")]
    assert "ratio" not in result["steps"][0]
    assert result["steps"][2]["ratio"] == pytest.approx(8.0, rel=0.03)
    assert result["steps"][2]["gain"] == pytest.approx(4.0, rel=0.03)
    assert result["steps"][2]["gain_low"] < result["steps"][2]["gain"] < result["steps"][2]["gain_high"]
    assert result["steps_title"] == "An example"
    assert result["findings"] == ["2 curves."]
    assert result["expectation"] == {"sentence": "One of them is.", "outcome": "met", "reason": "So it was."}
    assert result["not_shown"] == ["The other side of the moon.", "better: left out at size 32 words: it is too large."]


def test_a_study_that_fails_to_conclude_keeps_its_figures() -> None:
    class Failing(Which):
        def conclude(self, measured: Measured) -> Conclusion:
            raise KeyError("no such curve")

    found = [times(2.0, {"plain": 1e-3}, work=7.0)]
    result = outcome.result(Failing(), "", found, [], outcome.Figures(found))
    assert [curve["name"] for curve in result["curves"]] == ["plain"]
    assert result["expectation"]["outcome"] == "not decided"
    assert "KeyError at test_outcome.py:" in result["expectation"]["reason"]
    assert "no such curve" in result["expectation"]["reason"]


def test_peaks_that_were_never_measured_are_told_and_not_drawn() -> None:
    found = [times(2.0, {"plain": 1e-3}, work=7.0)]
    figures = outcome.Figures(found)
    assert figures.peak("bytes_per_s", threads=2) is None
    result = outcome.result(Which(), "", found, [], figures)
    assert result["not_shown"][-1].startswith("What this machine can do at best was never measured (cpu with 2 threads, cpu), so no line")
    assert outcome.Figures(found, lambda device, threads: {"flops_per_s": {"float32": 1.0}}).peak("flops_per_s", dtype="int8") is None


def test_too_few_rounds_have_no_limits_and_no_zero() -> None:
    found = [times(2.0, {"plain": 1e-3, "better": 0.5e-3}, rounds=3, work=7.0)]
    figures = outcome.Figures(found)
    point = outcome.point(figures, Which.y, "plain", 2.0)
    assert point is not None
    assert (point["low"], point["high"], point["n"]) == (None, None, 3)
    ratio = figures.speedup("better", "plain", 2.0)
    assert ratio is not None
    assert (ratio.low, ratio.high) == (None, None)
    assert figures.peak("flops_per_s", dtype="float32") is None
    assert figures.seconds("plain", 3.0) is None
    assert figures.speedup("better", "plain", 3.0) is None
    assert figures.exponent("plain") is None


def test_cells_that_are_not_shown_can_be_concluded_from_and_are_no_curve() -> None:
    group = Group(1.0, (cell("shown", 1.0), cell("hidden", 1.0, shown=False)))
    found = [Times(group, {"shown": [1.0] * 6, "hidden": [0.5] * 6})]
    figures = outcome.Figures(found)
    assert [curve["name"] for curve in outcome.result(Which(), "", found, [], figures)["curves"]] == ["shown"]
    assert figures.seconds("hidden", 1.0) is not None


def test_curves_of_different_groups_have_no_paired_ratio() -> None:
    figures = outcome.Figures([times(1.0, {"a": 1.0}), times(2.0, {"b": 1.0})])
    assert figures.speedup("a", "b", 1.0) is None
