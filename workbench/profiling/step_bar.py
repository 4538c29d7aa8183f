"""A training step as one bar: what share of it data, forward, backward, optimizer and the rest take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QVBoxLayout, QWidget

from workbench.profiling import colours
from workbench.profiling.reading import PHASES
from workbench.theme import Theme
from workbench.widgets.legend import Legend
from workbench.widgets.text import number

HEIGHT = 30
NAMES = {"data": "waiting for data", "forward": "forward", "backward": "backward", "optimizer": "optimizer", "other": "other"}


class _Segments(QWidget):
    """Milliseconds by phase, as long as their share."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.ms: dict[str, float] = {}
        self.quartiles: Mapping[str, tuple[float, float]] = {}
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return QSize(400, HEIGHT)

    def words(self, phase: str) -> str:
        low, high = self.quartiles.get(phase, (None, None))
        half = "" if low is None else f", in the middle half of the steps {number(low, 3)} to {number(high, 3)} ms"
        return f"{NAMES[phase]} {number(self.ms[phase], 3)} ms, {self.ms[phase] / sum(self.ms.values()):.1%}{half}"

    def areas(self) -> list[tuple[str, QRectF]]:
        whole, left, found = sum(self.ms.values()), 0.0, []
        for phase, ms in self.ms.items():
            width = self.width() * ms / whole
            found.append((phase, QRectF(left, 0, width, HEIGHT)))
            left += width
        return found

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shades = colours.phases(self.theme)
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(0, 0, self.width(), HEIGHT), 6, 6)
        painter.setClipPath(shape)
        metrics = QFontMetricsF(painter.font())
        for phase, area in self.areas():
            painter.fillRect(area.adjusted(0, 0, -1, 0), shades[phase])
            text = f"{self.ms[phase] / sum(self.ms.values()):.0%}"
            if metrics.horizontalAdvance(text) + 8 < area.width():
                painter.setPen(colours.ink(shades[phase]))
                painter.drawText(area, Qt.AlignmentFlag.AlignCenter, text)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            hit = next((phase for phase, area in self.areas() if area.contains(QPointF(event.pos()))), None)
            if hit is not None:
                QToolTip.showText(event.globalPos(), self.words(hit), self)
                return True
        return super().event(event)


class StepBar(QWidget):
    """The bar, and below it what its colours mean, with milliseconds."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        self._bar = _Segments(theme)
        self.legend = Legend()
        column.addWidget(self._bar)
        column.addWidget(self.legend)
        self.setAccessibleName("Shares of a training step")

    def show_step(self, step_ms: Mapping[str, Any]) -> None:
        """Milliseconds by phase, each the median over steps, with its quartiles; what was not measured is absent."""
        self._bar.quartiles = step_ms.get("quartiles") or {}
        self._bar.ms = {phase: float(step_ms[phase]) for phase in PHASES if step_ms.get(phase)}
        self._draw()

    def _draw(self) -> None:
        shades = colours.phases(self._bar.theme)
        self.legend.show_entries((shades[phase].name(), f"{NAMES[phase]} {number(ms, 3)} ms") for phase, ms in self._bar.ms.items())
        self.setAccessibleDescription(", ".join(self._bar.words(phase) for phase in self._bar.ms))
        self._bar.update()

    def paint_with(self, theme: Theme) -> None:
        self._bar.theme = theme
        self._draw()
