"""What each layer loses as bars: a group a layer, a bar a level, the layer that loses most on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QHelpEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from workbench.theme import Theme

BAR, GAP, AXIS = 9, 12, 34
NAMES = 0.36
"""Share of the width that names take."""


class SensitivityBars(QWidget):
    """`chosen(name)` when a layer is clicked. Whiskers are 95% intervals; the line at zero is the model as it is."""

    chosen = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.rows: list[Mapping[str, Any]] = []
        self.levels: list[str] = []
        self.unit = ""
        self._marked = ""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Loss of each layer")

    def show_layers(self, rows: Sequence[Mapping[str, Any]], levels: Sequence[str], unit: str) -> None:
        """rows: layers with "name" and "levels" ({"loss", "low", "high"} each), in the order in which they are drawn; levels: how each is called."""
        self.rows, self.levels, self.unit = list(rows), list(levels), unit
        self.setFixedHeight(self.sizeHint().height())
        self.setAccessibleDescription(" ".join(self.words(row) for row in self.rows[:8]))
        self.update()

    def words(self, row: Mapping[str, Any]) -> str:
        """A layer in words."""
        parts = [
            f"{level} {each['loss']:+.4f}" + (f" [{each['low']:+.4f}, {each['high']:+.4f}]" if each["low"] is not None else "")
            for level, each in zip(self.levels, row["levels"], strict=True)
        ]
        return f"{row['name']}: {'; '.join(parts)} {self.unit} a target."

    def mark(self, name: str) -> None:
        """Bring one layer out."""
        self._marked = name
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(520, AXIS + len(self.rows) * self._group() + 6)

    def _group(self) -> int:
        return max(1, len(self.levels)) * BAR + GAP

    def _row_at(self, y: float) -> Mapping[str, Any] | None:
        place = int((y - AXIS) // self._group())
        return self.rows[place] if y >= AXIS and place < len(self.rows) else None

    def _scale(self) -> tuple[float, float]:
        """(least, most) that is drawn; zero is among them."""
        values = [each[key] for row in self.rows for each in row["levels"] for key in ("loss", "low", "high") if each[key] is not None]
        low, high = min(0.0, *values), max(0.0, *values)
        return low, high if high > low else low + 1e-6

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self.rows:
            return
        painter, theme = QPainter(self), self.theme
        low, high = self._scale()
        left, right = NAMES * self.width(), self.width() - 14.0

        def x(value: float) -> float:
            return left + (right - left) * (value - low) / (high - low)

        self._paint_axis(painter, low, high, x)
        metrics = QFontMetricsF(painter.font())
        for place, row in enumerate(self.rows):
            top = AXIS + place * self._group()
            if row["name"] == self._marked:
                painter.fillRect(QRectF(0, top, self.width(), self._group()), QColor(theme.accent_soft))
            painter.setPen(QColor(theme.text))
            # The ends of a module's name tell more than its middle.
            name = metrics.elidedText(row["name"], Qt.TextElideMode.ElideMiddle, left - 18)
            painter.drawText(QRectF(0, top, left - 12, self._group()), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, name)
            for number, each in enumerate(row["levels"]):
                y = top + GAP / 2 + number * BAR
                start, end = sorted((x(0.0), x(each["loss"])))
                painter.fillRect(QRectF(start, y + 1, max(1.0, end - start), BAR - 2), QColor(theme.curve(number)))
                if each["low"] is not None:
                    painter.setPen(QPen(QColor(theme.text), 1))
                    painter.drawLine(QPointF(x(each["low"]), y + BAR / 2), QPointF(x(each["high"]), y + BAR / 2))
        painter.setPen(QPen(QColor(theme.strong), 1))
        painter.drawLine(QPointF(x(0.0), AXIS - 4), QPointF(x(0.0), self.height() - 4))

    def _paint_axis(self, painter: QPainter, low: float, high: float, x: Any) -> None:
        painter.setPen(QColor(self.theme.muted))
        painter.drawText(QRectF(0, 0, NAMES * self.width() - 12, AXIS - 6), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.unit)
        step = _step(high - low)
        first = -int(-low // step) if low < 0 else 0
        for number in range(first, int(high / step) + 1):
            value = number * step
            painter.setPen(QPen(QColor(self.theme.grid), 1))
            painter.drawLine(QPointF(x(value), AXIS - 4), QPointF(x(value), self.height() - 4))
            painter.setPen(QColor(self.theme.muted))
            painter.drawText(QRectF(x(value) - 45, 0, 90, AXIS - 6), Qt.AlignmentFlag.AlignCenter, f"{value:g}")

    def mousePressEvent(self, event: QMouseEvent) -> None:
        row = self._row_at(event.position().y())
        if row is not None:
            self.chosen.emit(str(row["name"]))

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            row = self._row_at(event.pos().y())
            if row is not None:
                QToolTip.showText(event.globalPos(), self.words(row), self)
                return True
        return super().event(event)

    def paint_with(self, theme: Theme) -> None:
        self.theme = theme
        self.update()


def _step(span: float) -> float:
    """A round number of which three to six go into the span."""
    size = 10.0 ** len(f"{int(span / 4)}") / 10 if span >= 4 else 1.0
    while size * 3 > span:
        size /= 10
    return next((size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 6), size * 10)
