"""The forest plot as a table, so that keyboard, selection and screen readers work as in any table; the axis is the head of one column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from engines.report.figures import Scale
from workbench.comparing import verdicts
from workbench.comparing.forest_lines import Line, scale
from workbench.comparing.forest_marks import EDGE, LINE, ForestDelegate
from workbench.theme import Theme

Index = QModelIndex | QPersistentModelIndex
NAME, PLOT, RATIO, VERDICT = range(4)
HEADS = ("", "", "Ratio [interval]", "Verdict")
ROW, HEAD = 46, 40


class _Lines(QAbstractTableModel):
    """One row a line."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.lines: list[Line] = []
        self.head = ""

    def show(self, lines: Sequence[Line], head: str) -> None:
        self.beginResetModel()
        self.lines, self.head = list(lines), head
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return len(HEADS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return self.head if section == NAME else HEADS[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        line = self.lines[index.row()]
        if role == LINE:
            return line
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            words = f"{verdicts.SIGNS.get(line.verdict, '')} {line.verdict}".strip() or "control"
            return (line.title, line.said, line.figures, words)[index.column()]
        return line.tip if role == Qt.ItemDataRole.ToolTipRole else None


class _Axis(QHeaderView):
    """The head of the table; over the plot it draws the scale."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.theme = theme
        self.scale: Scale | None = None
        self.setHighlightSections(False)
        self.setSectionsClickable(False)

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), HEAD)

    def paintSection(self, painter: QPainter, rect: QRect, logical: int) -> None:
        painter.save()
        super().paintSection(painter, rect, logical)
        painter.restore()
        if logical != PLOT or self.scale is None:
            return
        painter.save()
        painter.setPen(QColor(self.theme.muted))
        metrics = QFontMetrics(painter.font())
        axis = Scale(self.scale.low, self.scale.high, rect.left() + EDGE, rect.right() - EDGE, logarithmic=True)
        taken = float("-inf")
        for x, text in axis.ticks():
            words = f"{text}x"
            width = metrics.horizontalAdvance(words)
            if x - width / 2 > taken:
                painter.drawText(QRect(int(x - width / 2), rect.top(), width + 2, rect.height() - 8), Qt.AlignmentFlag.AlignBottom, words)
                taken = x + width / 2 + 6
        painter.restore()


class ForestTable(QTableView):
    """Lines below each other on one axis."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names = 170
        self._model = _Lines(self)
        self.setModel(self._model)
        self._marks = ForestDelegate(theme, self)
        self.setItemDelegate(self._marks)
        self.axis = _Axis(theme, self)
        self.setHorizontalHeader(self.axis)
        self.setShowGrid(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Forest plot: ratios to the baseline with their intervals")
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW)
        self.axis.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.axis.setSectionResizeMode(PLOT, QHeaderView.ResizeMode.Stretch)

    @property
    def lines(self) -> list[Line]:
        return self._model.lines

    def show_lines(self, lines: Sequence[Line], head: str, colours: Mapping[str, str]) -> None:
        """Draw these lines; colours by variant (an empty map draws no squares)."""
        self._marks.colours = colours
        self._marks.scale = self.axis.scale = scale(lines) if lines else None
        self._model.show(lines, head)
        metrics, bold = QFontMetrics(self.font()), QFontMetrics(self._bold())
        # What says that a limit is broken may be long; it is cut, and whole in the tool tip.
        names = [line.title for line in lines] + [head]
        below = [line.below for line in lines if not line.dimmed]
        widest = max(bold.horizontalAdvance(text) for text in names)
        self._names = max([widest, *(metrics.horizontalAdvance(text) for text in below)]) + 50
        figures = max(metrics.horizontalAdvance(text) for text in [HEADS[RATIO], *(line.figures for line in lines)])
        self._fit_names()
        self.setColumnWidth(RATIO, figures + 34)
        self.setColumnWidth(VERDICT, metrics.horizontalAdvance("=  no practical difference") + 30)

    def _bold(self) -> QFont:
        face = QFont(self.font())
        face.setWeight(QFont.Weight.DemiBold)
        return face

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_names()

    def _fit_names(self) -> None:
        """Names get up to a third of the width."""
        self.setColumnWidth(NAME, min(self._names, max(170, self.width() // 3)))

    def whole_height(self) -> int:
        """Pixels that all lines take."""
        return HEAD + ROW * len(self.lines) + 4

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._marks.theme = self.axis.theme = theme
        self.viewport().update()
