"""A figure that moves: its name, its value now, and its last minutes as a line."""

from __future__ import annotations

from collections import deque

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from workbench.theme import Theme
from workbench.widgets.text import label

KEPT = 120
"""Values that the line shows: two minutes at one a second."""


class Trace(QWidget):
    """The last values as a line; a value of None is a gap."""

    def __init__(self, theme: Theme, top: float | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.top = top
        self.values: deque[float | None] = deque(maxlen=KEPT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return QSize(160, 36)

    def add(self, value: float | None) -> None:
        self.values.append(value)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        area = QRectF(self.rect()).adjusted(0, 1, -1, -2)
        painter.setPen(QPen(QColor(self.theme.border), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        known = [value for value in self.values if value is not None]
        if not known:
            return
        top = max(self.top or 0.0, max(known) * 1.05) or 1.0
        step = area.width() / (KEPT - 1)
        first = KEPT - len(self.values)
        piece: list[QPointF] = []
        pieces = [piece]
        for place, value in enumerate(self.values):
            if value is None:
                pieces.append(piece := [])
            else:
                piece.append(QPointF(area.left() + (first + place) * step, area.bottom() - value / top * area.height()))
        fill = QColor(self.theme.accent)
        fill.setAlpha(40)
        for points in pieces:
            if points:
                ground = [QPointF(points[0].x(), area.bottom()), *points, QPointF(points[-1].x(), area.bottom())]
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(fill)
                painter.drawPolygon(QPolygonF(ground))
                painter.setPen(QPen(QColor(self.theme.accent), 1))
                painter.drawPolyline(QPolygonF(points))


class Gauge(QWidget):
    """Name and value on the left, the trace on the right. `top`: the largest value there can be, so that the height of the line means something."""

    def __init__(self, name: str, theme: Theme, top: float | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(14)
        texts = QVBoxLayout()
        texts.setSpacing(0)
        texts.addWidget(label(name, "caption"))
        self.value = label("–", "strong")
        texts.addWidget(self.value)
        column = QWidget()
        column.setLayout(texts)
        texts.setContentsMargins(0, 0, 0, 0)
        column.setFixedWidth(190)
        row.addWidget(column)
        self.trace = Trace(theme, top)
        row.addWidget(self.trace, 1)
        self._name = name
        self.setAccessibleName(name)

    def show_value(self, value: float | None, text: str) -> None:
        """The value now (None where it is unknown) and how it is written."""
        self.value.setText(text)
        self.setAccessibleDescription(f"{self._name}: {text}")
        self.trace.add(value)

    def paint_with(self, theme: Theme) -> None:
        self.trace.theme = theme
        self.trace.update()
