"""The line above the curves: what x counts, how much they are smoothed, which quantities are drawn."""

from __future__ import annotations

from collections.abc import Collection

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QToolButton, QWidget

from workbench.watching.curves import DEFAULT_KEYS, title_of
from workbench.widgets.choices import Choice
from workbench.widgets.text import label

SMOOTHINGS = (("No smoothing", 1.0), ("Smooth over 10 points", 10.0), ("Smooth over 50 points", 50.0), ("Smooth over 200 points", 200.0))


class PlotControls(QWidget):
    """`axis_chosen(by time)`, `smoothing_chosen(span in points)`, `key_toggled(series key, on)`."""

    axis_chosen = Signal(bool)
    smoothing_chosen = Signal(float)
    key_toggled = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(label("Curves", "heading"))
        row.addWidget(label("drag to move, wheel to zoom, double-click for all", "caption"))
        row.addStretch(1)
        self.axis = Choice()
        self.axis.setAccessibleName("What the x axis counts")
        for name, by_time in (("Over steps", False), ("Over seconds", True)):
            self.axis.addItem(name, by_time)
        self.axis.activated.connect(lambda _i: self.axis_chosen.emit(bool(self.axis.currentData())))
        self.smoothing = Choice()
        self.smoothing.setAccessibleName("Smoothing of the curves")
        for name, span in SMOOTHINGS:
            self.smoothing.addItem(name, span)
        self.smoothing.activated.connect(lambda _i: self.smoothing_chosen.emit(float(self.smoothing.currentData())))
        for choice, width in ((self.axis, 130), (self.smoothing, 190)):
            choice.setFixedWidth(width)
            row.addWidget(choice)
        self.button = QToolButton()
        self.button.setProperty("push", True)
        self.button.setText("Quantities  ▾")
        self.button.setToolTip("Which quantities are drawn")
        self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self.button)
        self.button.setMenu(self.menu)
        row.addWidget(self.button)

    def offer(self, keys: Collection[str], chosen: Collection[str]) -> None:
        """keys: the series that there are; chosen: those that are drawn."""
        self.menu.clear()
        for key in [*DEFAULT_KEYS, *sorted(set(keys) - set(DEFAULT_KEYS))]:
            action = self.menu.addAction(title_of(key))
            action.setCheckable(True)
            action.setChecked(key in chosen)
            action.setEnabled(key in keys)
            action.toggled.connect(lambda on, key=key: self.key_toggled.emit(key, on))
