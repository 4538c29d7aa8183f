"""The navigation at the left of the window: a button for each view."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QButtonGroup, QFrame, QToolButton, QVBoxLayout, QWidget

from workbench.icons import icon
from workbench.theme import Theme

WIDTH = 96
"""Pixels at least."""
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
    """Says which view is wanted. It is painted with the first frame of the window and says that too."""

    chosen = Signal(str)
    """The key of a view."""
    painted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("navigation")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 12, 0, 12)
        column.setSpacing(4)
        self._group = QButtonGroup(self)
        self.buttons: dict[str, QToolButton] = {}
        """By the key of the view, in the order of the views."""
        for place, (key, name, purpose) in enumerate(VIEWS, 1):
            tip = f"{purpose} (Ctrl+{place})"
            button = QToolButton()
            button.setText(name)
            button.setCheckable(True)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
            button.setIconSize(QSize(22, 22))
            button.setMinimumHeight(54)
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
        width = max(WIDTH, *(button.minimumSizeHint().width() for button in buttons))
        for widget in (self, *buttons):
            widget.setFixedWidth(width)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        self.painted.emit()
