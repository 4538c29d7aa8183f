"""The line that is shown while a process measures: how far it is, what it does, stop."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from workbench.widgets.text import ElidedLabel

STEPS = 1000
"""Into so many the bar is divided."""


class Working(QWidget):
    """Hidden at first. `stop_asked` when the button is pressed."""

    stop_asked = Signal()

    def __init__(self, subject: str, stop: str, tip: str = "", parent: QWidget | None = None) -> None:
        """subject and stop: accessible names of the bar and of the button; tip: that of the button."""
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedWidth(160)
        self._bar.setAccessibleName(subject)
        row.addWidget(self._bar)
        self.words = ElidedLabel("muted")
        row.addWidget(self.words, 1)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setProperty("danger", True)
        self.stop_button.setAccessibleName(stop)
        self.stop_button.setToolTip(tip)
        self.stop_button.clicked.connect(self.stop_asked)
        row.addWidget(self.stop_button)
        self.hide()

    def say(self, sentence: str, share: float | None = None) -> None:
        """share: of the whole work, 0 to 1; None where nobody knows, which a moving bar says."""
        self._bar.setRange(0, 0 if share is None else STEPS)
        self._bar.setValue(0 if share is None else round(STEPS * share))
        self.words.setText(sentence)
