"""Memory within the step: a stacked area by owner over time with the peak marked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QKeyEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from workbench.profiling import colours
from workbench.profiling.reading import OWNERS
from workbench.theme import Theme
from workbench.widgets.legend import Legend
from workbench.widgets.text import label, number


class MemoryTimeline(QWidget):
    """Milliseconds across, MiB up."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self._plot = pg.PlotItem(enableMenu=False)
        self.canvas = pg.PlotWidget(plotItem=self._plot)
        self.canvas.setFrameShape(self.canvas.Shape.NoFrame)
        # As tall as there is room, and no less than this: the height that Qt would like is more than small screens have.
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.canvas.setMinimumHeight(190)
        self.canvas.setAccessibleName("Memory within the step, by owner")
        self._plot.hideButtons()
        self._plot.setMouseEnabled(x=False, y=False)
        self._box = self._plot.getViewBox()
        self._box.disableAutoRange()
        self.canvas.scene().sigMouseMoved.connect(self._mouse)
        column.addWidget(self.canvas, 1)
        self.legend = Legend()
        column.addWidget(self.legend)
        self.words = label("", "strong", wrap=True)
        column.addWidget(self.words)
        self._ms = np.empty(0)
        self._owners: dict[str, np.ndarray] = {}
        self._cross = pg.InfiniteLine(angle=90, movable=False)
        self._place: int | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.canvas.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.paint_with(theme)

    def paint_with(self, theme: Theme) -> None:
        self._theme = theme
        self.canvas.setBackground(QColor(theme.surface))
        for side, name in (("left", "MiB"), ("bottom", "milliseconds into the step")):
            axis = self._plot.getAxis(side)
            axis.setPen(QColor(theme.border))
            axis.setTextPen(QColor(theme.muted))
            axis.enableAutoSIPrefix(False)
            axis.setLabel(name, color=theme.muted)
        self._plot.getAxis("left").setWidth(72)
        self._plot.showGrid(x=False, y=True, alpha=0.12)
        self._draw()

    def show_timeline(self, ms: np.ndarray, owners: Mapping[str, np.ndarray]) -> None:
        """ms (n,) rising; MiB (n,) of each owner."""
        self._ms, self._owners = ms, {owner: owners[owner] for owner in OWNERS if owner in owners and owners[owner].any()}
        self._draw()

    @property
    def total(self) -> np.ndarray:
        return np.sum(list(self._owners.values()), axis=0) if self._owners else np.zeros_like(self._ms)

    def _draw(self) -> None:
        self._plot.clear()
        self._place = None
        shades = colours.owners(self._theme)
        self.legend.show_entries((shades[owner].name(), owner) for owner in self._owners)
        if not len(self._ms) or not self._owners:
            self.words.setText("The memory of this step was not recorded.")
            return
        height = self.total.copy()
        last = float(self._ms[-1]) if self._ms[-1] > self._ms[0] else float(self._ms[0]) + 1.0
        self._box.setRange(xRange=(float(self._ms[0]), last), yRange=(0, float(height.max()) * 1.12 or 1.0), padding=0)
        # From the whole down: each area covers the part of the one before it that belongs to the owners below.
        for owner in reversed(list(self._owners)):
            self._plot.addItem(pg.PlotCurveItem(self._ms, height.copy(), fillLevel=0.0, brush=shades[owner], pen=pg.mkPen(self._theme.surface)))
            height -= self._owners[owner]
        peak = int(np.argmax(self.total))
        line = pg.InfiniteLine(pos=float(self._ms[peak]), angle=90, pen=pg.mkPen(self._theme.text, width=1, style=Qt.PenStyle.DashLine))
        self._plot.addItem(line, ignoreBounds=True)
        late = self._ms[peak] > (self._ms[0] + last) / 2
        text = pg.TextItem(f"peak {number(float(self.total[peak]))} MiB", color=self._theme.text, anchor=(1 if late else 0, 1))
        text.setPos(float(self._ms[peak]), float(self.total[peak]))
        self._plot.addItem(text, ignoreBounds=True)
        self._cross = pg.InfiniteLine(angle=90, movable=False, pen=pg.mkPen(self._theme.strong, width=1))
        self._cross.hide()
        self._plot.addItem(self._cross, ignoreBounds=True)
        self._say(peak, "At the peak")

    def _say(self, place: int, opening: str) -> None:
        parts = [f"{owner} {number(float(values[place]), 3)}" for owner, values in self._owners.items() if values[place] > 0]
        self.words.setText(f"{opening}, {number(float(self._ms[place]), 3)} ms: {number(float(self.total[place]))} MiB; {', '.join(parts)}.")
        self.canvas.setAccessibleDescription(self.words.text())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right walk through the step, Home goes to the peak."""
        step = {Qt.Key.Key_Right: 1, Qt.Key.Key_Left: -1}.get(Qt.Key(event.key()))
        if not self._owners or (step is None and event.key() != Qt.Key.Key_Home):
            super().keyPressEvent(event)
            return
        peak = int(np.argmax(self.total))
        leap = max(1, len(self._ms) // 200)
        self._place = peak if step is None else min(len(self._ms) - 1, max(0, (peak if self._place is None else self._place) + step * leap))
        self._cross.setPos(float(self._ms[self._place]))
        self._cross.setVisible(self._place != peak)
        self._say(self._place, "At the peak" if self._place == peak else "Here")

    def _mouse(self, position: QPointF) -> None:
        if not len(self._ms) or not self._owners:
            return
        inside = self._box.sceneBoundingRect().contains(position)
        self._cross.setVisible(inside)
        if not inside:
            self._say(int(np.argmax(self.total)), "At the peak")
            return
        x = self._box.mapSceneToView(position).x()
        place = int(np.clip(np.searchsorted(self._ms, x, side="right") - 1, 0, len(self._ms) - 1))
        self._cross.setPos(x)
        self._say(place, "Here")
