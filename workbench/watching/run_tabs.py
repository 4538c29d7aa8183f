"""Below the table of runs: their curves, the page of the selected one, its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QPlainTextEdit, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from workbench.desk import Desk
from workbench.watching import run_actions
from workbench.watching.curves import CurveBoard
from workbench.watching.legend import Legend
from workbench.watching.plot_controls import PlotControls
from workbench.watching.run_page import RunPage
from workbench.widgets.flow import Beside
from workbench.widgets.surfaces import scrolled

if TYPE_CHECKING:
    from engines.store.rows import RunRow

CURVES, RUN, LOG = 0, 1, 2
"""Places of the tabs."""


class RunTabs(QWidget):
    """`tabs.currentChanged` tells which is shown; `fill` shows the selected runs there. Curves are drawn by `drawn_curves`."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        row = Beside(gap=10)
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.setAccessibleName("What is shown below the table")
        for title, tip in (("Curves", "The curves of all runs"), ("Run", "All about the selected run"), ("Log", "Its log as it grows")):
            self.tabs.setTabToolTip(self.tabs.addTab(title), tip)
        self.controls = PlotControls()
        row.addWidget(self.tabs)
        row.addWidget(self.controls)
        column.addLayout(row)
        self.pages = QStackedWidget()
        curves = QWidget()
        stack = QVBoxLayout(curves)
        stack.setContentsMargins(0, 0, 0, 0)
        stack.setSpacing(8)
        self.legend = Legend()
        self.board = CurveBoard(desk.theme)
        stack.addWidget(self.legend)
        stack.addWidget(scrolled(self.board), 1)
        self.run = RunPage(desk)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setAccessibleName("Log of the selected run")
        self.log.setPlaceholderText("Select a run in the table: the end of its log appears here and grows with it.")
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.log.setMaximumBlockCount(5000)
        for page in (curves, self.run, self.log):
            self.pages.addWidget(page)
        column.addWidget(self.pages, 1)
        self.tabs.currentChanged.connect(self._go)

    def _go(self, place: int) -> None:
        self.pages.setCurrentIndex(place)
        self.controls.setVisible(place == CURVES)

    @property
    def shown(self) -> int:
        return self.tabs.currentIndex()

    def toggle_log(self) -> None:
        """Show the log, or the curves again."""
        self.tabs.setCurrentIndex(CURVES if self.shown == LOG else LOG)

    def fill(self, selected: Sequence[RunRow]) -> None:
        """Read what the page that is shown tells of the selected runs: the page one run alone, the log the first of them."""
        if self.shown == RUN:
            self.run.show_run(selected[0].id if len(selected) == 1 else None)
        elif self.shown == LOG and selected:
            run_actions.read_log(self._desk, selected[0], self.show_log)
        elif self.shown == LOG:
            self.log.clear()

    def show_log(self, text: str) -> None:
        """Take a new end of the log; whoever has scrolled up stays where they are."""
        if text == self.log.toPlainText():
            return
        bar = self.log.verticalScrollBar()
        follows, place = bar.value() >= bar.maximum() - 4, bar.value()
        self.log.setPlainText(text)
        bar.setValue(bar.maximum() if follows else place)
