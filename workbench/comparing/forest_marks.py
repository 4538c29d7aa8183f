"""Paints a line of a forest plot: the margin as a band, the interval as a bar, the ratio as a mark whose shape says the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from engines.report.figures import Scale
from workbench.comparing import verdicts
from workbench.comparing.forest_lines import Line
from workbench.theme import Theme
from workbench.widgets.pills import MARKED

LINE = Qt.ItemDataRole.UserRole + 20
"""Role: the `Line` of a row."""
EDGE = 18
"""Pixels at both ends of the axis that stay free for marks."""
SIZE = 5.0
LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class ForestDelegate(QStyledItemDelegate):
    """Columns: name, plot, ratio, verdict."""

    def __init__(self, theme: Theme, parent: Any = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.colours: Mapping[str, str] = {}
        self.scale: Scale | None = None

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        line: Line = index.data(LINE)
        style = option.widget.style() if option.widget else None
        if style is not None and option.state & MARKED:
            style.drawPrimitive(QStyle.PrimitiveElement.PE_PanelItemViewItem, option, painter, option.widget)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(option.rect)
        if index.column() == 0:
            self._name(painter, area.adjusted(10, 5, -6, -5), line, option.font)
        elif index.column() == 1:
            self._plot(painter, area, line)
        else:
            verdict = index.column() == 3
            painter.setPen(QColor(verdicts.ink(self.theme, line.verdict) if verdict else self.theme.muted if line.dimmed else self.theme.text))
            painter.drawText(area.adjusted(10, 0, -6, 0), LEFT, str(index.data(Qt.ItemDataRole.DisplayRole)))
        if line.control:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
            painter.setPen(QPen(QColor(self.theme.border), 1))
            painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.restore()

    def _name(self, painter: QPainter, area: QRectF, line: Line, font: QFont) -> None:
        colour = self.colours.get(line.variant)
        if colour:
            painter.setBrush(QColor(colour))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(QRectF(area.left(), area.top() + 4, 11, 11), 3, 3)
        if self.colours:
            area.adjust(19, 0, 0, 0)
        large, small = QFont(font), QFont(font)
        large.setWeight(QFont.Weight.DemiBold)
        small.setPointSizeF(max(6.0, font.pointSizeF() * 0.9))
        half = area.height() / 2
        below = self.theme.danger if line.dimmed else self.theme.muted
        above = self.theme.muted if line.dimmed or line.control else self.theme.text
        for text, face, top, colour in ((line.title, large, area.top(), above), (line.below, small, area.top() + half, below)):
            painter.setFont(face)
            painter.setPen(QColor(colour))
            words = QFontMetrics(face).elidedText(text, Qt.TextElideMode.ElideRight, int(area.width()))
            painter.drawText(QRectF(area.left(), top, area.width(), half), LEFT, words)

    def _plot(self, painter: QPainter, area: QRectF, line: Line) -> None:
        if self.scale is None:
            return
        axis = Scale(self.scale.low, self.scale.high, area.left() + EDGE, area.right() - EDGE, logarithmic=True)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        left, right = float(axis(1 / (1 + line.margin))), float(axis(1 + line.margin))
        painter.fillRect(QRectF(left, area.top(), max(2.0, right - left), area.height()), QColor(self.theme.accent_soft))
        painter.setPen(QPen(QColor(self.theme.grid), 1))
        for x, _text in axis.ticks():
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        one = float(axis(1.0))
        painter.setPen(QPen(QColor(self.theme.strong), 1))
        painter.drawLine(QPointF(one, area.top()), QPointF(one, area.bottom()))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = QColor(verdicts.ink(self.theme, line.verdict))
        if line.dimmed:
            colour.setAlpha(110)
        y = area.center().y()

        def inside(value: float) -> float:
            return min(area.right() - EDGE / 2, max(area.left() + EDGE / 2, float(axis(value))))

        if line.low is not None and line.high is not None and line.low != line.high:
            start, stop = inside(line.low), inside(line.high)
            painter.setPen(QPen(colour, 2))
            painter.drawLine(QPointF(start, y), QPointF(stop, y))
            for x in (start, stop):
                painter.drawLine(QPointF(x, y - 5), QPointF(x, y + 5))
        self._mark(painter, QPointF(inside(line.ratio), y), line, colour)

    def _mark(self, painter: QPainter, at: QPointF, line: Line, colour: QColor) -> None:
        """Up for better, down for worse, a square for no difference, an empty circle for what decides nothing, a diamond for the control."""
        x, y, r = at.x(), at.y(), SIZE
        shape = {
            "better": [(0, -r - 1), (r + 1, r), (-r - 1, r)], "worse": [(0, r + 1), (r + 1, -r), (-r - 1, -r)],
            "no practical difference": [(-r, -r), (r, -r), (r, r), (-r, r)], "": [(0, -r - 1), (r + 1, 0), (0, r + 1), (-r - 1, 0)],
        }.get(line.verdict)  # fmt: skip
        painter.setPen(QPen(colour, 2))
        if shape is None:
            painter.setBrush(QColor(self.theme.surface))
            painter.drawEllipse(at, r, r)
            return
        painter.setPen(QPen(QColor(self.theme.surface), 1))
        painter.setBrush(colour)
        painter.drawPolygon(QPolygonF([QPointF(x + dx, y + dy) for dx, dy in shape]))
