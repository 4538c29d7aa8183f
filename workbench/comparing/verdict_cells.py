"""Paints the cells of the verdict table: two lines, the second in the verdict's colour."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QAbstractItemModel, QEvent, QModelIndex, QPersistentModelIndex, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetrics, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from workbench.comparing import verdicts
from workbench.comparing.verdict_table import CELL, FOLD
from workbench.theme import Theme
from workbench.widgets.pills import MARKED

Index = QModelIndex | QPersistentModelIndex
WIDEST = 280
ARROW = 18
"""Pixels before the name in which an arrow tells whether the seeds are shown."""
INSET = 9
"""Pixels at the left and right of a cell."""


class VerdictCells(QStyledItemDelegate):
    """The sign tells the verdict without the colour. Rows of variants over a limit, and the control, are muted."""

    fold_asked = Signal(QModelIndex)
    """The arrow before a name was clicked."""

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
        area = QRectF(option.rect).adjusted(INSET, 6, -INSET, -6)
        side = (Qt.AlignmentFlag.AlignLeft if index.column() == 0 else Qt.AlignmentFlag.AlignRight) | Qt.AlignmentFlag.AlignVCenter
        fold = index.data(FOLD) if index.column() == 0 else None
        if index.column() == 0:
            if fold in ("folded", "unfolded"):
                self._arrow(painter, area.left() + 4, area.center().y(), open_=fold == "unfolded")
            area.adjust(ARROW if fold else 0, 0, 0, 0)
            if colour:
                painter.setBrush(QColor(colour))
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setOpacity(0.45 if dimmed else 1.0)
                painter.drawRoundedRect(QRectF(area.left(), area.center().y() - 6, 12, 12), 3, 3)
                painter.setOpacity(1.0)
            area.adjust(20, 0, 0, 0)
        large, small = _fonts(option.font, bold=index.column() == 0 and fold != "seed")
        half = area.height() / 2
        above = self.theme.muted if dimmed or first == "–" else self.theme.text
        below = self.theme.danger if verdict == "broken" else self.theme.muted if dimmed else verdicts.ink(self.theme, verdict)
        tall = area.height() if fold == "seed" and not second else half  # A name alone stands in the middle.
        for text, face, top, ink in ((first, large, area.top(), above), (second, small, area.top() + half, below)):
            if text:
                painter.setFont(face)
                painter.setPen(QColor(ink))
                words = QFontMetrics(face).elidedText(text, Qt.TextElideMode.ElideRight, int(area.width()))
                painter.drawText(QRectF(area.left(), top, area.width(), tall), side, words)
        painter.restore()

    def _arrow(self, painter: QPainter, x: float, y: float, *, open_: bool) -> None:
        """A chevron: to the right where the seeds are folded, down where they are shown."""
        painter.setPen(QPen(QColor(self.theme.muted), 1.6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin))
        corners = ((-4, -2), (0, 2), (4, -2)) if open_ else ((-2, -4), (2, 0), (-2, 4))
        painter.drawPolyline([QPointF(x + across, y + down) for across, down in corners])

    def editorEvent(self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem, index: Index) -> bool:
        pressed = event.type() == QEvent.Type.MouseButtonRelease and isinstance(event, QMouseEvent) and event.button() == Qt.MouseButton.LeftButton
        if pressed and index.column() == 0 and index.data(FOLD) in ("folded", "unfolded"):
            assert isinstance(event, QMouseEvent)
            if event.position().x() - option.rect.left() < INSET + ARROW:
                self.fold_asked.emit(index)
                return True
        return super().editorEvent(event, model, option, index)

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        first, second, *_ = index.data(CELL)
        metrics = QFontMetrics(option.font)
        below = _fonts(option.font, bold=False)[1]
        bold = QFontMetrics(_fonts(option.font, bold=True)[0]) if index.column() == 0 else metrics
        beside = 46 + (ARROW if index.data(FOLD) else 0) if index.column() == 0 else 22
        width = max(bold.horizontalAdvance(first), QFontMetrics(below).horizontalAdvance(second)) + beside
        return QSize(min(WIDEST, width), row_height(option.font))


def row_height(font: QFont) -> int:
    """Pixels of a row with two lines."""
    return 2 * QFontMetrics(font).height() + 14


def _fonts(font: QFont, *, bold: bool) -> tuple[QFont, QFont]:
    large, small = QFont(font), QFont(font)
    large.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
    small.setPointSizeF(max(6.0, font.pointSizeF() * 0.9))
    return large, small
