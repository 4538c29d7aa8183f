"""Geometry of the report's figures: numbers turned into pixels and path data. The template draws them, so every text is escaped there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines import statistics
from engines.report import labels

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 72, 20, 16, 52
_LABEL_HEIGHT = 15.0


@dataclass(frozen=True)
class Scale:
    """Values of [low, high] onto pixels [start, end], linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, values: Any) -> Any:
        low, high = (math.log(self.low), math.log(self.high)) if self.logarithmic else (self.low, self.high)
        x = np.log(values) if self.logarithmic else np.asarray(values, dtype=float)
        return self.start + (x - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """(pixel, label) of a handful of round values."""
        values = _log_ticks(self.low, self.high) if self.logarithmic else _linear_ticks(self.low, self.high)
        return [(round(float(self(value)), 1), labels.figure(value)) for value in values]


@dataclass(frozen=True)
class Mark:
    """A variant in a scatter. `whiskers`: x1, y1, x2, y2 of its intervals; label_x, label_y: where its name stands."""

    name: str
    colour: int
    x: float
    y: float
    on_front: bool
    whiskers: list[tuple[float, float, float, float]]
    label_x: float
    label_y: float
    anchor: str
    hint: str
    over: bool = False
    """Whether the variant exceeds a limit of a target."""


@dataclass(frozen=True)
class Curve:
    """One run's line. `path`: SVG path data."""

    name: str
    colour: int
    path: str
    hint: str


@dataclass(frozen=True)
class Figure:
    """Axes with marks or curves. `front`: path data of the Pareto front."""

    title: str
    x_title: str
    y_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    marks: Sequence[Mark] = ()
    curves: Sequence[Curve] = ()
    front: str = ""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM
    x_scale: Scale | None = None
    y_scale: Scale | None = None
    keys: tuple[str, str] | None = None
    """The two quantities of a scatter."""


def scatter(comparison: Mapping[str, Any], x_key: str, y_key: str) -> Figure | None:
    """Variants by two quantities with their intervals and the Pareto front; None where fewer than two variants have both."""
    placed = [
        (index, name, variant["results"][x_key], variant["results"][y_key])
        for index, (name, variant) in enumerate(comparison["variants"].items())
        if x_key in variant["results"] and y_key in variant["results"]
    ]
    if len(placed) < 2:
        return None
    x_scale = _scale([bound for _, _, x, _ in placed for bound in bounds(x)], LEFT, WIDTH - RIGHT, margin=0.12)
    y_scale = _scale([bound for _, _, _, y in placed for bound in bounds(y)], HEIGHT - BOTTOM, TOP, margin=0.12)
    directions = (placed[0][2]["better"], placed[0][3]["better"])
    front = statistics.pareto([(x["value"], y["value"]) for _, _, x, y in placed], directions)
    marks = []
    for (index, name, x, y), on_front in zip(placed, front, strict=True):
        px, py = float(x_scale(x["value"])), float(y_scale(y["value"]))
        whiskers = [(*x_scale(bounds(x)[:1]), py, *x_scale(bounds(x)[-1:]), py), (px, *y_scale(bounds(y)[:1]), px, *y_scale(bounds(y)[-1:]))]
        right_half = px > (LEFT + WIDTH - RIGHT) / 2
        marks.append(
            Mark(
                name, index, round(px, 1), round(py, 1), bool(on_front), [tuple(round(float(v), 1) for v in line) for line in whiskers],  # type: ignore[misc]
                round(px + (-9 if right_half else 9), 1), round(py - 7, 1), "end" if right_half else "start",
                f"{name}: {labels.name(x_key)} {labels.figure(x['value'])} {x['unit']}, {labels.name(y_key)} {labels.figure(y['value'])} {y['unit']}",
                bool(labels.over_limits(comparison["variants"][name])),
            )
        )  # fmt: skip
    path = _line(sorted((mark.x, mark.y) for mark in marks if mark.on_front))
    better = {"lower": "less is better", "higher": "more is better", "none": ""}
    x_title, y_title = (f"{labels.short(key)} ({better[direction]})" for key, direction in zip((x_key, y_key), directions, strict=True))
    title = f"{labels.name(y_key)} against {labels.name(x_key)}"
    title = title[0].upper() + title[1:]
    return Figure(title, x_title, y_title, x_scale.ticks(), y_scale.ticks(), marks=_apart(marks), front=path, keys=(x_key, y_key))


def learning_curves(title: str, y_title: str, lines: Sequence[tuple[str, int, str, np.ndarray, np.ndarray]]) -> Figure | None:
    """Curves over updates, given as (name, colour, hint, x, y); NaN in y is a gap. None where nothing finite is to be drawn."""
    usable = [(name, colour, hint, x, y) for name, colour, hint, x, y in lines if np.isfinite(y).any()]
    if not usable:
        return None
    every_y = np.concatenate([y[np.isfinite(y)] for *_, y in usable])
    x_scale = Scale(min(float(x.min()) for *_, x, _ in usable), max(float(x.max()) for *_, x, _ in usable), LEFT, WIDTH - RIGHT)
    if x_scale.low == x_scale.high:
        x_scale = Scale(x_scale.low - 1, x_scale.high + 1, LEFT, WIDTH - RIGHT)
    y_scale = _scale(every_y, HEIGHT - BOTTOM, TOP, margin=0.04)
    curves = [Curve(name, colour, _path(x_scale(x), y_scale(y)), hint) for name, colour, hint, x, y in usable]
    return Figure(title, "updates", y_title, x_scale.ticks(), y_scale.ticks(), curves=curves, x_scale=x_scale, y_scale=y_scale)


def bars(comparison: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A quantity of every variant as a share of the largest: {name, colour, value, share in percent, bounds (text, empty without any)}."""
    found = [
        (index, name, variant["results"][key]) for index, (name, variant) in enumerate(comparison["variants"].items()) if key in variant["results"]
    ]
    largest = max((result["value"] for *_, result in found), default=0) or 1
    return [
        {"name": name, "colour": index, "value": result["value"], "share": round(100 * result["value"] / largest, 1), "bounds": _between(result)}
        for index, name, result in found
    ]


def _between(result: Mapping[str, Any]) -> str:
    low, high = result["low"], result["high"]
    return f"{labels.figure(low)} to {labels.figure(high)}" if low is not None and high is not None and low != high else ""


def bounds(result: Mapping[str, Any]) -> list[float]:
    """What a figure spans, lowest first: its interval, else its single points, else itself."""
    limits = [value for value in (result["low"], result["high"]) if value is not None]
    spread = limits or list(result["points"].values()) or [result["value"]]
    return sorted([*spread, result["value"]])


def _scale(values: Any, start: float, end: float, *, margin: float) -> Scale:
    """A scale with air around the values; logarithmic where they span more than a factor of four."""
    low, high = float(np.min(values)), float(np.max(values))
    if low > 0 and high / low > 4:
        air = (high / low) ** margin
        return Scale(low / air, high * air, start, end, logarithmic=True)
    air = (high - low) * margin or abs(high) * 0.05 or 1.0
    return Scale(low - air, high + air, start, end)


def _linear_ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [factor * 10.0**decade for decade in decades for factor in factors if low <= factor * 10.0**decade <= high]
        if len(found) >= 4:
            return found[:: math.ceil(len(found) / 8)]
    return _linear_ticks(low, high)


def _apart(marks: list[Mark]) -> list[Mark]:
    """Labels moved down where they would lie on each other."""
    found: list[Mark] = []
    for mark in sorted(marks, key=lambda m: m.label_y):
        y = mark.label_y
        for other in found:
            if other.anchor == mark.anchor and abs(other.label_x - mark.label_x) < 120 and y - other.label_y < _LABEL_HEIGHT:
                y = other.label_y + _LABEL_HEIGHT
        found.append(Mark(**{**vars(mark), "label_y": round(y, 1)}))
    return found


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """SVG path data to a tenth of a pixel; a NaN lifts the pen."""
    parts, drawing = [], False
    for px, py in zip(x.tolist(), y.tolist(), strict=True):
        if not math.isfinite(py):
            drawing = False
            continue
        parts.append(f"{'L' if drawing else 'M'}{px:.1f} {py:.1f}")
        drawing = True
    return "".join(parts)


def _line(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if index else 'M'}{x} {y}" for index, (x, y) in enumerate(points))
