"""The lines of a forest plot: ratios to the baseline with their intervals, taken from a comparison. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.report import labels
from engines.report.figures import Scale
from workbench.comparing import verdicts

ARROWS = {"lower": "lower is better", "higher": "higher is better"}
WIDEST = 100.0
"""Ratios beyond this factor stand at the edge of the axis; their figure says where they are."""


@dataclass(frozen=True)
class Line:
    """One ratio. variant: empty for the control; low, high: None where the data carry no interval; margin: what counts as no difference."""

    variant: str
    title: str
    below: str
    ratio: float
    low: float | None
    high: float | None
    verdict: str
    margin: float
    figures: str
    tip: str
    dimmed: bool = False
    control: bool = False

    @property
    def said(self) -> str:
        """The line in words, for whoever does not see it."""
        return f"{self.title}: {self.figures}, {self.verdict or 'control'}. {self.below}".strip()


def margin_of(comparison: Mapping[str, Any], key: str) -> float:
    """What counts as no practical difference for a quantity: the margin asked for, or more where the A/A control needs more."""
    return float(comparison.get("margins", {}).get(key, comparison["margin"]))


def quantities(comparison: Mapping[str, Any]) -> list[str]:
    """The keys that have a ratio for some variant, the judging ones first."""
    judging = labels.columns(comparison)
    having = {
        key
        for name, variant in comparison["variants"].items()
        if name != comparison["baseline"]
        for key, result in variant["results"].items()
        if result.get("ratio") is not None and result["better"] != "none"
    }
    return [key for key in judging if key in having] + sorted(having - set(judging))


def of_quantity(comparison: Mapping[str, Any], key: str) -> list[Line]:
    """One line a variant that has a ratio of this quantity, in the order of the experiment; the A/A control first."""
    found = _control(comparison, key)
    for name, variant in comparison["variants"].items():
        result = variant["results"].get(key)
        if name != comparison["baseline"] and result is not None and result.get("ratio") is not None:
            broken = labels.over_limits(variant)
            below = broken[0] if broken else verdicts.measured(result)
            found.append(_line(name, name, below, result, margin_of(comparison, key), broken))
    return found


def of_variant(comparison: Mapping[str, Any], name: str, keys: Sequence[str]) -> list[Line]:
    """One line a quantity of one variant."""
    variant = comparison["variants"][name]
    found = []
    for key in keys:
        result = variant["results"].get(key)
        if result is not None and result.get("ratio") is not None:
            title = labels.name(key)
            below = f"{ARROWS.get(result['better'], '')}, {verdicts.measured(result)}".lstrip(", ")
            found.append(_line(name, title[0].upper() + title[1:], below, result, margin_of(comparison, key), labels.over_limits(variant)))
    return found


def absent(comparison: Mapping[str, Any], key: str) -> list[str]:
    """The variants without a ratio of this quantity."""
    results = {name: variant["results"].get(key) for name, variant in comparison["variants"].items() if name != comparison["baseline"]}
    return [name for name, result in results.items() if result is None or result.get("ratio") is None]


def by_ratio(lines: Sequence[Line]) -> list[Line]:
    """The smallest ratio first; the control stays on top."""
    return sorted(lines, key=lambda line: (not line.control, line.ratio))


def scale(lines: Sequence[Line], start: float = 0.0, end: float = 1.0) -> Scale:
    """A logarithmic axis that shows 1, all margins and all intervals, with air around them."""
    ends = [1.0]
    for line in lines:
        ends += [line.ratio, 1 + line.margin, 1 / (1 + line.margin)]
        ends += [limit for limit in (line.low, line.high) if limit is not None]
    ends = [min(WIDEST, max(1 / WIDEST, each)) for each in ends]
    air = max(1.01, (max(ends) / min(ends)) ** 0.06)
    return Scale(min(ends) / air, max(ends) * air, start, end, logarithmic=True)


def _line(name: str, title: str, below: str, result: Mapping[str, Any], margin: float, broken: Sequence[str]) -> Line:
    reason = result.get("reason", "")
    tip = [title, f"{verdicts.ratio(result)} the baseline; {verdicts.measured(result)}", f"{result['verdict']}. {reason}".strip(), *broken]
    if result.get("interleaved"):
        tip.append(f"{result['n']} interleaved rounds")
    return Line(
        name, title, below, result["ratio"], result.get("ratio_low"), result.get("ratio_high"), result["verdict"], margin,
        verdicts.ratio(result), "\n".join(tip), dimmed=bool(broken),
    )  # fmt: skip


def _control(comparison: Mapping[str, Any], key: str) -> list[Line]:
    same = comparison["control"].get(key)
    if same is None or same["ratio"] is None:
        return []
    return [
        Line(
            "", verdicts.CONTROL, "the baseline against itself", same["ratio"], same["ratio_low"], same["ratio_high"], "",
            margin_of(comparison, key), verdicts.ratio(same), f"{verdicts.CONTROL_TIP}\n{same['n']} rounds", control=True,
        )
    ]  # fmt: skip
