"""The picture of a study: curves with intervals, on logarithmic axes where the study says so, and level lines of what the machine can reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QKeyEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from workbench.logaxis import LogAxis
from workbench.studying.hearing import exponent_words
from workbench.theme import Theme
from workbench.widgets.legend import Legend
from workbench.widgets.text import label, number

HEIGHT = 350
"""Pixels; with what stands above and below, all of it fits a small screen."""
SHAPES = (("o", "●"), ("t1", "▲"), ("s", "■"), ("d", "◆"))
"""Symbols of points and their signs in the legend: more curves than colours have another one each time the colours begin anew."""
NEAR = 40.0
"""Pixels around the mouse in which a point is told."""


class StudyPlot(QWidget):
    """`show_result` takes a result, whole or as far as it is; `speedups`: the ratios to the first curve in place of the figures."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self._column = column
        self.legend = Legend()
        self.words = label("", "strong", wrap=True)
        self._theme = theme
        self._result: Mapping[str, Any] = {}
        self._speedups = False
        self._plot: pg.PlotItem | None = None
        self._canvas: pg.PlotWidget | None = None
        self._logs: tuple[bool, bool] | None = None
        self._spots: list[tuple[float, float, str]] = []
        self._told = -1
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._ends: list[float] = []
        column.addWidget(self.legend)
        column.addWidget(self.words)
        self._make((True, True))

    def show_result(self, result: Mapping[str, Any], *, speedups: bool = False) -> None:
        self._result, self._speedups = result, speedups
        self._draw()

    def paint_with(self, theme: Theme) -> None:
        self._theme = theme
        self._logs = None
        self._draw()

    def _make(self, logs: tuple[bool, bool]) -> None:
        """A canvas with the right kind of axes; another one only where the kind differs."""
        if self._logs == logs:
            return
        if self._canvas is not None:
            self._column.removeWidget(self._canvas)
            self._canvas.hide()
            self._canvas.deleteLater()
        axes = {side: LogAxis(side) for side, log in zip(("bottom", "left"), logs, strict=True) if log}
        self._plot = pg.PlotItem(enableMenu=False, axisItems=axes)
        self._canvas = pg.PlotWidget(plotItem=self._plot)
        self._canvas.setFrameShape(self._canvas.Shape.NoFrame)
        self._canvas.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._canvas.setFixedHeight(HEIGHT)
        self._canvas.setBackground(QColor(self._theme.surface))
        self._plot.hideButtons()
        self._plot.setMouseEnabled(x=False, y=False)
        self._plot.getViewBox().disableAutoRange()
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(QColor(self._theme.border))
            axis.setTextPen(QColor(self._theme.muted))
            axis.enableAutoSIPrefix(False)
        self._plot.getAxis("left").setWidth(72)
        self._plot.showGrid(x=True, y=True, alpha=0.12)
        self._canvas.scene().sigMouseMoved.connect(self._mouse)
        self._column.insertWidget(0, self._canvas, 1)
        self._logs = logs

    def _draw(self) -> None:
        result = self._result
        if "x" not in result:
            self.legend.show_entries([])
            self.words.setText("")
            if self._plot is not None:
                self._plot.clear()
            return
        y_log = True if self._speedups else bool(result["y"]["log"])
        self._make((bool(result["x"]["log"]), y_log))
        assert self._plot is not None
        assert self._canvas is not None
        self._plot.clear()
        self._spots, self._ends, self._told = [], [], -1
        curves = result.get("speedups", []) if self._speedups else result["curves"]
        names = [curve["name"] for curve in result["curves"]]
        entries = []
        for place, curve in enumerate(curves):
            number_of = names.index(curve["name"]) if curve["name"] in names else place
            colour = self._theme.curve(number_of)
            symbol, sign = SHAPES[number_of // len(self._theme.series) % len(SHAPES)]
            self._curve(curve, colour, symbol)
            words = f"against {curve['over']}" if self._speedups else exponent_words(curve, result["x"]["name"])
            entries.append((colour, curve["name"] + (f": {words}" if words else "") + (f" ({curve['note']})" if curve.get("note") else ""), sign))
        lines = [{"name": "the same", "value": 1.0}] if self._speedups else result.get("lines", [])
        self._fit(lines)
        for line in lines:
            self._level(line)
        self.legend.show_entries(entries)
        self._label()
        self.words.setText("Point at the curves, or walk with the arrows, for their figures." if self._spots else "")

    def _label(self) -> None:
        assert self._plot is not None
        assert self._canvas is not None
        x, y = self._result["x"], self._result["y"]
        up = "times faster" if self._speedups else _axis_words(y)
        better = {"higher": "  (higher is better)", "lower": "  (lower is better)"}.get("higher" if self._speedups else y["better"], "")
        self._plot.getAxis("left").setLabel(up + better, color=self._theme.muted)
        self._plot.getAxis("bottom").setLabel(_axis_words(x), color=self._theme.muted)
        self._canvas.setAccessibleName(f"{up} over {x['name']}")

    def _scales(self) -> tuple[Callable[[float], float], Callable[[float], float]]:
        assert self._logs is not None
        across, up = ((math.log10 if log else float) for log in self._logs)
        return across, up

    def _curve(self, curve: Mapping[str, Any], colour: str, symbol: str) -> None:
        assert self._plot is not None
        across, up = self._scales()
        points = [point for point in curve["points"] if self._drawable(point)]
        if not points:
            return
        xs, ys = [across(point["x"]) for point in points], [up(point["value"]) for point in points]
        size = 6 if symbol == SHAPES[0][0] else 9
        self._plot.plot(xs, ys, pen=pg.mkPen(colour, width=1), symbol=symbol, symbolSize=size, symbolBrush=colour, symbolPen=None)
        ends_x, ends_y = [], []
        for point, x in zip(points, xs, strict=True):
            low, high = point.get("low"), point.get("high")
            if low is not None and high is not None and (not self._logs or not self._logs[1] or low > 0):
                ends_x += [x, x]
                ends_y += [up(low), up(high)]
            spread = f" [{number(low)}, {number(high)}]" if low is not None and high is not None else ""
            unit = "times" if self._speedups else self._result["y"]["unit"]
            where = f"{self._result['x']['name']} {point['x']:.6g}"
            made = f" ({point['setting']})" if point.get("setting") else ""
            also = "".join(f"; {name} {number(value)}" for name, value in point.get("facts", {}).items())
            words = f"{curve['name']}{made}, {where}: {number(point['value'])} {unit}{spread}, n = {point['n']}{also}"
            self._spots.append((x, ys[points.index(point)], words))
        self._ends += ends_y
        if ends_x:
            self._plot.addItem(pg.PlotCurveItem(np.array(ends_x), np.array(ends_y), connect="pairs", pen=pg.mkPen(colour, width=2)))

    def _drawable(self, point: Mapping[str, Any]) -> bool:
        assert self._logs is not None
        known = point["value"] is not None
        return known and (not self._logs[0] or point["x"] > 0) and (not self._logs[1] or point["value"] > 0)

    def _fit(self, lines: list[dict[str, Any]]) -> None:
        assert self._plot is not None
        assert self._logs is not None
        xs, ys = [spot[0] for spot in self._spots] or [0.0, 1.0], [spot[1] for spot in self._spots] or [0.0, 1.0]
        ys = ys + self._ends + [self._scales()[1](line["value"]) for line in lines if line["value"] and (not self._logs[1] or line["value"] > 0)]
        low = min(ys) if self._logs[1] else min(0.0, *ys)
        across, up = max(xs) - min(xs) or 1.0, max(ys) - low or 1.0
        below = 0.08 * up if self._logs[1] else 0.0
        box = self._plot.getViewBox()
        box.setRange(xRange=(min(xs) - 0.04 * across, max(xs) + 0.04 * across), yRange=(low - below, max(ys) + 0.12 * up), padding=0)

    def _level(self, line: Mapping[str, Any]) -> None:
        """A level across the plot with its name at the left, where curves of rates are still low."""
        assert self._plot is not None
        assert self._logs is not None
        if not line["value"] or (self._logs[1] and line["value"] <= 0):
            return
        y = self._scales()[1](line["value"])
        self._plot.addItem(pg.InfiniteLine(pos=y, angle=0, pen=pg.mkPen(self._theme.strong, width=1, style=Qt.PenStyle.DashLine)), ignoreBounds=True)
        figure = "" if self._speedups else f": {number(line['value'], 3)} {self._result['y']['unit']}"
        text = pg.TextItem(line["name"] + figure, color=self._theme.muted, anchor=(0, 1))
        text.setPos(self._plot.getViewBox().viewRange()[0][0], y)
        self._plot.addItem(text, ignoreBounds=True)

    def _mouse(self, position: QPointF) -> None:
        """The figures of the nearest point."""
        assert self._plot is not None
        box = self._plot.getViewBox()
        if not self._spots or not box.sceneBoundingRect().contains(position):
            return
        places = [(box.mapViewToScene(QPointF(x, y)), words) for x, y, words in self._spots]
        nearest = min(range(len(places)), key=lambda place: (places[place][0] - position).manhattanLength())
        near, words = places[nearest]
        if (near - position).manhattanLength() < NEAR:
            self._told = nearest
            self.words.setText(words)


    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Left and right tell the figures of one point after the other."""
        step = {Qt.Key.Key_Right: 1, Qt.Key.Key_Left: -1}.get(Qt.Key(event.key()))
        if step is None or not self._spots:
            super().keyPressEvent(event)
            return
        self._told = min(len(self._spots) - 1, max(0, self._told + step))
        self.words.setText(self._spots[self._told][2])
        self.setAccessibleDescription(self.words.text())


def _axis_words(axis: Mapping[str, Any]) -> str:
    unit = axis.get("unit") or ""
    return f"{axis['name']}, {unit}" if unit and unit != axis["name"] else str(axis["name"])
