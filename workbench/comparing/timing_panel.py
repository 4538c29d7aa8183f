"""Timing the finished models again: how carefully, and the session called off. What is shown stays until the new figures are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QPushButton, QSizePolicy, QVBoxLayout, QWidget

from workbench.desk import Desk
from workbench.forms import Form
from workbench.timing_fields import TIMING
from workbench.widgets.surfaces import Card, Notice, scrolled

if TYPE_CHECKING:
    from workbench.gathering import Update

TOLD = (
    "The finished models are loaded anew and timed in interleaved rounds, as soon as no run is at work on this machine. The figures that stand here "
    "stay until then, and the comparison says how often it was timed."
)


class TimingPanel(QWidget):
    """Hidden until `button` is pressed, which stands in the head of the view; while a session runs or waits the button calls it off."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        card = Card("Time the models again", TOLD)
        inside = QWidget()
        around = QVBoxLayout(inside)
        around.setContentsMargins(14, 14, 14, 0)
        around.addWidget(card)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        # In a small window it scrolls: fields would be cut otherwise. It takes no more than it fills.
        self._inside, self._area = inside, scrolled(inside)
        self._area.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        column.addWidget(self._area)
        self._desk = desk
        self._experiment: int | None = None
        self._under_way = False
        self.button = QPushButton("Time again")
        self.button.clicked.connect(self._press)
        self.form = Form({"properties": TIMING})
        self.notice = Notice()
        card.body.addWidget(self.notice)
        card.body.addWidget(self.form)
        # At the heading: below the fields they would be scrolled away.
        close = QPushButton("Close")
        close.clicked.connect(self.hide)
        card.corner.addWidget(close)
        self.start = QPushButton("Start timing")
        self.start.setProperty("primary", True)
        self.start.clicked.connect(self._ask)
        card.corner.addWidget(self.start)
        self.hide()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._area.setMaximumHeight(max(self._inside.heightForWidth(event.size().width()), self._inside.sizeHint().height()))

    def show_state(self, update: Update) -> None:
        """What is possible for the experiment of an update."""
        if update.experiment != self._experiment:
            self._experiment = update.experiment
            self.hide()
        self._under_way = update.timed_next or any(status == "running" for _, status, _ in update.timing)
        store = self._desk.store
        waits = sum(not run.over for run in update.runs)
        done = {run.variant_id for run in update.runs if run.status == "done" and not run.smoke}
        reason = (
            "Nothing is timed in a store that was opened for reading only" if store is None or store.read_only
            else f"{waits} runs have not ended yet; models are timed when all have" if waits
            else "There are no two variants with a finished model" if len(done) < 2
            else ""
        )  # fmt: skip
        self.button.setText("Stop timing" if self._under_way else "Time again")
        self.button.setEnabled(self._under_way or not reason)
        if self._under_way:
            self.button.setToolTip("Call the session off; figures of an earlier one stay")
            self.hide()
        else:
            self.button.setToolTip(reason or "Time the finished models again, as carefully as you say")

    def _press(self) -> None:
        if self._under_way:
            self._call_off()
        elif self.isVisible():
            self.hide()
        else:
            self.offer()

    def offer(self) -> None:
        """Show the form with what the experiment says of its timing."""
        store, experiment = self._desk.store, self._experiment
        if store is None or experiment is None:
            return
        self.notice.clear()

        def work() -> dict[str, Any]:
            from engines import retiming

            return retiming.settings(store, experiment)

        def show(values: dict[str, Any]) -> None:
            if experiment == self._experiment:
                self.form.set_values({**values, "until_narrow": True})
                self.show()
                self.form.rows["rounds"].setFocus(Qt.FocusReason.OtherFocusReason)

        self._desk.errands.run(work, show, self._desk.says.emit)

    def _ask(self) -> None:
        store, experiment = self._desk.store, self._experiment
        if store is None or experiment is None:
            return
        if wrong := self.form.problems():
            self.form.complain(wrong)
            return
        self.form.complain({})
        values = {key: default["default"] for key, default in TIMING.items()} | self.form.values()
        self.start.setEnabled(False)

        def work() -> None:
            from engines import retiming

            retiming.ask(store, experiment, values)

        def done(_nothing: object) -> None:
            self.start.setEnabled(True)
            self.hide()
            self._desk.says.emit("The finished models are timed again when no run is at work.")

        def failed(sentence: str) -> None:
            self.start.setEnabled(True)
            self.notice.say("error", sentence)

        self._desk.errands.run(work, done, failed)

    def _call_off(self) -> None:
        store, experiment = self._desk.store, self._experiment
        if store is None or experiment is None:
            return

        def work() -> None:
            from engines import timetable

            timetable.cancel(store, experiment, "Called off in the window.")

        self._desk.errands.run(work, lambda _nothing: self._desk.says.emit("The timing is called off at its next turn."), self._desk.says.emit)
