"""Layouts that break their line of widgets where the width ends: in a small window or large text nothing is cut or lies over another."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, QRect, QSize
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget

LINE = 30
"""Pixels that a line is high at least."""


class Flow(QLayout):
    """Widgets one after the other, in as many lines as the width asks for."""

    def __init__(self, parent: QWidget | None = None, gap: int = 4) -> None:
        super().__init__(*([parent] if parent is not None else []))
        self._gap = gap
        self.setContentsMargins(0, 0, 0, 0)
        self._items: list[QLayoutItem] = []

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def insertWidget(self, place: int, widget: QWidget) -> None:
        """Put a widget in front of what stands at a place now."""
        self.addWidget(widget)
        self._items.insert(place, self._items.pop())
        self.invalidate()

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._place(self._inside(QRect(0, 0, width, 0)), move=False) + self._above + self._below

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._place(self._inside(rect), move=True)

    def sizeHint(self) -> QSize:
        """All in one line."""
        shown = self._shown
        height = max((item.sizeHint().height() for item in shown), default=LINE)
        width = sum(_width(item, 0) + self._gap for item in shown) - self._gap
        margins = self.contentsMargins()
        return QSize(max(0, width) + margins.left() + margins.right(), height + self._above + self._below)

    def minimumSize(self) -> QSize:
        margins = self.contentsMargins()
        widest = max((_width(item, 0) for item in self._shown), default=0)
        return QSize(widest + margins.left() + margins.right(), LINE + self._above + self._below)

    @property
    def narrowest(self) -> int:
        """Pixels that one line of all items takes where each is as narrow as it can be."""
        return sum(_narrowest(item) + self._gap for item in self._shown) - self._gap

    @property
    def _shown(self) -> list[QLayoutItem]:
        return [item for item in self._items if not item.isEmpty()]

    @property
    def _above(self) -> int:
        return self.contentsMargins().top()

    @property
    def _below(self) -> int:
        return self.contentsMargins().bottom()

    def _inside(self, rect: QRect) -> QRect:
        margins = self.contentsMargins()
        return rect.adjusted(margins.left(), margins.top(), -margins.right(), -margins.bottom())

    def _place(self, rect: QRect, *, move: bool) -> int:
        return _flow(self._shown, rect, self._gap, move=move)


class Beside(Flow):
    """The first item takes the width that the others leave beside it, at the right; where that is less than it needs, they stand in lines below.

    least: pixels that the first item needs, its smallest width where that is more.
    """

    def __init__(self, parent: QWidget | None = None, gap: int = 8, least: int = 0) -> None:
        super().__init__(parent, gap)
        self._least = least

    def addLayout(self, layout: QLayout) -> None:
        """Titles that stand below each other, as one item."""
        self.addChildLayout(layout)
        self.addItem(layout)

    def _place(self, rect: QRect, *, move: bool) -> int:
        shown = self._shown
        if not shown:
            return 0
        first, *others = shown
        widths = _one_line(others, rect.width() - max(self._least, first.minimumSize().width()) - self._gap, self._gap)
        if widths is None:
            top = _height(first, rect.width())
            if move:
                first.setGeometry(QRect(rect.topLeft(), QSize(rect.width(), top)))
            below = QRect(rect.x(), rect.y() + top + self._gap, rect.width(), 0)
            return top + (self._gap + _flow(others, below, self._gap, move=move) if others else 0)
        room = rect.width() - sum(widths) - self._gap * len(others)
        tall = max(_height(item, width) for item, width in zip((first, *others), (room, *widths), strict=True))
        if move:
            x = rect.x()
            for item, width in zip((first, *others), (room, *widths), strict=True):
                height = _height(item, width)
                item.setGeometry(QRect(QPoint(x, rect.y() + (tall - height) // 2), QSize(width, height)))
                x += width + self._gap
        return tall


def _one_line(items: Sequence[QLayoutItem], width: int, gap: int) -> list[int] | None:
    """Widths with which all items stand in one line: what can be narrower is, from the first on. None where that is not enough."""
    widths = [_width(item, 0) for item in items]
    over = sum(widths) + gap * (len(items) - 1) - width
    for place, item in enumerate(items):
        given = min(max(0, over), max(0, widths[place] - _narrowest(item)))
        widths[place] -= given
        over -= given
    return widths if over <= 0 else None


def _narrowest(item: QLayoutItem) -> int:
    """How narrow an item can be and stay one line."""
    widget = item.widget()
    inside = item.layout() or (widget.layout() if widget is not None else None)
    return inside.narrowest if isinstance(inside, Flow) else min(item.minimumSize().width(), _width(item, 0))


def _width(item: QLayoutItem, most: int) -> int:
    """What an item asks for, within its bounds; most: pixels that there are, 0 for any."""
    width = max(item.minimumSize().width(), min(item.sizeHint().width(), item.maximumSize().width()))
    return min(width, most) if most else width


def _height(item: QLayoutItem, width: int) -> int:
    return item.heightForWidth(width) if item.hasHeightForWidth() else item.sizeHint().height()


def _flow(items: Sequence[QLayoutItem], rect: QRect, gap: int, *, move: bool) -> int:
    """Put items into lines from the left; returns the height of all lines in pixels."""
    lines: list[list[tuple[QLayoutItem, QSize]]] = [[]]
    x = 0
    for item, width in zip(items, _one_line(items, rect.width(), gap) or [_width(item, rect.width()) for item in items], strict=True):
        if lines[-1] and x + width > rect.width():
            lines.append([])
            x = 0
        lines[-1].append((item, QSize(width, _height(item, width))))
        x += width + gap
    y = rect.y()
    for line in lines:
        tall = max((size.height() for _item, size in line), default=0)
        x = rect.x()
        for item, size in line:
            if move:
                item.setGeometry(QRect(QPoint(x, y + (tall - size.height()) // 2), size))
            x += size.width() + gap
        y += tall + gap
    return y - gap - rect.y()
