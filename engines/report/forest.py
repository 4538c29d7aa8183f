"""The forest plot of a comparison: every judged ratio with its interval and verdict around the line of no difference, and the A/A control."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engines.report import labels
from engines.report.drawing import Drawing, Shape, dot, line, path, rect, series, shortened, words
from engines.report.figures import Scale

WIDTH = 1060.0
LEFT, RIGHT = 250.0, 318.0
ROW, HEAD, TOP, BOTTOM = 22.0, 30.0, 8.0, 34.0
_APART = 48.0
_ROUND = (1.0, 0.5, 2.0, 0.25, 4.0, 0.75, 1.5, 0.6, 1.75, 0.9, 1.1, 0.95, 1.05, 1.25, 0.98, 1.02, 0.99, 1.01)
_DIRECTIONS = {"lower": "less is better", "higher": "more is better", "none": ""}


def forest(comparison: Mapping[str, Any], keys: Sequence[str]) -> Drawing | None:
    """Ratios to the baseline by quantity; None where no variant has a ratio. An open circle has no interval, a diamond is the control."""
    groups = [(key, rows) for key in keys if (rows := list(_rows(comparison, key)))]
    if not groups:
        return None
    margin = comparison["margin"]
    scale = _scale([bound for _, rows in groups for *_, result in rows for bound in _bounds(result)], margin)
    bottom = TOP + sum(HEAD + ROW * len(rows) for _, rows in groups)
    ticks = [shape for x, text in _ticks(scale) for shape in (line(x, TOP, x, bottom, "grid"), words(x, bottom + 17, text, "tick", "middle"))]
    low, high, one = scale(1 / (1 + margin)), scale(1 + margin), scale(1.0)
    shapes = [rect(low, TOP, high - low, bottom - TOP, "band", f"within the margin of {margin:.1%}"), *ticks, line(one, TOP, one, bottom, "one")]
    y = TOP
    for key, rows in groups:
        shapes += _heading(key, rows, y)
        y += HEAD
        for index, name, result in rows:
            shapes += _row(index, name, result, y + ROW / 2 - 2, scale)
            y += ROW
    return Drawing("Ratios to the baseline", WIDTH, bottom + BOTTOM, shapes)


def _rows(comparison: Mapping[str, Any], key: str) -> Iterator[tuple[int | None, str, Mapping[str, Any]]]:
    """(number of its colour, name, result) of every variant with a ratio, then of the control."""
    for index, (name, variant) in enumerate(comparison["variants"].items()):
        result = variant["results"].get(key)
        if name != comparison["baseline"] and result and result["ratio"]:
            yield index, name, result
    same = comparison["control"].get(key)
    if same and same["ratio"]:
        yield None, f"A/A: {comparison['baseline']} again", {**same, "verdict": ""}


def _bounds(result: Mapping[str, Any]) -> list[float]:
    return [value for value in (result["ratio"], result["ratio_low"], result["ratio_high"]) if value]


def _scale(bounds: Sequence[float], margin: float) -> Scale:
    """Logarithmic, so that twice and half lie equally far from the line, with the margin inside."""
    low, high = min(*bounds, 1 / (1 + 2 * margin)), max(*bounds, 1 + 2 * margin)
    air = math.exp(0.06 * math.log(high / low))
    return Scale(low / air, high * air, LEFT, WIDTH - RIGHT, logarithmic=True)


def _ticks(scale: Scale) -> list[tuple[float, str]]:
    """(pixel, label) of round ratios, the plainest first where not all have room; further out, powers of ten."""
    far = (10.0**power for power in range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1))
    found: list[tuple[float, str]] = []
    for ratio in (*_ROUND, *far):
        x = float(scale(ratio))
        if scale.low <= ratio <= scale.high and all(abs(x - other) >= _APART for other, _ in found):
            found.append((round(x, 1), f"{ratio:g}x"))
    return sorted(found)


def _heading(key: str, rows: Sequence[tuple[int | None, str, Mapping[str, Any]]], y: float) -> list[Shape]:
    better = next((result["better"] for index, _, result in rows if index is not None), "none")
    name, aside = labels.name(key), _DIRECTIONS[better]
    title = words(0, y + HEAD - 9, shortened(name[0].upper() + name[1:], LEFT - 10, 7.2), "heading")
    return [title, words(WIDTH - RIGHT + 14, y + HEAD - 9, aside, "tick")]


def _row(index: int | None, name: str, result: Mapping[str, Any], y: float, scale: Scale) -> Iterator[Shape]:
    ratio, low, high = result["ratio"], result["ratio_low"], result["ratio_high"]
    of: dict[str, Any] = {} if index is None else {"data-variant": index}
    colour = series(index) if index is not None else "var(--muted)"
    style = f"stroke: {colour}"
    bounds = labels.interval(result)
    hint = f"{name}: {labels.times(ratio)}{f' ({bounds})' if bounds else ''} {result['verdict']}".strip()
    known = low is not None and high is not None
    if known and low != high:
        yield line(scale(low), y, scale(high), y, "interval", style=style, **of)
        for end in (low, high):
            yield line(scale(end), y - 4, scale(end), y + 4, "interval", style=style, **of)
    x = float(scale(ratio))
    if index is None:
        yield path(f"M{x - 5:.1f} {y:.1f}L{x:.1f} {y - 5:.1f}L{x + 5:.1f} {y:.1f}L{x:.1f} {y + 5:.1f}Z", "control", hint)
    else:
        yield dot(x, y, 4.6, "known" if known else "unknown", hint, style=f"--mark: {colour}", **of)
    yield words(14, y + 4, shortened(name, LEFT - 40), "tick" if index is None else "", **of)
    yield words(WIDTH - RIGHT + 14, y + 4, f"{labels.times(ratio)}{f'  [{bounds}]' if bounds else ''}", "tick" if index is None else "", **of)
    yield words(WIDTH, y + 4, result["verdict"], f"verdict {result['verdict'].replace(' ', '-')}", "end", **of)
