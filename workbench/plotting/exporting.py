"""A plot as a file: a small vector picture (SVG, PDF), a sharp bitmap, or its points."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PySide6.QtCore import QPoint
from PySide6.QtGui import QImage, QPainter

from engines.report import drawing as draw
from engines.report.drawing import Drawing, Shape
from workbench.plots import FAINT, CurvePlot
from workbench.plotting.lines import Line
from workbench.plotting.mixing import mixed
from workbench.theme import theme

WIDTH, HEIGHT = 640, 350
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 20, 44
LINE, NAMES = 15, 3
"""Pixels of a line of the legend, and names in it."""
POINTS = 800
"""Columns of a picture: what a printed figure of this size can show."""
SCALE = 3.0
FORMS = {"svg": "SVG picture (*.svg)", "pdf": "PDF picture (*.pdf)", "png": "PNG picture (*.png)", "csv": "Table of points (*.csv)"}


def write(plot: CurvePlot, form: str, path: Path) -> None:
    """Write the plot as it is seen (svg, pdf, png), or all its points (csv). A PDF is for paper, so it is light.

    Raises OSError with the path where it cannot be written.
    """
    if form == "png":
        plot.finish()
        image = QImage(plot.size() * SCALE, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(SCALE)
        image.fill(plot.theme.surface)
        painter = QPainter(image)
        plot.head.menu_button.hide()
        plot.render(painter, QPoint())
        plot.head.menu_button.show()
        painter.end()
        if not image.save(str(path), "PNG"):  # type: ignore[call-overload]
            raise OSError(f"{path} cannot be written.")
        return
    if form == "pdf":
        from engines.report import paper  # It brings fonts, which a window that exports nothing does not need.

        path.write_bytes(paper.picture(picture(plot, _on_paper(plot))))
    else:
        path.write_text(svg(plot) if form == "svg" else points(plot), encoding="utf-8")


def points(plot: CurvePlot) -> str:
    """CSV: curve, x, low, high (equal where a row is one point and not a bin of several)."""
    log_x, log_y = plot.axes.log_x, plot.axes.log_y
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["curve", plot.head.x_name, f"{plot.head.title} low", f"{plot.head.title} high"])
    for line in plot.lines:
        trace = line.behind or line.front
        for x, low, high in zip(trace.x.tolist(), trace.low.tolist(), trace.high.tolist(), strict=True):
            table.writerow([line.name, 10**x if log_x else x, 10**low if log_y else low, 10**high if log_y else high])
    return text.getvalue()


def svg(plot: CurvePlot) -> str:
    """The visible part as SVG: text stays text, curves are reduced to what the size can show."""
    from engines.report import svg as vectors

    return vectors.svg(picture(plot, {}), plot.theme.name)


def _on_paper(plot: CurvePlot) -> Mapping[str, str]:
    """What the colours of the curves, and of what is behind smoothed ones, become on white paper."""
    paper = theme("light")
    fronts = {line.colour: line.colour for line in plot.lines} | dict(zip(plot.theme.series, paper.series, strict=True))
    return fronts | {line.faint: mixed(paper.surface, fronts[line.colour], FAINT) for line in plot.lines}


def picture(plot: CurvePlot, instead: Mapping[str, str]) -> Drawing:
    """The visible part of the plot, its axes and the names of its curves; instead: other colours for some of them."""
    left, right, bottom, top = plot.view()
    names = list({line.name: line for line in plot.lines}.values())
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    across, up = wide / (right - left), tall / (top - bottom)
    shapes = [draw.words(LEFT, 10, plot.head.axes, "axis-title")]
    for side, low, high, pixels in (("left", bottom, top, tall), ("bottom", left, right, wide)):
        axis = plot.axes.items[side]
        spacing, ticks = (axis.tickValues(low, high, pixels) or [(1.0, [])])[0]
        for tick, text in zip(ticks, axis.tickStrings(ticks, 1.0, spacing), strict=True):
            if side == "left":
                y = TOP + (top - tick) * up
                shapes += [draw.line(LEFT, y, WIDTH - RIGHT, y, "grid"), draw.words(LEFT - 6, y + 4, text, "tick", "end")]
            else:
                shapes.append(draw.words(LEFT + (tick - left) * across, HEIGHT - BOTTOM + 16, text, "tick", "middle"))
    for line in plot.lines:
        shapes += _shapes(line, (left, right, bottom, top), across, up, instead)
    for place, line in enumerate(names):
        x, y = LEFT + (place % NAMES) * (wide / NAMES), HEIGHT - 8 + LINE * (place // NAMES)
        shapes.append(draw.rect(x, y - 8, 8, 8, style=f"fill: {instead.get(line.colour, line.colour)}"))
        shapes.append(draw.words(x + 12, y, draw.shortened(line.name, wide / NAMES - 16)))
    return Drawing(plot.head.title, WIDTH, HEIGHT + LINE * -(-len(names) // NAMES), shapes)


def _shapes(line: Line, view: tuple[float, float, float, float], across: float, up: float, instead: Mapping[str, str]) -> list[Shape]:
    left, right, bottom, top = view
    colour = instead.get(line.colour, line.colour)
    if line.filled:
        front = line.front
        xs, ys = np.concatenate((front.x, front.x[::-1])), np.concatenate((front.high, front.low[::-1]))
        xs, ys = np.clip(xs, left, right), np.clip(ys, bottom, top)
        corners = [f"{LEFT + (x - left) * across:.1f} {TOP + (top - y) * up:.1f}" for x, y in zip(xs, ys, strict=True) if x == x and y == y]
        return [draw.path(f"M{'L'.join(corners)}Z", style=f"fill: {colour}")] if corners else []
    found = []
    for trace, ink in ((line.behind, instead.get(line.faint, line.faint)), (line.front, colour)):
        if trace is None:
            continue
        drawn = trace.outline(left, right, POINTS)
        placed = LEFT + (drawn.x - left) * across, TOP + (top - drawn.y) * up
        data = "".join(_path(*placed, drawn.connect, (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)))
        if data:
            found.append(draw.path(data, "curve", style=f"stroke: {ink}"))
    return found


def _path(x: np.ndarray, y: np.ndarray, joined: np.ndarray, box: tuple[float, float, float, float]) -> Iterator[str]:
    """Path data of the joints that lie in a box (left, top, right, bottom), each cut at its edges: not every reader of pictures clips."""
    at: tuple[float, float] | None = None
    for place in np.flatnonzero(joined[:-1]).tolist():
        cut = _cut(float(x[place]), float(y[place]), float(x[place + 1]), float(y[place + 1]), box)
        if cut is None:
            continue
        x1, y1, x2, y2 = cut
        if at != (x1, y1):
            yield f"M{x1:.1f} {y1:.1f}"
        yield f"L{x2:.1f} {y2:.1f}"
        at = x2, y2


def _cut(x1: float, y1: float, x2: float, y2: float, box: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
    """The part of a straight line within a box, as Liang and Barsky find it (1984); None where it lies outside or has no place."""
    left, top, right, bottom = box
    first, last, dx, dy = 0.0, 1.0, x2 - x1, y2 - y1
    for along, room in ((-dx, x1 - left), (dx, right - x1), (-dy, y1 - top), (dy, bottom - y1)):
        if along == 0 and room >= 0:
            continue
        if along == 0 or along != along or room != room:
            return None
        share = room / along
        if along < 0:
            first = max(first, share)
        else:
            last = min(last, share)
    if first > last:
        return None
    whole = first == 0.0 and last == 1.0  # Its ends stay as they are, so that the next part is seen to begin there.
    return (x1, y1, x2, y2) if whole else (x1 + first * dx, y1 + first * dy, x1 + last * dx, y1 + last * dy)
