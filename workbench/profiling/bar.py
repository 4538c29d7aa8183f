"""The head of the profile view: which run, profile it, stop, and what to do with its trace."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QProgressBar, QPushButton, QToolButton, QVBoxLayout, QWidget

from workbench.widgets.choices import Choice
from workbench.widgets.text import ElidedLabel, label

if TYPE_CHECKING:
    from engines.store.rows import RunRow


class ProfileBar(QFrame):
    """`run_chosen` when another run is to be shown."""

    run_chosen = Signal()
    profile_asked = Signal()
    stop_asked = Signal()
    folder_asked = Signal()
    trace_asked = Signal()

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
        self.runs = Choice()
        self.runs.setAccessibleName("Which run")
        self.runs.setMinimumWidth(220)
        self.runs.setMaximumWidth(300)
        self.runs.activated.connect(lambda _place: self.run_chosen.emit())
        row.addWidget(self.runs, 1)
        self.profile_button = QPushButton("Profile this run")
        self.profile_button.setProperty("primary", True)
        self.profile_button.setToolTip("Train a few steps of this run again, in a process of its own, and measure where they spend time and memory")
        self.profile_button.clicked.connect(self.profile_asked)
        row.addWidget(self.profile_button)
        more = QToolButton()
        more.setProperty("push", True)
        more.setText("Trace  ▾")
        more.setToolTip("The trace of the steps opens in Perfetto (ui.perfetto.dev)")
        more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(more)
        more.setMenu(self.menu)
        self.menu.addAction("Save the trace as …", self.trace_asked.emit)
        self.menu.addAction("Open the trace's folder", self.folder_asked.emit)
        self.menu.addSeparator()
        self.menu.addAction("It opens in Perfetto: ui.perfetto.dev").setEnabled(False)
        self.more = more
        row.addWidget(more)
        column.addLayout(row)
        self.working = QWidget()
        progress = QHBoxLayout(self.working)
        progress.setContentsMargins(0, 0, 0, 0)
        progress.setSpacing(10)
        moving = QProgressBar()
        moving.setRange(0, 0)
        moving.setTextVisible(False)
        moving.setFixedWidth(120)
        moving.setAccessibleName("The run is being profiled")
        progress.addWidget(moving)
        self.progress = label("", "muted")
        progress.addWidget(self.progress, 1)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setProperty("danger", True)
        self.stop_button.setAccessibleName("Stop profiling")
        self.stop_button.clicked.connect(self.stop_asked)
        progress.addWidget(self.stop_button)
        column.addWidget(self.working)
        self.working.hide()

    @property
    def run(self) -> int | None:
        found = self.runs.currentData()
        return None if found is None else int(found)

    def offer(self, runs: Sequence[RunRow], profiled: Collection[int], wanted: int | None) -> None:
        """The runs of the experiment; the wanted one is chosen, else the one that was, else the first that was profiled or is done."""
        kept = wanted if wanted is not None else self.run
        self.runs.clear()
        for run in runs:
            state = "profiled" if run.id in profiled else run.status
            self.runs.addItem(f"{run.variant}, seed {run.seed}  ·  {state}", run.id)
        known = [run.id for run in runs]
        if kept not in known:
            kept = next((run.id for run in runs if run.id in profiled), next((run.id for run in runs if run.status == "done"), None))
        self.runs.setCurrentIndex(max(0, known.index(kept) if kept in known else 0) if known else -1)

    def show_state(self, *, working: bool, profiled: bool, traced: bool) -> None:
        """Offer what is possible now."""
        self.working.setVisible(working)
        self.profile_button.setEnabled(self.run is not None and not working)
        self.profile_button.setText("Profile again" if profiled else "Profile this run")
        self.more.setEnabled(traced)
