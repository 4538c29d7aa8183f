"""The head of the runs view: which experiment, how far, and what can be done with its runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QLineEdit, QMenu, QPushButton, QToolButton, QWidget

from workbench.watching.run_columns import STATES
from workbench.widgets.head import Head

if TYPE_CHECKING:
    from engines.store.rows import RunRow


_STATUS, _SMOKE = attrgetter("status"), attrgetter("smoke")
SEARCHED = 8
"""With more runs than this there is a search: fewer are seen at once."""


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
    searched = Signal(str)
    """Show the runs alone that have these words in them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._counted: Sequence[RunRow] = ()
        self._counts: Counter[str] = Counter()
        """Of the runs that were shown last, by state: a selection changes often, they do not."""
        self._smoke = False
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search runs")
        self.search.setToolTip("Part of a variant, seed (#3), state or number (r12); several words narrow it further (Ctrl+F)")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search runs")
        self.search.setFixedWidth(170)
        self.search.textChanged.connect(self.searched)
        self.search.hide()
        self.row.addWidget(self.search)
        find = QShortcut(QKeySequence.StandardKey.Find, self)
        find.activated.connect(self.search.setFocus)
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
        self._delete = self.menu.addAction("Delete this experiment, with a way back", self.delete.emit)

    def show_state(
        self, runs: Sequence[RunRow], selected: Sequence[RunRow], found: Sequence[RunRow] | None = None, *, log_shown: bool, left: str = "",
        timing: str = "",
    ) -> None:  # fmt: skip
        """Offer what is possible now. found: the runs that a search shows, None where there is none.

        left: the time until all have ended, timing: what is done about their speed, in words.
        What can be stopped or resumed are the selected runs, else those that are shown.
        """
        self.search.setVisible(len(runs) > SEARCHED or bool(self.search.text()))
        if runs is not self._counted:
            self._counted, self._counts, self._smoke = runs, Counter(map(_STATUS, runs)), any(map(_SMOKE, runs))
        unfinished = any(self._counts[status] for status in ("queued", "starting", "running"))
        counts, chosen = self._counts, selected or (runs if found is None else found)
        pool = counts if chosen is runs else Counter(map(_STATUS, chosen))
        open_ones = pool["queued"] + pool["starting"] + pool["running"]
        stopping = bool(open_ones) and all(run.over or run.request == "cancel" for run in chosen)
        for button, action, possible in (
            (self.stop_button, self._stop, bool(open_ones) and not stopping),
            (self.resume_button, self._resume, bool(pool["failed"] + pool["cancelled"] + pool["lost"])),
        ):
            button.setEnabled(possible)
            action.setEnabled(possible)
        self.stop_button.setText("Stop" if selected else "Stop all" if found is None else "Stop these")
        self.compare_button.setEnabled(bool(counts["done"]))
        self._retry.setEnabled(bool(counts["failed"] + counts["lost"]))
        self._log.setEnabled(len(selected) == 1 or log_shown)
        self._ask.setEnabled(len(selected) == 1 and selected[0].status == "done")
        self._profile.setEnabled(len(selected) == 1)
        self._export.setEnabled(len(selected) == 1 and selected[0].status == "done")
        self._delete.setEnabled(not counts["starting"] + counts["running"])
        words = ", ".join(f"{counts[status]:,} {status}" for status in STATES if counts[status])
        smoke = " · smoke test, its figures mean nothing" if self._smoke else ""
        narrowed = "" if found is None else f" · {len(found):,} found"
        told = f"{len(runs):,} run{'s' if len(runs) != 1 else ''}: {words}{narrowed}{smoke}"
        self.caption.setText(" · ".join(part for part in (told, left if unfinished else "", timing) if part))
