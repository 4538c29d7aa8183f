"""The picture of all curves of a plot. What moved is shifted, what was added is drawn on it; only a new scale draws it anew, in slices.

While a new picture is made the old one is shown at the new scale, so that no step of a zoom waits for a hundred curves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt, QTimer
from PySide6.QtGui import QColor, QPainter, QPen, QPixmap, QPolygonF
from PySide6.QtWidgets import QGraphicsItem

from workbench.plotting.lines import Line, Trace

SLICE_SECONDS = 0.010
"""How long a new picture may be worked on before the window is asked what else there is."""
AT_ONCE = 12
"""Curves up to this number are drawn without slices."""


@dataclass
class _Picture:
    """view: x at the left, x at the right, y at the bottom, y at the top."""

    pixels: QPixmap
    view: tuple[float, float, float, float]

    @property
    def step(self) -> float:
        """Width of a pixel in units of x."""
        return (self.view[1] - self.view[0]) / self.pixels.width()


class CurveLayer(pg.GraphicsObject):
    """Lies in a view box, in its pixels. Nothing here is a child of the transformed group: the view box's range is read when it changed."""

    def __init__(self, box: pg.ViewBox) -> None:
        super().__init__()
        self.setParentItem(box)
        self.setZValue(-1)
        self.setFlag(QGraphicsItem.GraphicsItemFlag.ItemUsesExtendedStyleOption)
        self.setAcceptedMouseButtons(Qt.MouseButton.NoButton)
        self._box = box
        self._lines: list[Line] = []
        self._shown: _Picture | None = None
        self._more: list[tuple[Line, float]] = []
        self._making: tuple[_Picture, list[Line]] | None = None
        self.pictures = self.strips = 0
        """How many pictures were begun, and how many strips drawn: for whoever measures."""
        self._seconds = 0.0
        self._room = pg.Qt.internals.PrimitiveArray(QLineF, 4)
        self._ground, self._rule = QColor("white"), QColor("white")
        self._ticks: Callable[[], Sequence[float]] = tuple
        self._behind_left = 0
        self._next = QTimer()
        self._next.setSingleShot(True)
        self._next.setInterval(0)
        self._next.timeout.connect(self._go_on)

    def stand_on(self, ground: str, rule: str, ticks: Callable[[], Sequence[float]]) -> None:
        """Colours of the ground and of the horizontal lines on it; ticks: at which y those are. They are part of the picture: copying a
        picture without transparency costs a fraction of laying one over a grid."""
        self._ground, self._rule, self._ticks = QColor(ground), QColor(rule), ticks

    def close(self) -> None:
        self._next.stop()

    def boundingRect(self) -> QRectF:
        return QRectF(self._box.rect())

    def take_seconds(self) -> float:
        """What drawing has taken since the last call."""
        taken, self._seconds = self._seconds, 0.0
        return taken

    # --- What changed ------------------------------------------------------------------------------------------------------------------------

    def draw_anew(self, lines: Sequence[Line]) -> None:
        """Other curves, or curves that changed in their course."""
        self._lines = list(lines)
        self._begin()

    def know(self, lines: Sequence[Line]) -> None:
        """The same curves, grown: for whatever is drawn from now on."""
        self._lines = list(lines)

    def draw_more(self, grown: Sequence[tuple[Line, float]]) -> None:
        """Curves have grown at their ends, each from an x on: only that is drawn."""
        if self._making is not None or self._shown is None or self._shown.view != self._view():
            self._begin()
            return
        self._more += grown
        self._go_on()

    def look(self) -> None:
        """The view box shows another range, or has another size."""
        view = self._view()
        shown = self._shown
        if self._making is not None or shown is None or shown.pixels.size() != self._size():
            self._begin()
            return
        if shown.view == view:
            return
        left, right, bottom, top = view
        same_scale = abs((right - left) / (shown.view[1] - shown.view[0]) - 1) < 1e-9 and (bottom, top) == shown.view[2:]
        moved = round((left - shown.view[0]) / shown.step)
        width = shown.pixels.width()
        if not same_scale or abs(moved) >= width:
            self._begin()
            return
        if moved:
            self._shift(shown, moved, width)
        self.update()

    def finish(self) -> None:
        """Draw to the end what is being drawn in slices."""
        while self.busy:
            self._go_on()

    @property
    def busy(self) -> bool:
        """Whether something is still to be drawn."""
        return self._making is not None or bool(self._more)

    # --- Drawing -----------------------------------------------------------------------------------------------------------------------------

    def _view(self) -> tuple[float, float, float, float]:
        (left, right), (bottom, top) = self._box.viewRange()
        return left, right, bottom, top

    def _size(self):
        rect, ratio = self._box.rect(), self._ratio()
        return QRectF(0, 0, max(1, round(rect.width() * ratio)), max(1, round(rect.height() * ratio))).size().toSize()

    def _ratio(self) -> float:
        view = self.getViewWidget()
        return view.devicePixelRatioF() if view is not None else 1.0

    def _begin(self) -> None:
        view, size = self._view(), self._size()
        if view[1] <= view[0] or view[3] <= view[2]:
            return
        pixels = QPixmap(size)
        self.pictures += 1
        self._more.clear()
        behind = [line for line in self._lines if line.behind is not None]
        picture = _Picture(pixels, view)
        self._making = picture, [*behind, *self._lines]
        painter = QPainter(pixels)
        self._draw_ground(painter, picture, 0, pixels.width())
        painter.end()
        self._behind_left = len(behind)
        if len(self._lines) <= AT_ONCE:
            self.finish()
        else:
            self._next.start()
            self.update()

    def _go_on(self) -> None:
        if self._making is None:
            self._add_more()
            return
        picture, left = self._making
        began = time.perf_counter()
        end = began + SLICE_SECONDS
        painter = QPainter(picture.pixels)
        while left and time.perf_counter() < end:
            line = left.pop(0)
            self._draw(painter, picture, line, 0, picture.pixels.width(), behind=self._behind_left > 0)
            self._behind_left -= 1
        painter.end()
        self._seconds += time.perf_counter() - began
        if left:
            self._next.start()
            return
        self._shown, self._making = picture, None
        if picture.view != self._view() or picture.pixels.size() != self._size():
            self.look()  # It moved meanwhile: mostly a strip is missing.
        self.update()

    def _add_more(self) -> None:
        """Draw what curves have grown by, as long as a slice takes."""
        shown, end = self._shown, time.perf_counter() + SLICE_SECONDS
        while self._more and shown is not None and time.perf_counter() < end:
            line, start = self._more.pop(0)
            first = int((start - shown.view[0]) / shown.step) - 1
            if first < shown.pixels.width():
                self._strip(shown, max(0, first), shown.pixels.width(), [line])
        if self._more and shown is not None:
            self._next.start()
        self.update()

    def _shift(self, shown: _Picture, moved: int, width: int) -> None:
        """The same picture so many pixels further; only the strip that came into view is drawn."""
        shown.pixels.scroll(-moved, 0, shown.pixels.rect())
        step = shown.step
        shown.view = (shown.view[0] + moved * step, shown.view[1] + moved * step, *shown.view[2:])
        first, last = (width - moved, width) if moved > 0 else (0, -moved)
        self._strip(shown, first, last, self._lines, clear=True)

    def _strip(self, picture: _Picture, first: int, last: int, lines: Sequence[Line], *, clear: bool = False) -> None:
        self.strips += 1
        began = time.perf_counter()
        painter = QPainter(picture.pixels)
        painter.setClipRect(first, 0, last - first, picture.pixels.height())
        if clear:
            self._draw_ground(painter, picture, first, last)
            first = max(0, first - 1)  # So that the curves reach to what stands beside the strip.
        for behind in (True, False):
            for line in lines:
                if not behind or line.behind is not None:
                    self._draw(painter, picture, line, first, last, behind=behind)
        painter.end()
        self._seconds += time.perf_counter() - began

    def _draw_ground(self, painter: QPainter, picture: _Picture, first: int, last: int) -> None:
        width, height = last - first, picture.pixels.height()
        painter.fillRect(first, 0, width, height, self._ground)
        bottom, top = picture.view[2:]
        for tick in self._ticks():
            painter.fillRect(first, round((top - tick) / (top - bottom) * height), width, 1, self._rule)

    def _draw(self, painter: QPainter, picture: _Picture, line: Line, first: int, last: int, *, behind: bool) -> None:
        trace = line.behind if behind and line.behind is not None else line.front
        colour = QColor(line.faint if behind else line.colour)
        size = picture.pixels.width(), picture.pixels.height()
        draw(painter, trace, colour, picture.view, size, first, last, filled=line.filled, lines=self._room)

    def paint(self, painter: QPainter, *_: object) -> None:
        shown = self._shown
        if shown is None:
            return
        left, right, bottom, top = self._view()
        rect = self._box.rect()
        across, up = rect.width() / (right - left), rect.height() / (top - bottom)
        x0, x1, y0, y1 = shown.view
        target = QRectF(rect.left() + (x0 - left) * across, rect.top() + (top - y1) * up, (x1 - x0) * across, (y1 - y0) * up)
        if abs(target.width() - rect.width()) < 1e-6 * rect.width():
            target.moveLeft(round(target.left() * self._ratio()) / self._ratio())
        painter.drawPixmap(target, shown.pixels, QRectF(shown.pixels.rect()))


