"""Paints the cells of the verdict table: two lines, the second in the verdict's colour."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class Faces(NamedTuple):
    """What a cell is written with: the font of its table, and what is made of it for the first line, plain and bold, and for the second."""

    font: QFont
    plain: QFont
    bold: QFont
    small: QFont


class VerdictCells(QStyledItemDelegate):
    """The sign tells the verdict without the colour. Rows of variants over a limit, and the control, are muted."""

    fold_asked = Signal(QModelIndex)
    """The arrow before a name was clicked."""

    def __init__(self, theme: Theme, parent: Any = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._faces = _faces(QFont())

    def faces(self, font: QFont) -> Faces:
        """Made once and kept while tables keep their font: a table is measured and painted cell by cell."""
        if self._faces.font != font:
            self._faces = _faces(QFont(font))
        return self._faces

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
        faces = self.faces(option.font)
        large = faces.bold if index.column() == 0 and fold != "seed" else faces.plain
        half = area.height() / 2
        above = self.theme.muted if dimmed or first == "–" else self.theme.text
        below = self.theme.danger if verdict == "broken" else self.theme.muted if dimmed else verdicts.ink(self.theme, verdict)
        tall = area.height() if fold == "seed" and not second else half  # A name alone stands in the middle.
        for text, face, top, ink in ((first, large, area.top(), above), (second, faces.small, area.top() + half, below)):
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
        faces = self.faces(option.font)
        beside = 46 + (ARROW if index.data(FOLD) else 0) if index.column() == 0 else 22
        large = faces.bold if index.column() == 0 else faces.plain
        width = max(QFontMetrics(large).horizontalAdvance(first), QFontMetrics(faces.small).horizontalAdvance(second)) + beside
        return QSize(min(WIDEST, width), row_height(option.font))


def row_height(font: QFont) -> int:
    """Pixels of a row with two lines."""
    return 2 * QFontMetrics(font).height() + 14


def _faces(font: QFont) -> Faces:
    plain, bold, small = QFont(font), QFont(font), QFont(font)
    plain.setWeight(QFont.Weight.Normal)
    bold.setWeight(QFont.Weight.DemiBold)
    small.setPointSizeF(max(6.0, font.pointSizeF() * 0.9))
    return Faces(font, plain, bold, small)
