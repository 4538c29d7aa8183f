"""The state of a run as a coloured word, and how far it is as a bar: painted inside table cells."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPainterPath
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from workbench.theme import Theme

PILL, BAR, SWATCH, SHADE = (Qt.ItemDataRole.UserRole + place for place in range(1, 5))
"""Roles: PILL a kind (accent, ok, danger, warning, muted), BAR a share from 0 to 1, SHADE the kind of the bar, SWATCH a curve colour."""
SHORT = 12
"""Letters that fit into any column: measuring each figure at each painting would cost more than drawing it."""
MARKED = QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_MouseOver | QStyle.StateFlag.State_HasFocus
Index = QModelIndex | QPersistentModelIndex


class PillDelegate(QStyledItemDelegate):
    """Paints a cell with PILL as a pill around its text, one with BAR as a bar, one with SWATCH with a line of that colour first, others as text."""

    def __init__(self, theme: Theme, parent=None) -> None:
        super().__init__(parent)
        self.theme = theme

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        kind, share, swatch = index.data(PILL), index.data(BAR), index.data(SWATCH)
        style = option.widget.style() if option.widget else None
        # The style sheet's way to paint a cell is slow, and where nothing marks the cell there is nothing to paint.
        if style is not None and option.state & MARKED:
            style.drawPrimitive(QStyle.PrimitiveElement.PE_PanelItemViewItem, option, painter, option.widget)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(option.rect).adjusted(8, 0, -8, 0)
        text = str(index.data(Qt.ItemDataRole.DisplayRole) or "")
        if kind is not None:
            self._pill(painter, area, text, str(kind))
        elif share is not None:
            self._bar(painter, area, text, float(share), str(index.data(SHADE) or "accent"))
        elif swatch is None:
            painter.setPen(QColor(self.theme.text))
            if len(text) > SHORT:
                text = QFontMetrics(painter.font()).elidedText(text, Qt.TextElideMode.ElideMiddle, int(area.width()))
            painter.drawText(area, index.data(Qt.ItemDataRole.TextAlignmentRole), text)
        else:
            self._swatch(painter, area, text, str(swatch), index.data(Qt.ItemDataRole.CheckStateRole))
        painter.restore()

    def _pill(self, painter: QPainter, area: QRectF, text: str, kind: str) -> None:
        soft = {"accent": self.theme.accent_soft, "ok": self.theme.ok_soft, "danger": self.theme.danger_soft, "warning": self.theme.warning_soft}
        metrics = QFontMetrics(painter.font())
        box = QRectF(
            area.left(), area.center().y() - metrics.height() / 2 - 2, min(area.width(), metrics.horizontalAdvance(text) + 18), metrics.height() + 4
        )
        path = QPainterPath()
        path.addRoundedRect(box, box.height() / 2, box.height() / 2)
        painter.fillPath(path, QColor(soft.get(kind, self.theme.sunken)))
        painter.setPen(self._ink(kind))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)

    def _ink(self, kind: str) -> QColor:
        ink = {"accent": self.theme.accent, "ok": self.theme.ok, "danger": self.theme.danger, "warning": self.theme.warning}
        return QColor(ink.get(kind, self.theme.muted))

    def _bar(self, painter: QPainter, area: QRectF, text: str, share: float, kind: str) -> None:
        beside = max(42, QFontMetrics(painter.font()).horizontalAdvance(text) + 2)
        width = max(30.0, area.width() - beside - 4)
        track = QRectF(area.left(), area.center().y() - 3, width, 6)
        path = QPainterPath()
        path.addRoundedRect(track, 3, 3)
        painter.fillPath(path, QColor(self.theme.border))
        if share > 0:
            done = QPainterPath()
            done.addRoundedRect(QRectF(track.left(), track.top(), max(6.0, width * min(1.0, share)), 6), 3, 3)
            painter.fillPath(done, self._ink(kind))
        painter.setPen(QColor(self.theme.muted))
        place = QRectF(track.right() + 6, area.top(), beside, area.height())
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)

    def _swatch(self, painter: QPainter, area: QRectF, text: str, colour: str, checked: object) -> None:
        shown = checked is None or Qt.CheckState(checked) == Qt.CheckState.Checked
        box = QRectF(area.left(), area.center().y() - 6, 12, 12)
        path = QPainterPath()
        path.addRoundedRect(box, 3, 3)
        if shown:
            painter.fillPath(path, QColor(colour))
        else:
            painter.setPen(QColor(self.theme.strong))
            painter.drawPath(path)
        painter.setPen(QColor(self.theme.text if shown else self.theme.muted))
        room = area.adjusted(20, 0, 0, 0)
        shortened = QFontMetrics(painter.font()).elidedText(text, Qt.TextElideMode.ElideMiddle, int(room.width()))
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shortened)

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        size = super().sizeHint(option, index)
        return QSize(size.width() + 16, max(size.height(), 30))
