"""A picture as a list of SVG elements with plain attributes. The template writes them, so every text and attribute is escaped there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Shape:
    """One element: its name, its attributes, the text inside it and the hint that appears over it."""

    element: str
    attributes: dict[str, Any]
    text: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Drawing:
    """A picture of width x height pixels, later shapes above earlier ones."""

    title: str
    width: float
    height: float
    shapes: Sequence[Shape] = field(default_factory=tuple)
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Of the picture itself."""


def line(x1: float, y1: float, x2: float, y2: float, look: str = "axis", **more: Any) -> Shape:
    """A straight line; look: its class."""
    return Shape("line", {"x1": _px(x1), "y1": _px(y1), "x2": _px(x2), "y2": _px(y2), "class": look, **more})


def rect(x: float, y: float, width: float, height: float, look: str = "", hint: str = "", **more: Any) -> Shape:
    """A rectangle."""
    return Shape("rect", {"x": _px(x), "y": _px(y), "width": _px(width), "height": _px(height), "class": look, **more}, hint=hint)


def dot(x: float, y: float, radius: float, look: str = "", hint: str = "", **more: Any) -> Shape:
    """A circle."""
    return Shape("circle", {"cx": _px(x), "cy": _px(y), "r": radius, "class": look, **more}, hint=hint)


def words(x: float, y: float, text: str, look: str = "", anchor: str = "start", **more: Any) -> Shape:
    """A line of text; anchor: start, middle or end of it stands at x."""
    return Shape("text", {"x": _px(x), "y": _px(y), "text-anchor": anchor, "class": look, **more}, text=text)


def path(data: str, look: str = "", hint: str = "", **more: Any) -> Shape:
    """Path data of SVG."""
    return Shape("path", {"d": data, "class": look, **more}, hint=hint)


def series(index: int) -> str:
    """The colour of a number, as the window has it; eight of them repeat."""
    return f"var(--series-{index % 8})"


def shortened(text: str, pixels: float, per_letter: float = 6.6) -> str:
    """As much of a text as fits into a width; empty where not even three letters do."""
    room = int(pixels / per_letter)
    if len(text) <= room:
        return text
    return f"{text[: room - 1]}…" if room >= 4 else ""


def _px(value: float) -> float:
    return round(float(value), 1)
