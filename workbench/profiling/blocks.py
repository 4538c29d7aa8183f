"""A picture of the model: its blocks from the embedding down to the head, each part coloured by the share of time it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.profiling import colours
from workbench.profiling.reading import parts
from workbench.theme import Theme
from workbench.widgets.text import number

PART, GAP, HEAD, PAD = 27, 10, 20, 6


@dataclass(frozen=True)
class Part:
    """A rectangle of the picture: which layers of the table lie in it, and their share of the time."""

    block: str
    name: str
    layers: tuple[str, ...]
    ms: float
    share: float
    top: float


class ModelPicture(QWidget):
    """`pointed(name)` while the mouse is over a part (empty when it left), `chosen(name)` on a click or with the arrows: a layer's name."""

    pointed = Signal(str)
    chosen = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.parts: list[Part] = []
        self._frames: list[tuple[str, float, float]] = []
        self._largest = 0.0
        self._marked = ""
        self._hovered = -1
        self._height = 0.0
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Picture of the model")

    def sizeHint(self) -> QSize:
        return QSize(230, int(self._height))

    def show_layers(self, layers: Sequence[Mapping[str, Any]]) -> None:
        """Take other layers: rows with name, ms and share."""
        self.parts, self._frames = [], []
        top = 2.0
        for block, inside in parts([dict(row) for row in layers]):
            framed = any(part for part, _rows in inside)
            start = top
            top += HEAD if framed else 0
            for part, rows in inside:
                ms, share = sum(row["ms"] for row in rows), sum(row["share"] for row in rows)
                self.parts.append(Part(block, part or ("itself" if framed else block), tuple(row["name"] for row in rows), ms, share, top))
                top += PART + 2
            top += PAD if framed else 0
            if framed:
                self._frames.append((block, start, top - start))
            top += GAP
        self._height = top
        self._largest = max((part.share for part in self.parts), default=0.0)
        self._hovered = -1
        self.updateGeometry()
        self.update()

    def mark(self, layer: str) -> None:
        """Show which part a layer lies in."""
        self._marked = layer
        found = self.holding(layer)
        if found is not None:
            self.setAccessibleDescription(self.words(found))
        self.update()

    def point_at(self, layer: str) -> None:
        """Show the part of a layer that is pointed at elsewhere; an empty name takes it back."""
        self._hovered = next((place for place, part in enumerate(self.parts) if layer in part.layers), -1)
        self.update()

    def holding(self, layer: str) -> Part | None:
        return next((part for part in self.parts if layer in part.layers), None)

    def words(self, part: Part) -> str:
        return f"{part.block}{'' if part.name == part.block else f', {part.name}'}: {number(part.ms, 3)} ms, {part.share:.1%} of the layers' time"

    def _area(self, part: Part) -> QRectF:
        inset = 0.0 if part.name == part.block else 8.0
        return QRectF(inset + 1, part.top, self.width() - 2 * inset - 2, PART)

    def at(self, point: QPoint) -> int:
        return next((place for place, part in enumerate(self.parts) if self._area(part).contains(point)), -1)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = QFontMetricsF(painter.font())
        for block, top, height in self._frames:
            painter.setPen(QPen(QColor(self.theme.border), 1))
            painter.setBrush(QColor(self.theme.window))
            painter.drawRoundedRect(QRectF(0.5, top, self.width() - 1, height), 7, 7)
            painter.setPen(QColor(self.theme.muted))
            head = QRectF(9, top, self.width() - 18, HEAD)
            painter.drawText(head, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, block)
            share = sum(part.share for part in self.parts if part.block == block)
            painter.drawText(head, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, f"{share:.0%}")
        for place, part in enumerate(self.parts):
            area = self._area(part)
            colour = colours.heat(self.theme, part.share, self._largest)
            marked = self._marked in part.layers
            painter.setBrush(colour)
            edge = self.theme.text if marked else self.theme.accent if place == self._hovered else self.theme.border
            painter.setPen(QPen(QColor(edge), 2 if marked else 1))
            painter.drawRoundedRect(area, 5, 5)
            painter.setPen(colours.ink(colour))
            inside = area.adjusted(9, 0, -9, 0)
            figure = f"{part.share:.0%}" if part.share >= 0.005 else "<1%"
            room = inside.width() - metrics.horizontalAdvance(figure) - 10
            name = metrics.elidedText(part.name, Qt.TextElideMode.ElideRight, room)
            painter.drawText(inside, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, name)
            painter.drawText(inside, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, figure)
        if self.hasFocus() and not self._marked and self.parts:
            painter.setPen(QPen(QColor(self.theme.accent), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 7, 7)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        found = self.at(event.position().toPoint())
        if found != self._hovered:
            self._hovered = found
            self.setToolTip(self.words(self.parts[found]) if found >= 0 else "")
            self.pointed.emit(self._heaviest(self.parts[found]) if found >= 0 else "")
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = -1
        self.pointed.emit("")
        self.update()
        super().leaveEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        found = self.at(event.position().toPoint())
        if found >= 0:
            self.chosen.emit(self._heaviest(self.parts[found]))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
        if step is None or not self.parts:
            super().keyPressEvent(event)
            return
        place = next((place for place, part in enumerate(self.parts) if self._marked in part.layers), -1 if step > 0 else len(self.parts))
        self.chosen.emit(self._heaviest(self.parts[min(len(self.parts) - 1, max(0, place + step))]))

    @staticmethod
    def _heaviest(part: Part) -> str:
        """The layer that stands for a part: its own module where the table holds it, which comes first."""
        return part.layers[0]

    def paint_with(self, theme: Theme) -> None:
        self.theme = theme
        self.update()
