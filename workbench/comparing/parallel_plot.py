"""Parallel coordinates, painted: one upright axis for each setting and figure, one line for each variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QToolTip, QWidget

from workbench.comparing.parallel_axes import Axis
from workbench.theme import Theme

ABOVE, BELOW, SIDE = 58, 26, 76
"""Pixels around the axes: titles above, room for values below and beside."""
NEAR = 8.0
"""Pixels within which the mouse means a line."""
MANY = 30
"""Lines above which all are drawn thin and pale until one is looked at."""


class ParallelPlot(QWidget):
    """`picked(variant)` on a click or with the arrow keys; empty for none."""

    picked = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.axes: list[Axis] = []
        self._colours: Mapping[str, str] = {}
        self._baseline = self._selected = self._under = ""
        self._drawn: QPixmap | None = None
        self.setMinimumHeight(170)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._theme = theme
        self._anew()

    def show_axes(self, axes: Sequence[Axis], colours: Mapping[str, str], baseline: str) -> None:
        """Draw these axes from left to right; the lines follow `colours`, which names all variants."""
        self.axes, self._colours, self._baseline = list(axes), colours, baseline
        # Each axis is so far from the next that its values can be read; where there are too many, the page scrolls sideways.
        self.setMinimumWidth(2 * SIDE + 84 * max(1, len(self.axes) - 1))
        self.setAccessibleName(f"Parallel coordinates of {len(colours)} variants over {', '.join(axis.title for axis in axes)}")
        self._anew()

    def mark(self, name: str) -> None:
        """Bring out a variant; empty for none."""
        self._selected = name
        self._anew()

    def line(self, name: str) -> list[list[QPointF]]:
        """Where a variant runs, in pixels: pieces, for it is broken where it lacks an axis."""
        pieces: list[list[QPointF]] = [[]]
        for place, axis in enumerate(self.axes):
            if name in axis.places:
                pieces[-1].append(QPointF(self._x(place), self._y(axis.places[name])))
            elif pieces[-1]:
                pieces.append([])
        return [piece for piece in pieces if piece]

    def _x(self, place: int) -> float:
        room = self.width() - 2 * SIDE
        return SIDE + (room * place / (len(self.axes) - 1) if len(self.axes) > 1 else room / 2)

    def _y(self, share: float) -> float:
        return self.height() - BELOW - share * (self.height() - ABOVE - BELOW)

    # --- Painting -----------------------------------------------------------------------------------------------------------------------------

    def _anew(self) -> None:
        self._drawn = None
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._drawn = None

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Everything but the line under the mouse is kept as a picture."""
        if self._drawn is None:
            ratio = self.devicePixelRatioF()
            self._drawn = QPixmap(self.size() * ratio)
            self._drawn.setDevicePixelRatio(ratio)
            self._drawn.fill(QColor(self._theme.surface))
            painter = QPainter(self._drawn)
            painter.setFont(self.font())
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._lines(painter)
            self._frame(painter)
            painter.end()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._drawn)
        if self._under and self._under != self._selected:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._line(painter, self._under, QColor(self._colours[self._under]), 2.5)
        if self.hasFocus():
            painter.setPen(QPen(QColor(self._theme.accent), 1))
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        painter.end()

    def _lines(self, painter: QPainter) -> None:
        pale = bool(self._selected) or len(self._colours) > MANY
        for name, ink in self._colours.items():
            colour = QColor(ink)
            colour.setAlpha(70 if pale else 200)
            if name != self._selected:
                self._line(painter, name, colour, 1.0 if pale else 1.6)
        if self._selected in self._colours:
            self._line(painter, self._selected, QColor(self._colours[self._selected]), 3.0)

    def _line(self, painter: QPainter, name: str, colour: QColor, width: float) -> None:
        style = Qt.PenStyle.DashLine if name == self._baseline else Qt.PenStyle.SolidLine
        for piece in self.line(name):
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(colour, width, style))
            painter.drawPolyline(QPolygonF(piece))
            painter.setBrush(colour)
            painter.setPen(Qt.PenStyle.NoPen)
            for point in piece:
                painter.drawEllipse(point, width + 1.2, width + 1.2)

    def _frame(self, painter: QPainter) -> None:
        theme, metrics = self._theme, self.fontMetrics()
        bold, small = QFont(self.font()), QFont(self.font())
        bold.setWeight(QFont.Weight.DemiBold)
        small.setPointSizeF(max(6.0, small.pointSizeF() * 0.88))
        room = (self.width() - 2 * SIDE) / max(1, len(self.axes) - 1) if len(self.axes) > 1 else 2 * SIDE
        for place, axis in enumerate(self.axes):
            x = self._x(place)
            painter.setPen(QPen(QColor(theme.accent if axis.figure else theme.strong), 1.5))
            painter.drawLine(QPointF(x, self._y(0)), QPointF(x, self._y(1)))
            wide = min(room, 2 * SIDE) - 6
            painter.setFont(bold)
            painter.setPen(QColor(theme.text))
            words = painter.fontMetrics().elidedText(axis.title, Qt.TextElideMode.ElideMiddle, int(wide))
            painter.drawText(QRectF(x - wide / 2, 6, wide, metrics.height()), Qt.AlignmentFlag.AlignCenter, words)
            painter.setFont(small)
            painter.setPen(QColor(theme.muted))
            note = painter.fontMetrics().elidedText(axis.note or ("" if axis.figure else "setting"), Qt.TextElideMode.ElideRight, int(wide))
            painter.drawText(QRectF(x - wide / 2, 7 + metrics.height(), wide, metrics.height()), Qt.AlignmentFlag.AlignCenter, note)
            for share, text in axis.ticks:
                y = self._y(share)
                label = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(min(room, 2 * SIDE)) - 16)
                box = QRectF(x + 6, y - metrics.height() / 2, painter.fontMetrics().horizontalAdvance(label) + 4, metrics.height())
                ground = QColor(theme.surface)
                ground.setAlpha(205)
                painter.fillRect(box, ground)
                painter.drawLine(QPointF(x - 3, y), QPointF(x + 3, y))
                painter.drawText(box.adjusted(2, 0, 2, 0), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, label)

    # --- Mouse and keyboard -------------------------------------------------------------------------------------------------------------------

    def nearest(self, at: QPointF) -> str:
        """The variant whose line runs within reach of a place; empty for none."""
        best, found = NEAR, ""
        for name in self._colours:
            for piece in self.line(name):
                away = min((_away(at, one, two) for one, two in pairwise(piece)), default=_away(at, piece[0], piece[0]))
                if away < best:
                    best, found = away, name
        return found

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        found = self.nearest(event.position())
        if found != self._under:
            self._under = found
            self.setCursor(Qt.CursorShape.PointingHandCursor if found else Qt.CursorShape.ArrowCursor)
            self.update()
            if found:
                lines = [f"{axis.title}: {axis.values[found]}" for axis in self.axes if found in axis.values]
                QToolTip.showText(event.globalPosition().toPoint(), "\n".join([found, *lines]), self)
            else:
                QToolTip.hideText()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        self.picked.emit(self.nearest(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._under = ""
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The arrow keys go through the variants from above to below on the last axis; Escape selects none."""
        step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_Left: -1}.get(Qt.Key(event.key()))
        last = self.axes[-1].places if self.axes else {}
        order = sorted(last, key=lambda name: -last[name])
        if event.key() == Qt.Key.Key_Escape:
            self.picked.emit("")
        elif step is None or not order:
            super().keyPressEvent(event)
        else:
            at = order.index(self._selected) + step if self._selected in order else 0 if step > 0 else -1
            self.picked.emit(order[at % len(order)])


def _away(at: QPointF, one: QPointF, two: QPointF) -> float:
    """Pixels from a place to the piece of a line between two points."""
    along = two - one
    length = QPointF.dotProduct(along, along)
    share = min(1.0, max(0.0, QPointF.dotProduct(at - one, along) / length)) if length else 0.0
    apart = at - (one + along * share)
    return float(QPointF.dotProduct(apart, apart) ** 0.5)
