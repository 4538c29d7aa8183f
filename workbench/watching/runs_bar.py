"""The head of the runs view: which experiment, how far, and what can be done with its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QPushButton, QToolButton, QWidget

from workbench.widgets.head import Head

if TYPE_CHECKING:
    from engines.store.rows import RunRow

ORDER = ("running", "starting", "queued", "done", "failed", "cancelled", "lost")


class RunsBar(Head):
    """Offers only what the selected runs, or all where none is selected, allow."""

    stop = Signal()
    resume = Signal()
    retry = Signal()
    compare = Signal()
    log = Signal()
    ask = Signal()
    profile = Signal()
    export = Signal()
    edit = Signal()
    delete = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.stop_button = QPushButton("Stop all")
        self.stop_button.setProperty("danger", True)
        self.stop_button.setToolTip("Stop the selected runs, or all that have not ended; a checkpoint is kept (Ctrl+Alt+Enter)")
        self.stop_button.clicked.connect(self.stop)
        self.resume_button = QPushButton("Resume")
        self.resume_button.setToolTip("Continue the selected failed, cancelled or lost runs, or all of them, from their checkpoints")
        self.resume_button.clicked.connect(self.resume)
        self.compare_button = QPushButton("Compare")
        self.compare_button.setProperty("primary", True)
        self.compare_button.setToolTip("Hold the finished variants against the baseline")
        self.compare_button.clicked.connect(self.compare)
        more = QToolButton()
        more.setProperty("push", True)
        more.setText("More  ▾")
        more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(more)
        more.setMenu(self.menu)
        for button in (self.stop_button, self.resume_button, self.compare_button, more):
            self.row.addWidget(button)
        self._stop = self.menu.addAction("Stop", self.stop.emit)
        self._resume = self.menu.addAction("Resume", self.resume.emit)
        self._retry = self.menu.addAction("Retry failed runs only", self.retry.emit)
        self.menu.addSeparator()
        self._log = self.menu.addAction("Show or hide the log of the run", self.log.emit)
        self._ask = self.menu.addAction("Ask the model of the run", self.ask.emit)
        self._profile = self.menu.addAction("Profile the run", self.profile.emit)
        self._export = self.menu.addAction("Export the model …", self.export.emit)
        self.menu.addAction("Open in the editor", self.edit.emit)
        self.menu.addSeparator()
        self._delete = self.menu.addAction("Delete this experiment", self.delete.emit)

    def show_state(self, runs: Sequence[RunRow], selected: Sequence[RunRow], *, log_shown: bool, left: str = "", timing: str = "") -> None:
        """Offer what is possible now. left: the time until all have ended, timing: what is done about their speed, in words."""
        counts = Counter(run.status for run in runs)
        pool = Counter(run.status for run in selected) if selected else counts
        open_ones = pool["queued"] + pool["starting"] + pool["running"]
        stopping = open_ones and all(run.over or run.request == "cancel" for run in selected or runs)
        for button, action, possible in (
            (self.stop_button, self._stop, bool(open_ones and not stopping)),
            (self.resume_button, self._resume, bool(pool["failed"] + pool["cancelled"] + pool["lost"])),
        ):
            button.setEnabled(possible)
            action.setEnabled(possible)
        self.stop_button.setText("Stop" if selected else "Stop all")
        self.compare_button.setEnabled(bool(counts["done"]))
        self._retry.setEnabled(bool(counts["failed"] + counts["lost"]))
        self._log.setEnabled(len(selected) == 1 or log_shown)
        self._ask.setEnabled(len(selected) == 1 and selected[0].status == "done")
        self._profile.setEnabled(len(selected) == 1)
        self._export.setEnabled(len(selected) == 1 and selected[0].status == "done")
        self._delete.setEnabled(not counts["starting"] + counts["running"])
        words = ", ".join(f"{counts[status]:,} {status}" for status in ORDER if counts[status])
        smoke = " · smoke test, its figures mean nothing" if any(run.smoke for run in runs) else ""
        told = f"{len(runs)} run{'s' if len(runs) != 1 else ''}: {words}{smoke}"
        self.caption.setText(" · ".join(part for part in (told, left, timing) if part))
