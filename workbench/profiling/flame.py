"""A flame graph, root on top: a click or Enter fills the width with a bar and what is below it, arrows walk, Escape goes back."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.profiling import colours
from workbench.profiling.reading import Cell
from workbench.theme import Theme
from workbench.widgets.text import number

ROW = 22
NARROWEST = 0.6
"""Pixels; a bar that is narrower is not drawn."""


class FlameGraph(QWidget):
    """`pointed(text)` tells the figures of the bar under the mouse or the keyboard; `named(name)` the name of the bar that was chosen."""

    pointed = Signal(str)
    named = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.cells: Sequence[Cell] = ()
        self.root = 0
        self.current = 0
        self._hovered = -1
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Flame graph")

    def sizeHint(self) -> QSize:
        return QSize(400, ROW * (1 + max((cell.depth for cell in self.cells), default=0)))

    def show_cells(self, cells: Sequence[Cell]) -> None:
        """Another profile, all of it."""
        self.cells = cells
        self.root = self.current = 0
        self._hovered = -1
        self.updateGeometry()
        self.update()

    def zoom(self, number_: int) -> None:
        """Fill the width with a bar; what is above it stays as the way back."""
        self.root = self.current = number_
        self._tell(number_)
        self.update()

    def words(self, number_: int) -> str:
        """The figures of a bar in one line."""
        cell, whole = self.cells[number_], self.cells[0].ms
        share = f", {cell.ms / whole:.1%} of the step" if number_ and whole else ""
        own = f"; {number(cell.own, 3)} ms of it in no part below" if cell.children and cell.own > 0.0005 * whole else ""
        return f"{cell.name}: {number(cell.ms, 3)} ms{share}{own}"

    # --- Where bars lie ---------------------------------------------------------------------------------------------------------------------

    def area(self, number_: int) -> QRectF | None:
        """Where a bar is drawn; None where it is outside of what is shown or too narrow."""
        cell, root = self.cells[number_], self.cells[self.root]
        width = float(self.width())
        if number_ in self._above():
            return QRectF(0, cell.depth * ROW, width, ROW - 1)
        if cell.start + cell.ms <= root.start or cell.start >= root.start + root.ms or cell.depth < root.depth or not root.ms:
            return None
        scale = width / root.ms
        found = QRectF((cell.start - root.start) * scale, cell.depth * ROW, cell.ms * scale, ROW - 1)
        return found if found.width() >= NARROWEST else None

    def _above(self) -> set[int]:
        found, number_ = set(), self.root
        while number_ >= 0:
            found.add(number_)
            number_ = self.cells[number_].parent
        return found

    def _shown(self) -> list[tuple[int, QRectF]]:
        """Bars that are drawn, found from the root down, so that nothing is looked at below a bar that is too narrow."""
        found: list[tuple[int, QRectF]] = []
        if not self.cells:
            return found
        for number_ in sorted(self._above() - {self.root}):
            area = self.area(number_)
            if area is not None:
                found.append((number_, area))
        left = [self.root]
        while left:
            number_ = left.pop()
            area = self.area(number_)
            if area is not None:
                found.append((number_, area))
                left.extend(self.cells[number_].children)
        return found

    def at(self, point: QPoint) -> int:
        """The bar at a place; -1 where there is none."""
        return next((number_ for number_, area in self._shown() if area.contains(point)), -1)

    # --- Drawing ----------------------------------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        metrics = QFontMetricsF(painter.font())
        shades = colours.phases(self.theme)
        ground = QColor(self.theme.surface)
        for number_, area in self._shown():
            cell = self.cells[number_]
            shade = shades.get(cell.phase, QColor(self.theme.strong))
            # Neighbours differ a little, so that they are told apart without lines between them.
            colour = colours.mixed(ground, shade, 0.95 - 0.12 * (crc32(cell.name.encode()) % 4)) if cell.depth else QColor(self.theme.sunken)
            if number_ == self._hovered:
                colour = colours.mixed(colour, QColor(self.theme.text), 0.18)
            painter.fillRect(area.adjusted(0, 0, -0.5 if area.width() > 3 else 0, 0), colour)
            if area.width() > 34:
                painter.setPen(colours.ink(colour))
                text = metrics.elidedText(cell.name, Qt.TextElideMode.ElideRight, area.width() - 10)
                painter.drawText(area.adjusted(5, 0, -4, 0), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)
        if self.cells and self.hasFocus():
            focused = self.area(self.current)
            if focused is not None:
                painter.setPen(QPen(QColor(self.theme.text), 2))
                painter.drawRect(focused.adjusted(1, 1, -1, -1))

    # --- Mouse and keys ---------------------------------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        found = self.at(event.position().toPoint())
        if found != self._hovered:
            self._hovered = found
            self.setCursor(Qt.CursorShape.PointingHandCursor if found >= 0 else Qt.CursorShape.ArrowCursor)
            self.pointed.emit(self.words(found if found >= 0 else self.current) if self.cells else "")
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = -1
        if self.cells:
            self.pointed.emit(self.words(self.current))
        self.update()
        super().leaveEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        found = self.at(event.position().toPoint())
        if found >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.zoom(found)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if not self.cells:
            super().keyPressEvent(event)
            return
        cell = self.cells[self.current]
        family = self.cells[cell.parent].children if cell.parent >= 0 else [0]
        place = family.index(self.current)
        target = self.current
        if key == Qt.Key.Key_Up and cell.parent >= 0:
            target = cell.parent
        elif key == Qt.Key.Key_Down and cell.children:
            target = max(cell.children, key=lambda child: self.cells[child].ms)
        elif key == Qt.Key.Key_Left:
            target = family[max(0, place - 1)]
        elif key == Qt.Key.Key_Right:
            target = family[min(len(family) - 1, place + 1)]
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.zoom(self.current)
            return
        elif key in (Qt.Key.Key_Escape, Qt.Key.Key_Home):
            self.zoom(0)
            return
        else:
            super().keyPressEvent(event)
            return
        self.current = target
        if self.area(target) is None or (target in self._above() and target != self.root):
            self.root = target  # Walking out of what is shown takes the picture along.
        self._tell(target)
        self.update()

    def _tell(self, number_: int) -> None:
        self.setAccessibleDescription(self.words(number_))
        self.pointed.emit(self.words(number_))
        self.named.emit(self.cells[number_].name)

    def paint_with(self, theme: Theme) -> None:
        self.theme = theme
        self.update()
