"""Surfaces: cards, rules, notices in place and empty states."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QPoint, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QLayout, QPushButton, QScrollArea, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from workbench.icons import icon, pixmap
from workbench.theme import Theme
from workbench.widgets.text import flag, label

EDGE, SCROLLED = 36, 18
"""Pixels from an edge at which dragging scrolls, and how far with each movement of the pointer."""


class Card(QFrame):
    """A surface with a heading, actions at its right, and a body."""

    def __init__(self, heading: str = "", caption: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(18, 14, 18, 16)
        outer.setSpacing(10)
        self.corner = QHBoxLayout()
        self.corner.setSpacing(4)
        if heading:
            top = QHBoxLayout()
            titles = QVBoxLayout()
            titles.setSpacing(1)
            self.heading = label(heading, "heading", wrap=True)
            titles.addWidget(self.heading)
            if caption:
                titles.addWidget(label(caption, "caption", wrap=True))
            top.addLayout(titles, 1)
            top.addLayout(self.corner)
            outer.addLayout(top)
        self.body = QVBoxLayout()
        self.body.setSpacing(8)
        outer.addLayout(self.body)
        self.setAccessibleName(heading)


def rule() -> QFrame:
    """A hairline between two parts."""
    line = QFrame()
    line.setProperty("rule", True)
    return line


def scrolled(widget: QWidget) -> QScrollArea:
    """The widget in a scroll area without a frame; it fills the width, and is scrolled across only where it cannot be as narrow."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setWidget(widget)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return area


def scroll_along(area: QScrollArea, at: QPoint) -> None:
    """Something is dragged to a point of the screen: near an edge of the area, show what lies beyond."""
    y, height, bar = area.viewport().mapFromGlobal(at).y(), area.viewport().height(), area.verticalScrollBar()
    if y < EDGE or y > height - EDGE:
        bar.setValue(bar.value() + (-SCROLLED if y < EDGE else SCROLLED))


def topped(widget: QWidget, *, above: int = 0, below: int = 0) -> QWidget:
    """The widget at the top of a page, however tall that is, with so many pixels above and below."""
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, above, 0, below)
    column.addWidget(widget)
    column.addStretch(1)
    return page


class Apart(QWidget):
    """A widget with room around it: pixels at the left, above, at the right and below. The room goes where the widget is hidden."""

    def __init__(self, widget: QWidget, room: tuple[int, int, int, int]) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(*room)
        column.addWidget(widget)
        widget.installEventFilter(self)
        self.setVisible(not widget.isHidden())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.ShowToParent, QEvent.Type.HideToParent) and isinstance(watched, QWidget):
            self.setVisible(not watched.isHidden())
        return super().eventFilter(watched, event)


class Notice(QFrame):
    """One sentence in place: error, warning, info or ok; hidden while it has nothing to say."""

    dismissed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 8, 8)
        row.setSpacing(10)
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row.addWidget(self._text, 1)
        self._action = QPushButton()
        self._action.setProperty("quiet", True)
        self._action.setAccessibleName("Act on this message")
        self._action.clicked.connect(self._act)
        row.addWidget(self._action)
        self._action.hide()
        close = QToolButton()
        close.setProperty("bare", True)
        close.setText("×")
        close.setToolTip("Hide this message")
        close.setAccessibleName("Hide this message")
        close.clicked.connect(self.clear)
        row.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        self._then: Callable[[], object] | None = None
        self.hide()

    def say(self, kind: str, sentence: str, action: str = "", then: Callable[[], object] | None = None) -> None:
        """Show a sentence; kind: error, warning, info, ok. `action` is the word on a button that calls `then`."""
        flag(self, "notice", kind)
        self._text.setText(sentence)
        self._text.setAccessibleName(f"{kind}: {sentence}")
        self._action.setText(action)
        self._action.setAccessibleName(action or "Act on this message")
        self._action.setVisible(bool(action))
        self._then = then
        self.show()

    @property
    def text(self) -> str:
        return "" if self.isHidden() else self._text.text()

    def give_way(self) -> None:
        """Something else is looked at: say no more, unless there is a way back in it, which stays until it is taken or hidden."""
        if self._then is None:
            self.clear()

    def clear(self) -> None:
        self._then = None
        self.hide()
        self.dismissed.emit()

    def _act(self) -> None:
        then = self._then
        self.clear()
        if then is not None:
            then()


class Empty(QWidget):
    """What a view shows while there is nothing in it: what would be here and what to do."""

    acted = Signal()

    def __init__(self, icon_name: str, heading: str, text: str, action: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon_name = icon_name
        column = QVBoxLayout(self)
        column.setContentsMargins(40, 40, 40, 40)
        column.setSpacing(10)
        column.addStretch(2)
        self._picture = QLabel()
        self._picture.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(self._picture)
        self._heading = label(heading, "heading", wrap=True)
        self._heading.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        column.addWidget(self._heading)
        self._text = label(text, "muted", wrap=True)
        self._text.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._text.setMaximumWidth(460)
        self._text.setMinimumWidth(240)
        self._text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        middle = QHBoxLayout()
        middle.addStretch(1)
        middle.addWidget(self._text, 8)
        middle.addStretch(1)
        column.addLayout(middle)
        self.button = QPushButton(action)
        self.button.setProperty("primary", True)
        self.button.setAccessibleName(action or heading)
        self.button.clicked.connect(self.acted)
        column.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)
        self.button.setVisible(bool(action))
        column.addStretch(3)

    def say(self, heading: str, text: str) -> None:
        self._heading.setText(heading)
        self._text.setText(text)

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._picture.setPixmap(pixmap(self._icon_name, theme.strong, 44, self.devicePixelRatioF()))


def icon_button(name: str, tip: str, theme: Theme) -> QToolButton:
    """A small button with an icon only; the tip is its accessible name."""
    button = QToolButton()
    button.setProperty("bare", True)
    button.setProperty("icon_name", name)
    button.setIcon(icon(name, theme.muted))
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    return button


def recolour(root: QWidget, theme: Theme) -> None:
    """Redraw what does not follow the style sheet by itself: icon buttons and empty states below `root`."""
    for button in root.findChildren(QToolButton):
        name = button.property("icon_name")
        if name:
            button.setIcon(icon(name, theme.muted))
    for empty in root.findChildren(Empty):
        empty.paint_with(theme)


def emptied(layout: QLayout) -> None:
    """Take everything out of a layout and delete it at the next turn of the event loop."""
    while (item := layout.takeAt(0)) is not None:
        widget, inner = item.widget(), item.layout()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
        elif inner is not None:
            emptied(inner)
