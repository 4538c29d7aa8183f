"""A training step as one bar: what share of it data, forward, backward, optimizer and the rest take."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QHelpEvent, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from workbench.profiling import colours
from workbench.profiling.reading import PHASES
from workbench.theme import Theme
from workbench.widgets.text import number

BAR, LEGEND = 30, 26
NAMES = {"data": "waiting for data", "forward": "forward", "backward": "backward", "optimizer": "optimizer", "other": "other"}


class StepBar(QWidget):
    """Segments as long as their share, and a legend below with name, milliseconds and share."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.ms: dict[str, float] = {}
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Shares of a training step")

    def sizeHint(self) -> QSize:
        return QSize(400, BAR + LEGEND)

    def show_step(self, step_ms: Mapping[str, float]) -> None:
        """Milliseconds by phase; what was not measured is absent."""
        self.ms = {phase: float(step_ms[phase]) for phase in PHASES if step_ms.get(phase)}
        self.setAccessibleDescription(", ".join(self.words(phase) for phase in self.ms))
        self.update()

    def words(self, phase: str) -> str:
        whole = sum(self.ms.values())
        return f"{NAMES[phase]} {number(self.ms[phase], 3)} ms, {self.ms[phase] / whole:.1%}"

    def _segments(self) -> list[tuple[str, QRectF]]:
        whole, left, found = sum(self.ms.values()), 0.0, []
        for phase, ms in self.ms.items():
            width = self.width() * ms / whole
            found.append((phase, QRectF(left, 0, width, BAR)))
            left += width
        return found

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self.ms:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shades = colours.phases(self.theme)
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(0, 0, self.width(), BAR), 6, 6)
        painter.setClipPath(shape)
        metrics = QFontMetricsF(painter.font())
        whole = sum(self.ms.values())
        for phase, area in self._segments():
            painter.fillRect(area.adjusted(0, 0, -1, 0), shades[phase])
            text = f"{self.ms[phase] / whole:.0%}"
            if metrics.horizontalAdvance(text) + 8 < area.width():
                painter.setPen(colours.ink(shades[phase]))
                painter.drawText(area, Qt.AlignmentFlag.AlignCenter, text)
        painter.setClipping(False)
        left = 0.0
        for phase in self.ms:
            middle = BAR + LEGEND / 2 + 3
            painter.setBrush(shades[phase])
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(QRectF(left, middle - 5, 10, 10), 3, 3)
            text = f"{NAMES[phase]} {number(self.ms[phase], 3)} ms"
            painter.setPen(QColor(self.theme.muted))
            painter.drawText(QPointF(left + 15, middle + metrics.ascent() / 2 - 1), text)
            left += 15 + metrics.horizontalAdvance(text) + 20

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            hit = next((phase for phase, area in self._segments() if area.contains(QPointF(event.pos()))), None) if self.ms else None
            if hit is not None:
                QToolTip.showText(event.globalPos(), self.words(hit), self)
                return True
        return super().event(event)
