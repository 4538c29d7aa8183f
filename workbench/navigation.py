"""The navigation at the left of the window: a button for each view."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QToolButton, QVBoxLayout, QWidget

from workbench.icons import icon
from workbench.theme import Theme

WIDTH, NARROW = 96, 60
"""Pixels at least; and where there are icons alone."""
ICON, LOW = 22, 40
"""Pixels of an icon, and of a button without its name."""
MARGIN, GAP = 12, 4
VIEWS = (
    ("start", "Start", "Examples by the question they answer, recent experiments, a text of your own"),
    ("experiment", "Experiment", "Assemble a model, its recipe and its variants"),
    ("runs", "Runs", "Watch runs live, stop and resume them"),
    ("compare", "Compare", "Hold finished variants against the baseline"),
    ("profile", "Profile", "Where a training step of a run spends its time and memory"),
    ("studies", "Studies", "One operation measured over sizes, against an expectation"),
    ("ask", "Ask", "Let a finished model write, judge sentences, and tell which words are near each other"),
    ("catalogue", "Catalogue", "Every block, technique, corpus and task, with its card"),
    ("machine", "Machine", "What this machine is, what it is doing, and what works on it"),
)
"""Key, name and purpose of each view, in the order of the navigation; the n-th is reached with Ctrl+n."""


class Navigation(QFrame):
    """Says which view is wanted. It is painted with the first frame of the window and says that too.

    Where the window is too low for the names in the size of the text, icons stand alone; their tips have the names.
    """

    chosen = Signal(str)
    """The key of a view."""
    painted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("navigation")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, MARGIN, 0, MARGIN)
        column.setSpacing(GAP)
        self._named = QSize()
        """What each button takes with its name: its width and its height at least."""
        self._group = QButtonGroup(self)
        self.buttons: dict[str, QToolButton] = {}
        """By the key of the view, in the order of the views."""
        for place, (key, name, purpose) in enumerate(VIEWS, 1):
            tip = f"{name}: {purpose[0].lower()}{purpose[1:]} (Ctrl+{place})"
            button = QToolButton()
            button.setText(name)
            button.setCheckable(True)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
            button.setIconSize(QSize(ICON, ICON))
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setToolTip(tip)
            button.setAccessibleName(name)
            button.setAccessibleDescription(tip)
            button.clicked.connect(lambda _checked=False, key=key: self.chosen.emit(key))
            self._group.addButton(button)
            self.buttons[key] = button
            column.addWidget(button)
        column.addStretch(1)
        self.paint_with(theme)

    def paint_with(self, theme: Theme) -> None:
        """Icons in the colours of the theme."""
        for key, button in self.buttons.items():
            button.setIcon(icon(key, theme.muted, theme.accent))

    def fit(self) -> None:
        """As wide as the longest name in the size of the text, and not wider where that is small."""
        buttons = self.buttons.values()
        for button in buttons:
            button.ensurePolished()
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        hints = [button.sizeHint() for button in buttons]
        self._named = QSize(max(WIDTH, *(hint.width() for hint in hints)), max(hint.height() for hint in hints))
        self._arrange()

    def _whole(self, each: int) -> int:
        """Height of all buttons, in pixels."""
        return len(self.buttons) * (each + GAP) - GAP + 2 * MARGIN

    def _arrange(self) -> None:
        """With names where there is room for all of them."""
        named = self.height() >= self._whole(self._named.height())
        style = Qt.ToolButtonStyle.ToolButtonTextUnderIcon if named else Qt.ToolButtonStyle.ToolButtonIconOnly
        width = self._named.width() if named else NARROW
        for button in self.buttons.values():
            button.setToolButtonStyle(style)
            button.setMinimumHeight(self._named.height() if named else LOW)
            button.setFixedWidth(width)
        self.setFixedWidth(width)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def sizeHint(self) -> QSize:
        return QSize(self.width(), self._whole(self._named.height()))

    def minimumSizeHint(self) -> QSize:
        return QSize(self.width(), self._whole(LOW))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        self.painted.emit()
