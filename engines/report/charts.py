"""Scatters and curves as drawings: the same list of shapes for page, paper and single files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engines.report import figures, labels
from engines.report.drawing import Drawing, Shape, dot, line, path, series, shortened, words
from engines.report.figures import Figure, Scale

_NAME = 180.0
"""Pixels that a name beside its point may take."""


def drawn(figure: Figure) -> Drawing:
    """Axes, then the front, curves and marks. Shapes carry the number of their variant, the drawing its scales: a page with a script can ask."""
    shapes = [*_axes(figure)]
    if figure.front:
        shapes.append(path(figure.front, "front"))
    for curve in figure.curves:
        shapes.append(path(curve.path, "curve", curve.hint, style=f"stroke: {series(curve.colour)}", **_of(curve.colour)))
    for mark in figure.marks:
        over = " over" if mark.over else ""
        for x1, y1, x2, y2 in mark.whiskers:
            shapes.append(line(x1, y1, x2, y2, f"whisker{over}", style=f"stroke: {series(mark.colour)}", **_of(mark.colour)))
        look = "on-front" if mark.on_front else "beaten"
        shapes.append(dot(mark.x, mark.y, 5.5, look + over, mark.hint, style=f"--mark: {series(mark.colour)}", **_of(mark.colour)))
        pale = "" if mark.on_front else " pale"
        shapes.append(words(mark.label_x, mark.label_y, shortened(mark.name, _NAME), f"name{pale}{over}", mark.anchor, **_of(mark.colour)))
    attributes: dict[str, str] = {}
    if figure.curves and figure.x_scale and figure.y_scale:
        axes = {"x": _plain(figure.x_scale), "y": _plain(figure.y_scale), "x_title": figure.x_title, "y_title": figure.y_title}
        attributes["data-axes"] = json.dumps(axes)
    if figure.keys:
        attributes |= {"data-x": figure.keys[0], "data-y": figure.keys[1]}
    return Drawing(figure.title, figure.width, figure.height, shapes, attributes)


def with_legend(drawing: Drawing, names: Sequence[str]) -> Drawing:
    """Below it the names of the colours: in a file of its own a chart has nothing beside it that tells."""
    every = max(1, int(drawing.width // _NAME))
    shapes = list(drawing.shapes)
    for index, name in enumerate(names):
        x, y = 16 + (index % every) * drawing.width / every, drawing.height + 14 + 18 * (index // every)
        shapes += [dot(x, y - 4, 4.5, style=f"fill: {series(index)}"), words(x + 10, y, shortened(name, _NAME - 20), "tick")]
    rows = -(-len(names) // every)
    return replace(drawing, height=drawing.height + 18 * rows + 4, shapes=shapes)


def scatters(comparison: Mapping[str, Any], x: str = "", y: str = "") -> list[Drawing]:
    """The chosen two figures; where neither is chosen, the first judging quality over speed, memory and size."""
    columns = labels.columns(comparison)
    quality = y or next((key for key in columns if key.startswith("quality/")), None)
    if quality is None:
        return []
    wanted = [x] if x else [key for key in columns if key.startswith(("speed/", "memory/", "size/"))]
    if y and not x:
        wanted = wanted[:1]
    found = (figures.scatter(comparison, key, quality) for key in wanted)
    return [drawn(figure) for figure in found if figure is not None]


def table(comparison: Mapping[str, Any], colours: int) -> dict[str, Any]:
    """What a page needs to draw other axes: {variants: [{name, over, results: {key: [value, low, high]}}], keys: {key: {name, short, better}}}."""
    keys: dict[str, dict[str, str]] = {}
    variants = []
    for name, variant in comparison["variants"].items():
        results = {}
        for key, result in variant["results"].items():
            if result["value"] is None:
                continue
            bounds = figures.bounds(result)
            results[key] = [result["value"], bounds[0], bounds[-1]]
            label = labels.name(key)
            unit = f" ({result['unit']})" if result["unit"] else ""
            keys.setdefault(key, {"name": f"{label}{unit}", "short": labels.short(key), "better": result["better"]})
        variants.append({"name": name, "over": bool(labels.over_limits(variant)), "results": results})
    order = [*(shown := labels.columns(comparison)), *labels.other_keys(comparison, shown)]
    return {"variants": variants, "keys": {key: keys[key] for key in order if key in keys}, "colours": colours}


def _axes(figure: Figure) -> Iterator[Shape]:
    for x, text in figure.x_ticks:
        yield line(x, figure.top, x, figure.bottom, "grid")
        yield words(x, figure.bottom + 18, text, "tick", "middle")
    for y, text in figure.y_ticks:
        yield line(figure.left, y, figure.right, y, "grid")
        yield words(figure.left - 8, y + 4, text, "tick", "end")
    yield line(figure.left, figure.bottom, figure.right, figure.bottom)
    yield words((figure.left + figure.right) / 2, figure.height - 10, figure.x_title, "axis-title", "middle")
    turned = f"translate(16 {(figure.top + figure.bottom) / 2:.0f}) rotate(-90)"
    yield words(0, 0, figure.y_title, "axis-title", "middle", transform=turned)


def _of(variant: int) -> dict[str, int]:
    return {"data-variant": variant}


def _plain(scale: Scale) -> Sequence[float | bool]:
    return [scale.low, scale.high, scale.start, scale.end, scale.logarithmic]
