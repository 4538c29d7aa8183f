"""The axes of parallel coordinates: what stands on them and where a variant crosses them. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.differences import ABSENT, text
from engines.importance import Field
from engines.report import labels
from engines.report.figures import Scale

LOG_FROM = 4.0
"""Figures that span more than this factor stand on a logarithmic axis, as in the trade-off."""
MOST_WORDS = 12
"""Values that are written beside an axis of words; of more, every second or third."""


@dataclass(frozen=True)
class Axis:
    """One axis. places: variant -> 0 (below) to 1 (above), only for variants that have it; values: the same as text; ticks: (place, text)."""

    key: str
    title: str
    places: Mapping[str, float]
    values: Mapping[str, str]
    ticks: Sequence[tuple[float, str]]
    figure: bool
    note: str = ""


def of_field(field: Field) -> Axis:
    """A setting: numbers on a scale, everything else evenly in the order of first use; who does not have it stands at "-"."""
    title = short(field.key)
    if field.numeric:
        there = {name: float(value) for name, value in field.values.items() if value is not None}
        places, ticks, note = _numbers(there)
        return Axis(field.key, title, places, {name: labels.figure(value) for name, value in there.items()}, ticks, False, note)
    values = {name: text(value) for name, value in field.values.items()}
    words = sorted(dict.fromkeys(values.values()), key=lambda word: word != ABSENT)
    step = 1 / max(1, len(words) - 1)
    every = -(-len(words) // MOST_WORDS)
    ticks = [(place * step if len(words) > 1 else 0.5, word) for place, word in enumerate(words)]
    at = {word: place for place, word in ticks}
    return Axis(field.key, title, {name: at[word] for name, word in values.items()}, values, ticks[::every], False)


def of_figure(comparison: Mapping[str, Any], key: str) -> Axis | None:
    """A measured quantity; None where no variant has it."""
    found = {name: variant["results"].get(key) for name, variant in comparison["variants"].items()}
    there = {name: float(result["value"]) for name, result in found.items() if result is not None and result["value"] is not None}
    if not there:
        return None
    places, ticks, note = _numbers(there)
    unit = next(result["unit"] for result in found.values() if result is not None)
    better = next(result["better"] for result in found.values() if result is not None)
    values = {name: f"{labels.figure(value)} {unit}".strip() for name, value in there.items()}
    arrow = {"higher": " ↑", "lower": " ↓"}.get(better, "")
    notes = [unit, note, {"higher": "higher is better", "lower": "lower is better"}.get(better, "")]
    return Axis(key, labels.short(key) + arrow, places, values, ticks, True, ", ".join(each for each in notes if each))


def short(key: str) -> str:
    """The end of a key, enough to know it by: "magnitude.sparsity" of "techniques.pruning/magnitude.sparsity"."""
    parts = key.split("/")[-1] if "/" in key else key
    return ".".join(parts.split(".")[-2:])


def _numbers(values: Mapping[str, float]) -> tuple[dict[str, float], list[tuple[float, str]], str]:
    low, high = min(values.values()), max(values.values())
    if low == high:
        return dict.fromkeys(values, 0.5), [(0.5, labels.figure(low))], ""
    scale = Scale(low, high, 0.0, 1.0, logarithmic=low > 0 and high / low > LOG_FROM)
    few = sorted(set(values.values()))
    # Few values are what the person wrote: they are the ticks. Of many, round ones.
    ticks = [(float(scale(value)), labels.figure(value)) for value in few] if len(few) <= 6 else _between(scale)
    return {name: float(scale(value)) for name, value in values.items()}, ticks, "log axis" if scale.logarithmic else ""


def _between(scale: Scale) -> list[tuple[float, str]]:
    """Round values, and both ends where no round one is near."""
    wide = Scale(scale.low, scale.high, 0.0, 1000.0, scale.logarithmic)
    found = [(place / 1000, words) for place, words in wide.ticks() if 0 <= place <= 1000]
    ends = [(0.0, labels.figure(scale.low)), (1.0, labels.figure(scale.high))]
    return [end for end in ends if all(abs(end[0] - place) > 0.07 for place, _ in found)] + found
