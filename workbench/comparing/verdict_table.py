"""The comparison as a table: one row a variant, one column a judging metric; figure above, ratio and verdict below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from engines.report import labels
from workbench.theme import Theme

Index = QModelIndex | QPersistentModelIndex
CELL = Qt.ItemDataRole.UserRole + 10
"""Role of what the delegate paints: (first line, second line, verdict or "baseline" or "name", curve colour)."""
SIGNS = {"better": "▲", "worse": "▼", "no practical difference": "=", "not enough data": "?"}


class VerdictTable(QAbstractTableModel):
    """Rows in the order of the experiment; the columns are the judging keys that were measured, or all."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.comparison: Mapping[str, Any] = {"variants": {}, "baseline": ""}
        self.names: list[str] = []
        self.keys: list[str] = []
        self.colours: Mapping[str, str] = {}

    def show_comparison(self, comparison: Mapping[str, Any], keys: Sequence[str], colours: Mapping[str, str]) -> None:
        self.beginResetModel()
        self.comparison, self.keys, self.colours = comparison, list(keys), colours
        self.names = list(comparison["variants"])
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.names)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 1 + len(self.keys)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return "Variant" if section == 0 else labels.short(self.keys[section - 1])
        if role == Qt.ItemDataRole.ToolTipRole and section:
            return f"{labels.name(self.keys[section - 1])}\n{self.keys[section - 1]}"
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignVCenter | (Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        name = self.names[index.row()]
        variant = self.comparison["variants"][name]
        if index.column() == 0:
            return self._name(name, variant, role)
        result = variant["results"].get(self.keys[index.column() - 1])
        lines = self._lines(result, name)
        if role == CELL:
            return lines
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return f"{lines[0]} {lines[1]} {lines[2]}".strip()
        if role == Qt.ItemDataRole.ToolTipRole and result is not None:
            return self._tip(result, name)
        return None

    def _name(self, name: str, variant: Mapping[str, Any], role: int) -> Any:
        baseline = name == self.comparison["baseline"]
        below = "the baseline" if baseline else labels.state(variant)
        if role == CELL:
            return name, below, "name", self.colours.get(name, "")
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return f"{name}, {below}"
        return f"{name}: {labels.state(variant)}" if role == Qt.ItemDataRole.ToolTipRole else None

    def _lines(self, result: Mapping[str, Any] | None, name: str) -> tuple[str, str, str, str]:
        if result is None:
            return "–", "not measured", "not enough data", ""
        figure = labels.figure(result["value"])
        if name == self.comparison["baseline"]:
            spread = f"{labels.figure(result['low'])} to {labels.figure(result['high'])}" if result.get("low") not in (None, result["value"]) else ""
            return figure, spread, "baseline", ""
        verdict = result["verdict"] if result["better"] != "none" else "baseline"
        ratio = labels.ratio(result)
        interval = labels.interval(result)
        sign = SIGNS.get(verdict, "")
        return figure, f"{sign} {ratio}" + (f" ({interval.replace(' to ', '–')})" if interval else ""), verdict, ""

    def _tip(self, result: Mapping[str, Any], name: str) -> str:
        n = result["n"]
        lines = [f"{result['value']:,.6g} {result['unit']}, {n} value{'s' if n != 1 else ''}; {result['better']} is better"]
        if name != self.comparison["baseline"]:
            lines.append(f"{result['verdict']}: {result.get('reason', '')}".rstrip(": "))
            lines.append("timed in interleaved rounds" if result.get("interleaved") else "from separate runs")
        return "\n".join(lines)


class VerdictDelegate(QStyledItemDelegate):
    """Paints the two lines of a cell, the second in the verdict's colour. The sign tells the verdict without the colour."""

    def __init__(self, theme: Theme, parent: Any = None) -> None:
        super().__init__(parent)
        self.theme = theme

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        style = option.widget.style() if option.widget else None
        if style is not None:
            style.drawPrimitive(QStyle.PrimitiveElement.PE_PanelItemViewItem, option, painter, option.widget)
        first, second, verdict, colour = index.data(CELL)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(option.rect).adjusted(10, 6, -10, -6)
        side = Qt.AlignmentFlag.AlignLeft if index.column() == 0 else Qt.AlignmentFlag.AlignRight
        if colour:
            painter.setBrush(QColor(colour))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(QRectF(area.left(), area.center().y() - 6, 12, 12), 3, 3)
            area.adjust(20, 0, 0, 0)
        large, small = self._fonts(option.font, bold=index.column() == 0)
        upper = QRectF(area.left(), area.top(), area.width(), area.height() / 2)
        lower = QRectF(area.left(), area.center().y(), area.width(), area.height() / 2)
        painter.setFont(large)
        painter.setPen(QColor(self.theme.text if first != "–" else self.theme.muted))
        painter.drawText(
            upper, side | Qt.AlignmentFlag.AlignVCenter, QFontMetrics(large).elidedText(first, Qt.TextElideMode.ElideRight, int(upper.width()))
        )
        ink = {"better": self.theme.ok, "worse": self.theme.danger}.get(verdict, self.theme.muted)
        painter.setFont(small)
        painter.setPen(QColor(ink))
        painter.drawText(
            lower, side | Qt.AlignmentFlag.AlignVCenter, QFontMetrics(small).elidedText(second, Qt.TextElideMode.ElideRight, int(lower.width()))
        )
        painter.restore()

    @staticmethod
    def _fonts(font: QFont, *, bold: bool) -> tuple[QFont, QFont]:
        large, small = QFont(font), QFont(font)
        large.setWeight(QFont.Weight.DemiBold if bold else QFont.Weight.Normal)
        small.setPointSizeF(max(6.0, font.pointSizeF() * 0.9))
        return large, small

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        first, second, _verdict, _colour = index.data(CELL)
        metrics = QFontMetrics(option.font)
        width = max(metrics.horizontalAdvance(first), metrics.horizontalAdvance(second)) + (48 if index.column() == 0 else 28)
        return QSize(min(280, width), 2 * metrics.height() + 14)