def draw(
    painter: QPainter, trace: Trace, colour: QColor, view: tuple[float, float, float, float], size: tuple[int, int], first: int, last: int, *,
    filled: bool = False, lines: Any = None,
) -> None:  # fmt: skip
    """Draw the columns first to last (exclusive) of a trace on a picture of `size` pixels that shows `view`. lines: room that is used again."""
    if not len(trace.x):
        return
    (left, right, bottom, top), (width, height) = view, size
    across, up = width / (right - left), height / (top - bottom)
    if filled:
        _area(painter, trace, colour, left, top, across, up)
        return
    painter.setPen(QPen(colour, 1))
    lines = lines or pg.Qt.internals.PrimitiveArray(QLineF, 4)
    spans = trace.spans(left, 1 / across, first, last)
    if spans is None:
        drawn = trace.outline(left + first / across, left + last / across, 10 * (last - first))
        _broken(painter, (drawn.x - left) * across, (top - drawn.y) * up, drawn.connect)
        return
    columns, joints = spans.column, spans.joints
    lines.resize(len(columns) + len(joints))
    array = lines.ndarray()
    array[: len(columns), 0] = array[: len(columns), 2] = columns + 0.5
    upper, lower = (top - spans.high) * up, (top - spans.low) * up
    array[: len(columns), 1], array[: len(columns), 3] = upper, lower
    # Each span reaches to the one in the column before it, so that the curve has no holes; fmin and fmax pass over gaps.
    reached = np.fmin(upper[1:], lower[:-1]), np.fmax(lower[1:], upper[:-1])
    known = np.isfinite(upper)
    if len(columns) == last - first and known.all():
        array[1 : len(columns), 1], array[1 : len(columns), 3] = reached
    else:
        reach = np.append(False, known[1:] & known[:-1] & (columns[1:] - columns[:-1] == 1))
        array[: len(columns), 1][reach], array[: len(columns), 3][reach] = reached[0][reach[1:]], reached[1][reach[1:]]
        array[: len(columns)][~known] = -10.0
    array[len(columns) :, 0::2] = (joints[:, 0::2] - left) * across
    array[len(columns) :, 1::2] = (top - joints[:, 1::2]) * up
    np.clip(array[:, 1::2], -20.0, height + 20.0, out=array[:, 1::2])
    painter.drawLines(*lines.drawargs())


def _broken(painter: QPainter, x: np.ndarray, y: np.ndarray, connect: np.ndarray) -> None:
    """A polyline with gaps."""
    if len(x) == 0:
        return
    painter.drawPath(pg.arrayToQPath(x, np.clip(y, -1e6, 1e6), connect, finiteCheck=False))


def _area(painter: QPainter, trace: Trace, colour: QColor, left: float, top: float, across: float, up: float) -> None:
    known = np.isfinite(trace.low) & np.isfinite(trace.high)
    x, low, high = (trace.x[known] - left) * across, (top - trace.low[known]) * up, (top - trace.high[known]) * up
    corners = [QPointF(*point) for point in zip(np.concatenate((x, x[::-1])).tolist(), np.concatenate((high, low[::-1])).tolist(), strict=True)]
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawPolygon(QPolygonF(corners))
    painter.setBrush(Qt.BrushStyle.NoBrush)
