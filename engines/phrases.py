"""Sentences whose every number stands beside them by name: templates without a digit, filled with figures as people read them."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from engines.report import labels

Phrase = dict[str, Any]
"""{"sentence", "figures"}"""


class _Words(string.Formatter):
    """Numbers as people read them: times "0.83x", share "83%", bound "0.99", fine "0.9912", figure "1,234"."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, str):
            return value
        return {"times": labels.times, "share": _share, "bound": _bound, "fine": _fine, "figure": labels.figure}[format_spec](value)


def _share(value: float) -> str:
    return f"{value:.0%}" if 0.01 <= value <= 0.99 else f"{value:.2%}"


def _bound(value: float) -> str:
    return labels.times(value).removesuffix("x")


def _fine(value: float) -> str:
    return f"{value:.4g}"


def say(template: str, **figures: Any) -> Phrase:
    """The template filled in; texts and numbers alike are among the figures, empty texts left out."""
    return {"sentence": _Words().vformat(template, (), figures).strip(), "figures": {key: value for key, value in figures.items() if value != ""}}


def times(name: str, result: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Template of a result's ratio with its interval, and its figures under that name."""
    low, high = result["ratio_low"], result["ratio_high"]
    found: dict[str, Any] = {name: result["ratio"]}
    if low is None or low == high:
        return f"{{{name}:times}}", found
    form = "bound" if _bound(low) != _bound(high) else "fine"
    return f"{{{name}:times}} [{{{name}_low:{form}}}, {{{name}_high:{form}}}]", found | {f"{name}_low": low, f"{name}_high": high}


def where(target: str) -> str:
    """Template of what is said of a target, if there is one."""
    return ' on target "{target}"' if target else ""


def letter_of(index: int) -> str:
    """a, b, ... z, aa, ab: names of figures hold no digit."""
    return (letter_of(index // 26 - 1) if index >= 26 else "") + string.ascii_lowercase[index % 26]
