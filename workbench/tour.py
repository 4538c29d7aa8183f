"""A short tour of the window: one sentence or two beside each real place, with a frame around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from workbench.theme import Theme
from workbench.widgets.text import label

WIDTH = 360
GAP = 12


@dataclass(frozen=True)
class Stop:
    """A place of the tour. arrive: shows the place and returns the widget to frame (None: none)."""

    heading: str
    text: str
    arrive: Callable[[], QWidget | None]


class Tour(QWidget):
    """Lies over the whole window; what is outside the frame is dimmed. Enter or Right goes on, Left back, Escape ends it.

    ended(whole): whether it was seen to its end.
    """

    ended = Signal(bool)

    def __init__(self, stops: Sequence[Stop], theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._below = parent
        self._stops, self._theme, self.place = list(stops), theme, 0
        self._framed: QWidget | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Tour of the window")
        self.card = QFrame(self)
        self.card.setProperty("card", True)
        column = QVBoxLayout(self.card)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(8)
        self._count = label("", "caption")
        self._heading = label("", "heading", wrap=True)
        self._text = label("", wrap=True)
        for each in (self._count, self._heading, self._text):
            column.addWidget(each)
        row = QHBoxLayout()
        self._skip, self.back, self.forward = (QPushButton(text) for text in ("Leave the tour", "Back", "Next"))
        self._skip.setProperty("quiet", True)
        self.forward.setProperty("primary", True)
        for button, act in ((self._skip, lambda: self._end(False)), (self.back, lambda: self.go(-1)), (self.forward, lambda: self.go(1))):
            button.clicked.connect(act)
        row.addWidget(self._skip)
        row.addStretch(1)
        row.addWidget(self.back)
        row.addWidget(self.forward)
        column.addLayout(row)
        self.card.setFixedWidth(WIDTH)
        parent.installEventFilter(self)
        self.setGeometry(parent.rect())
        self.show()
        self.raise_()
        self._arrive()

    def go(self, by: int) -> None:
        """To the next stop or the one before; after the last one the tour ends."""
        if self.place + by >= len(self._stops):
            self._end(True)
        elif self.place + by >= 0:
            self.place += by
            self._arrive()

    def _arrive(self) -> None:
        stop = self._stops[self.place]
        self._framed = stop.arrive()
        self._count.setText(f"{self.place + 1} of {len(self._stops)}")
        self._heading.setText(stop.heading)
        self._text.setText(stop.text)
        self.card.setAccessibleName(f"{stop.heading}. {stop.text}")
        self.back.setEnabled(self.place > 0)
        self.forward.setText("Done" if self.place == len(self._stops) - 1 else "Next")
        self.raise_()
        self.forward.setFocus()
        self._lay_out()

    def frame(self) -> QRect:
        """Where the framed place is, in this widget; empty where nothing is framed or it is not to be seen."""
        if self._framed is None or not self._framed.isVisible():
            return QRect()
        corner = self._framed.mapTo(self._below, QPoint(0, 0))
        return QRect(corner, self._framed.size()).adjusted(-4, -4, 4, 4).intersected(self.rect())

    def _lay_out(self) -> None:
        """The card beside the frame where there is room, else in it; in the middle where nothing is framed."""
        self.card.adjustSize()
        size, frame, room = self.card.size(), self.frame(), self.rect().adjusted(GAP, GAP, -GAP, -GAP)
        if frame.isEmpty():
            corner = room.center() - QPoint(size.width() // 2, size.height() // 2)
        elif frame.right() + GAP + size.width() <= room.right():
            corner = QPoint(frame.right() + GAP, frame.top())
        elif frame.left() - GAP - size.width() >= room.left():
            corner = QPoint(frame.left() - GAP - size.width(), frame.top())
        elif frame.bottom() + GAP + size.height() <= room.bottom():
            corner = QPoint(frame.left(), frame.bottom() + GAP)
        else:
            corner = QPoint(frame.right() - size.width() - GAP, frame.bottom() - size.height() - GAP)
        left = max(room.left(), min(corner.x(), room.right() - size.width()))
        top = max(room.top(), min(corner.y(), room.bottom() - size.height()))
        self.card.move(left, top)
        self.update()

    def _end(self, whole: bool) -> None:
        self._below.removeEventFilter(self)
        self.hide()
        self.deleteLater()
        self.ended.emit(whole)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._below and event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest):
            self.setGeometry(self._below.rect())
            self._lay_out()
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if key == Qt.Key.Key_Escape:
            self._end(False)
        elif key in (Qt.Key.Key_Right, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.go(1)
        elif key == Qt.Key.Key_Left:
            self.go(-1)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shade, frame = QPainterPath(), self.frame()
        shade.addRect(self.rect())
        if not frame.isEmpty():
            hole = QPainterPath()
            hole.addRoundedRect(frame, 8, 8)
            shade = shade.subtracted(hole)
        painter.fillPath(shade, QColor(0, 0, 0, 110))
        if not frame.isEmpty():
            painter.setPen(QPen(QColor(self._theme.accent), 2))
            painter.drawRoundedRect(frame, 8, 8)
        painter.end()
