"""Verdicts to look at: a sign and a colour each. The sign alone tells them apart, without the colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.report import labels
from workbench.theme import Theme

SIGNS = {"better": "▲", "worse": "▼", "no practical difference": "=", "not enough data": "?"}
LEGEND = "▲ better   ▼ worse   = no practical difference   ? not enough data"
CONTROL = "A/A control"
CONTROL_TIP = "The baseline timed a second time beside itself: what is called a difference here is what the timing cannot tell apart."


SIMULATED = "simulated"
"""What stands in place of the verdict of a saving that exists on paper alone."""


def ink(theme: Theme, verdict: str) -> str:
    """The colour of a verdict's text; what decides nothing is muted."""
    return {"better": theme.ok, "worse": theme.danger, SIMULATED: theme.warning}.get(verdict, theme.muted)


def bounds(result: Mapping[str, Any]) -> str:
    """The interval of the ratio, "0.60–0.64", to as few digits as tell its ends apart; empty where there is none or the ratio is exact."""
    low, high = result.get("ratio_low"), result.get("ratio_high")
    if low is None or high is None or low == high:
        return ""
    digits = next((d for d in (2, 3, 4) if f"{low:.{d}f}" != f"{high:.{d}f}"), 5)
    return f"{low:.{digits}f}–{high:.{digits}f}"


def ratio(result: Mapping[str, Any]) -> str:
    """Ratio and interval, "0.62x [0.60–0.64]"; empty where there is no ratio."""
    limits = bounds(result)
    return labels.ratio(result) + (f" [{limits}]" if limits else "")


def measured(result: Mapping[str, Any]) -> str:
    """The figure with its unit and interval: "5,430 tokens/s [5,400 to 5,460]"."""
    text = f"{labels.figure(result['value'])} {result['unit']}".strip()
    low, high = result.get("low"), result.get("high")
    return text + (f" [{labels.figure(low)} to {labels.figure(high)}]" if low is not None and high is not None and low != high else "")
