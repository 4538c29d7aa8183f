"""The head of the studies view: which result, run, how far a run is, stop."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QWidget

from workbench.widgets.choices import Choice
from workbench.widgets.head import Head
from workbench.widgets.working import Working


class StudyBar(Head):
    """`result_chosen` when another result is to be shown."""

    result_chosen = Signal()
    run_asked = Signal()
    stop_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.history = Choice()
        self.history.setAccessibleName("Which result of this study")
        self.history.setMaximumWidth(340)
        self.history.activated.connect(lambda _place: self.result_chosen.emit())
        self.row.addWidget(self.history)
        self.run_button = QPushButton("Run")
        self.run_button.setProperty("primary", True)
        self.run_button.setToolTip("Measure this study with the parameters of the second tab, in a process of its own")
        self.run_button.clicked.connect(self.run_asked)
        self.row.addWidget(self.run_button)
        self.working = Working("How far the study is", "Stop the study", "A study that is stopped leaves no result")
        self.working.stop_asked.connect(self.stop_asked)
        self.column.addWidget(self.working)
