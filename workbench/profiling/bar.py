"""The head of the profile view: which run, profile it, stop, and what to do with its trace."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QPushButton, QToolButton, QWidget

from workbench.widgets.choices import Choice
from workbench.widgets.head import Head
from workbench.widgets.working import Working

if TYPE_CHECKING:
    from engines.store.rows import RunRow


class ProfileBar(Head):
    """`run_chosen` when another run is to be shown."""

    run_chosen = Signal()
    profile_asked = Signal()
    stop_asked = Signal()
    folder_asked = Signal()
    trace_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.runs = Choice()
        self.runs.setAccessibleName("Which run")
        self.runs.setMinimumWidth(220)
        self.runs.setMaximumWidth(300)
        self.runs.activated.connect(lambda _place: self.run_chosen.emit())
        self.row.addWidget(self.runs)
        self.profile_button = QPushButton("Profile this run")
        self.profile_button.setProperty("primary", True)
        self.profile_button.setToolTip("Train a few steps of this run again, in a process of its own, and measure where they spend time and memory")
        self.profile_button.clicked.connect(self.profile_asked)
        self.row.addWidget(self.profile_button)
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
        self.row.addWidget(more)
        self.working = Working("The run is being profiled", "Stop profiling")
        self.working.stop_asked.connect(self.stop_asked)
        self.column.addWidget(self.working)

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
