"""The head of the studies view: which result, run, how far a run is, stop."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from workbench.widgets.choices import Choice
from workbench.widgets.text import ElidedLabel


class StudyBar(QFrame):
    """`result_chosen` when another result is to be shown."""

    result_chosen = Signal()
    run_asked = Signal()
    stop_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("bar")
        column = QVBoxLayout(self)
        column.setContentsMargins(20, 10, 16, 10)
        column.setSpacing(8)
        row = QHBoxLayout()
        row.setSpacing(8)
        titles = QVBoxLayout()
        titles.setSpacing(1)
        self.title = ElidedLabel("title")
        self.caption = ElidedLabel("caption")
        titles.addWidget(self.title)
        titles.addWidget(self.caption)
        row.addLayout(titles, 2)
        self.history = Choice()
        self.history.setAccessibleName("Which result of this study")
        self.history.setMaximumWidth(340)
        self.history.activated.connect(lambda _place: self.result_chosen.emit())
        row.addWidget(self.history, 2)
        self.run_button = QPushButton("Run")
        self.run_button.setProperty("primary", True)
        self.run_button.setToolTip("Measure this study with the parameters of the second tab, in a process of its own")
        self.run_button.clicked.connect(self.run_asked)
        row.addWidget(self.run_button)
        column.addLayout(row)
        self.working = QWidget()
        line = QHBoxLayout(self.working)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(10)
        self._moving = QProgressBar()
        self._moving.setRange(0, 1000)
        self._moving.setTextVisible(False)
        self._moving.setFixedWidth(160)
        self._moving.setAccessibleName("How far the study is")
        line.addWidget(self._moving)
        self.progress = ElidedLabel("muted")
        line.addWidget(self.progress, 1)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setProperty("danger", True)
        self.stop_button.setAccessibleName("Stop the study")
        self.stop_button.setToolTip("A study that is stopped leaves no result")
        self.stop_button.clicked.connect(self.stop_asked)
        line.addWidget(self.stop_button)
        column.addWidget(self.working)
        self.working.hide()

    def show_progress(self, sentence: str, share: float) -> None:
        """share: of the whole measurement, 0 to 1."""
        self._moving.setValue(round(1000 * share))
        self.progress.setText(sentence)
