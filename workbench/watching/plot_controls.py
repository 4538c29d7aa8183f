"""The line above the curves: what x counts, how much they are smoothed, logarithmic axes, which quantities are drawn."""

from __future__ import annotations

from collections.abc import Collection

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QToolButton, QWidget

from workbench.watching import clocks
from workbench.watching.quantities import OFFERED, title_of
from workbench.widgets.choices import Choice
from workbench.widgets.flow import Flow

AXES = (("Over steps", clocks.STEPS), ("Over tokens", clocks.TOKENS), ("Over wall time", clocks.WALL), ("Over training time", clocks.TRAINING))
SMOOTHINGS = (("No smoothing", 1.0), ("Smooth over 10 points", 10.0), ("Smooth over 50 points", 50.0), ("Smooth over 200 points", 200.0))


class PlotControls(QWidget):
    """`axis_chosen(of clocks)`, `smoothing_chosen(span in points)`, `scales_chosen(log x, log y)`, `pane_toggled(pane, on)`."""

    axis_chosen = Signal(str)
    smoothing_chosen = Signal(float)
    scales_chosen = Signal(bool, bool)
    pane_toggled = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = Flow(self, gap=8)
        self.axis = Choice()
        self.axis.setAccessibleName("What the x axis counts")
        self.axis.setToolTip("What the x axis counts")
        for name, axis in AXES:
            self.axis.addItem(name, axis)
        self.axis.activated.connect(lambda _i: self.axis_chosen.emit(self.axis.currentData()))
        self.smoothing = Choice()
        self.smoothing.setAccessibleName("Smoothing of the curves")
        self.smoothing.setToolTip("Exponential moving average, debiased; what was smoothed stays visible behind it, so that no spike is lost")
        for name, span in SMOOTHINGS:
            self.smoothing.addItem(name, span)
        self.smoothing.activated.connect(lambda _i: self.smoothing_chosen.emit(float(self.smoothing.currentData())))
        for choice, width in ((self.axis, 170), (self.smoothing, 190)):
            choice.setMinimumWidth(84)
            choice.setMaximumWidth(width)
            row.addWidget(choice)
        self.log_x, self.log_y = (self._toggle(axis) for axis in "xy")
        row.addWidget(self.log_x)
        row.addWidget(self.log_y)
        self.button = QToolButton()
        self.button.setProperty("push", True)
        self.button.setText("Quantities  ▾")
        self.button.setToolTip(
            "Which quantities are drawn.\nIn a plot: drag to move, wheel to zoom, over the y axis for y, double-click for everything."
        )
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self.button)
        self.button.setMenu(self.menu)
        row.addWidget(self.button)

    def _toggle(self, axis: str) -> QToolButton:
        button = QToolButton()
        button.setProperty("push", True)
        button.setCheckable(True)
        button.setText(f"log {axis}")
        button.setToolTip(f"Logarithmic {axis} axis; what is zero or below has no place on it")
        button.setAccessibleName(f"Logarithmic {axis} axis")
        button.toggled.connect(lambda _on: self.scales_chosen.emit(self.log_x.isChecked(), self.log_y.isChecked()))
        return button

    def offer(self, panes: Collection[str], chosen: Collection[str]) -> None:
        """panes: what is recorded; chosen: those that are drawn."""
        self.menu.clear()
        for pane in [*OFFERED, *sorted(set(panes) - set(OFFERED))]:
            action = self.menu.addAction(title_of(pane))
            action.setCheckable(True)
            action.setChecked(pane in chosen)
            action.setEnabled(pane in panes or pane in chosen)
            if pane not in panes:
                action.setToolTip("No run of this experiment has recorded it")
            action.toggled.connect(lambda on, pane=pane: self.pane_toggled.emit(pane, on))
        self.menu.setToolTipsVisible(True)
