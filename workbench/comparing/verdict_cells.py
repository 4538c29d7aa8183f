"""Paints the cells of the verdict table: two lines, the second in the verdict's colour."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from workbench.comparing import verdicts
from workbench.comparing.verdict_table import CELL
from workbench.theme import Theme
from workbench.widgets.pills import MARKED

Index = QModelIndex | QPersistentModelIndex
WIDEST = 280


class VerdictCells(QStyledItemDelegate):
    """The sign tells the verdict without the colour. Rows of variants over a limit, and the control, are muted."""

    def __init__(self, theme: Theme, parent: Any = None) -> None:
        super().__init__(parent)
        self.theme = theme

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        style = option.widget.style() if option.widget else None
        # The style sheet's way to paint a cell is slow, and where nothing marks the cell there is nothing to paint.
        if style is not None and option.state & MARKED:
            style.drawPrimitive(QStyle.PrimitiveElement.PE_PanelItemViewItem, option, painter, option.widget)
        first, second, verdict, colour, dimmed = index.data(CELL)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(option.rect).adjusted(9, 6, -9, -6)
        side = (Qt.AlignmentFlag.AlignLeft if index.column() == 0 else Qt.AlignmentFlag.AlignRight) | Qt.AlignmentFlag.AlignVCenter
        if index.column() == 0:
            if colour:
                painter.setBrush(QColor(colour))
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setOpacity(0.45 if dimmed else 1.0)
                painter.drawRoundedRect(QRectF(area.left(), area.center().y() - 6, 12, 12), 3, 3)
                painter.setOpacity(1.0)
            area.adjust(20, 0, 0, 0)
        large, small = _fonts(option.font, bold=index.column() == 0)
        half = area.height() / 2
        above = self.theme.muted if dimmed or first == "–" else self.theme.text
        below = self.theme.danger if verdict == "broken" else self.theme.muted if dimmed else verdicts.ink(self.theme, verdict)
        for text, face, top, ink in ((first, large, area.top(), above), (second, small, area.top() + half, below)):
            if text:
                painter.setFont(face)
                painter.setPen(QColor(ink))
                words = QFontMetrics(face).elidedText(text, Qt.TextElideMode.ElideRight, int(area.width()))
                painter.drawText(QRectF(area.left(), top, area.width(), half), side, words)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        first, second, *_ = index.data(CELL)
        metrics = QFontMetrics(option.font)
        below = _fonts(option.font, bold=False)[1]
        bold = QFontMetrics(_fonts(option.font, bold=True)[0]) if index.column() == 0 else metrics
        width = max(bold.horizontalAdvance(first), QFontMetrics(below).horizontalAdvance(second)) + (46 if index.column() == 0 else 22)
        return QSize(min(WIDEST, width), row_height(option.font))


def row_height(font: QFont) -> int:
    """Pixels of a row with two lines."""
    return 2 * QFontMetrics(font).height() + 14


def _fonts(font: QFont, *, bold: bool) -> tuple[QFont, QFont]:
    large, small = QFont(font), QFont(font)
    large.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    small.setPointSizeF(max(6.0, font.pointSizeF() * 0.9))
    return large, small
