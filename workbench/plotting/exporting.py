"""A plot as a file: a small vector picture, a sharp bitmap, or its points."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from PySide6.QtCore import QPoint
from PySide6.QtGui import QImage, QPainter

from workbench.plots import CurvePlot
from workbench.plotting.lines import Line

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 40, 44
LINE = 15
POINTS = 800
"""Columns of a picture: what a printed figure of this size can show."""
SCALE = 3.0
FORMS = {"svg": "SVG picture (*.svg)", "png": "PNG picture (*.png)", "csv": "Table of points (*.csv)"}


def write(plot: CurvePlot, form: str, path: Path) -> None:
    """Write the plot as it is seen (svg, png), or all its points (csv). Raises OSError with the path where it cannot be written."""
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
    theme, (left, right, bottom, top) = plot.theme, plot.view()
    names = list({line.name: line for line in plot.lines}.values())
    height = HEIGHT + LINE * (-(-len(names) // 3))
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    across, up = wide / (right - left), tall / (top - bottom)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="{theme.surface}"/>',
        f'<text x="{LEFT}" y="18" font-size="13" font-weight="600" fill="{theme.text}">{escape(plot.head.title)}</text>',
        f'<text x="{LEFT}" y="33" fill="{theme.muted}">{escape(plot.head.axes)}</text>',
    ]
    for side, low, high, pixels in (("left", bottom, top, tall), ("bottom", left, right, wide)):
        axis = plot.axes.items[side]
        spacing, ticks = (axis.tickValues(low, high, pixels) or [(1.0, [])])[0]
        for tick, text in zip(ticks, axis.tickStrings(ticks, 1.0, spacing), strict=True):
            if side == "left":
                y = TOP + (top - tick) * up
                parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{theme.border}"/>')
                parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{theme.muted}">{escape(text)}</text>')
            else:
                x = LEFT + (tick - left) * across
                parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="{theme.muted}">{escape(text)}</text>')
    parts.append(f'<clipPath id="inside"><rect x="{LEFT}" y="{TOP}" width="{wide}" height="{tall}"/></clipPath><g clip-path="url(#inside)">')
    for line in plot.lines:
        parts += _shapes(line, (left, right, bottom, top), across, up)
    parts.append("</g>")
    for place, line in enumerate(names):
        x, y = LEFT + (place % 3) * (wide / 3), HEIGHT - 10 + LINE * (place // 3)
        parts.append(f'<rect x="{x:.0f}" y="{y - 8:.0f}" width="8" height="8" fill="{line.colour}"/>')
        parts.append(f'<text x="{x + 12:.0f}" y="{y:.0f}" fill="{theme.text}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _shapes(line: Line, view: tuple[float, float, float, float], across: float, up: float) -> list[str]:
    left, right, _bottom, top = view
    found = []
    if line.filled:
        front = line.front
        xs, ys = np.concatenate((front.x, front.x[::-1])), np.concatenate((front.high, front.low[::-1]))
        corners = " ".join(f"{LEFT + (x - left) * across:.1f},{TOP + (top - y) * up:.1f}" for x, y in zip(xs, ys, strict=True))
        return [f'<polygon points="{corners}" fill="{line.colour}"/>']
    for trace, colour in ((line.behind, line.faint), (line.front, line.colour)):
        if trace is None:
            continue
        drawn = trace.outline(left, right, POINTS)
        path, joined = [], False
        for x, y, connect in zip(drawn.x.tolist(), drawn.y.tolist(), drawn.connect.tolist(), strict=True):
            path.append(f"{'L' if joined else 'M'}{LEFT + (x - left) * across:.1f} {TOP + (top - y) * up:.1f}")
            joined = bool(connect)
        if path:
            found.append(f"<path d={quoteattr(''.join(path))} fill=\"none\" stroke=\"{colour}\"/>")
    return found
