"""Two figures of the variants against each other, a third as the size of the dots, and the Pareto front: what no other variant beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from engines.report import labels
from workbench.comparing import names
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.text import label

NO_SIZE = ""
SMALLEST, LARGEST = 13.0, 34.0


class Scatter(QWidget):
    """x, y and size are chosen by the user; the first choice is speed against quality, sized by memory. `picked(variant)` on a click."""

    picked = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._comparison: Mapping[str, Any] | None = None
        self._colours: Mapping[str, str] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.choices: dict[str, Choice] = {}
        for key, text in (("x", "Across"), ("y", "Up"), ("size", "Size")):
            choice = Choice()
            choice.setAccessibleName(f"{text}: which figure")
            choice.activated.connect(lambda _i: self._draw())
            choice.setMaximumWidth(220)
            caption = label(text, "caption")
            caption.setBuddy(choice)
            row.addWidget(caption)
            row.addWidget(choice, 1)
            row.addSpacing(8)
            self.choices[key] = choice
        row.addStretch(1)
        column.addLayout(row)
        self._plot = pg.PlotItem(enableMenu=False)
        self.canvas = pg.PlotWidget(plotItem=self._plot)
        self.canvas.setFrameShape(self.canvas.Shape.NoFrame)
        self.canvas.setFixedHeight(330)
        self.canvas.setAccessibleName("Scatter of the variants")
        self._plot.hideButtons()
        self._plot.setMouseEnabled(x=False, y=False)
        self._box = self._plot.getViewBox()
        self._box.disableAutoRange()
        self._names: dict[str, tuple[pg.TextItem, float]] = {}
        self._box.sigResized.connect(lambda *_: self._place_names())
        column.addWidget(self.canvas, 1)
        self._note = label("", "caption", wrap=True)
        column.addWidget(self._note)
        self.points: dict[str, tuple[float, float]] = {}
        self.front: list[str] = []
        self.paint_with(theme)

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._theme = theme
        self.canvas.setBackground(QColor(theme.surface))
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(QColor(theme.border))
            axis.setTextPen(QColor(theme.muted))
            axis.enableAutoSIPrefix(False)
        self._plot.getAxis("left").setWidth(70)
        self._plot.showGrid(x=True, y=True, alpha=0.15)
        self._draw()

    def show_comparison(self, comparison: Mapping[str, Any], colours: Mapping[str, str]) -> None:
        """Take another comparison; the chosen figures stay where they are there."""
        self._comparison, self._colours = comparison, colours
        keys = sorted(
            {key for variant in comparison["variants"].values() for key, result in variant["results"].items() if result["value"] is not None}
        )
        first = {
            "x": _first(keys, ("speed/infer_tokens_per_s", "speed/train_tokens_per_s")),
            "y": _first(keys, ("quality/test_perplexity", "quality/test_bits_per_char", "quality/test_accuracy", "quality/")),
            "size": _first(keys, ("memory/infer_peak_host_mib", "size/model_mib", "memory/train_peak_host_mib")),
        }
        for name, choice in self.choices.items():
            kept = choice.currentData()
            choice.clear()
            if name == "size":
                choice.addItem("all the same", NO_SIZE)
            for key in keys:
                choice.addItem(labels.short(key), key)
                choice.setItemData(choice.count() - 1, labels.name(key), Qt.ItemDataRole.ToolTipRole)
            choice.setCurrentIndex(max(0, choice.findData(kept if kept in keys else first[name])))
        self._draw()

    def _draw(self) -> None:
        self._plot.clear()
        self.points, self.front, self._names = {}, [], {}
        if self._comparison is None:
            return
        x_key, y_key, size_key = (self.choices[name].currentData() for name in ("x", "y", "size"))
        results = {name: variant["results"] for name, variant in self._comparison["variants"].items()}
        chosen = [name for name, found in results.items() if _value(found, x_key) is not None and _value(found, y_key) is not None]
        if not chosen:
            self._note.setText("No variant has both figures yet.")
            return
        x = np.array([_value(results[name], x_key) for name in chosen], dtype=float)
        y = np.array([_value(results[name], y_key) for name in chosen], dtype=float)
        better = [results[chosen[0]][key]["better"] for key in (x_key, y_key)]
        self.points = dict(zip(chosen, zip(x.tolist(), y.tolist(), strict=True), strict=True))
        self.front = _front(chosen, x, y, better)
        corner = [self.points[name] for name in sorted(self.front, key=lambda name: self.points[name][0])]
        if len(corner) > 1:
            pen = pg.mkPen(self._theme.strong, width=1, style=pg.QtCore.Qt.PenStyle.DashLine)
            self._plot.plot([p[0] for p in corner], [p[1] for p in corner], pen=pen)
        self._spread(*([end for name in chosen for end in _ends(results[name][key])] for key in (x_key, y_key)))
        sizes = _sizes([_value(results[name], size_key) for name in chosen] if size_key else [None] * len(chosen))
        for name, size in zip(chosen, sizes, strict=True):
            self._dot(name, size, baseline=name == self._comparison["baseline"])
        self._place_names()
        for side, key, which in (("bottom", x_key, better[0]), ("left", y_key, better[1])):
            arrow = {"higher": "  (higher is better)", "lower": "  (lower is better)"}.get(which, "")
            self._plot.getAxis(side).setLabel(labels.name(key) + arrow, color=self._theme.muted)
        sized = f" Dots grow with {labels.name(size_key)}." if size_key else ""
        self._note.setText(f"The dashed line joins what no other variant beats in both figures.{sized} Lines through a dot are its interval.")

    def _dot(self, name: str, size: float, *, baseline: bool) -> None:
        x, y = self.points[name]
        colour = QColor(self._colours.get(name, self._theme.accent))
        dot = pg.ScatterPlotItem([x], [y], size=size, symbol="s" if baseline else "o", brush=colour, pen=pg.mkPen(self._theme.surface, width=1))
        dot.sigClicked.connect(lambda *_: self.picked.emit(name))
        self._plot.addItem(dot)
        assert self._comparison is not None
        found = self._comparison["variants"][name]["results"]
        for key, horizontal in ((self.choices["x"].currentData(), True), (self.choices["y"].currentData(), False)):
            low, high = found[key].get("low"), found[key].get("high")
            if low is not None and high is not None and low != high:
                ends = ([low, high], [y, y]) if horizontal else ([x, x], [low, high])
                self._plot.plot(*ends, pen=pg.mkPen(colour, width=1))
        text = pg.TextItem(name + (" (baseline)" if baseline else ""), color=self._theme.text, anchor=(0, 0))
        text.setZValue(20)
        self._names[name] = text, size
        self._plot.addItem(text, ignoreBounds=True)

    def _place_names(self) -> None:
        """Names keep their distance in pixels, so they are placed again whenever the plot changes its size."""
        width, height = self._box.width(), self._box.height()
        if not self._names or width < 1 or height < 1:
            return
        (left, right), (bottom, top) = self._box.viewRange()
        across, up = (right - left) / width, (top - bottom) / height
        dots, extents = [], []
        for name, (text, size) in self._names.items():
            x, y = self.points[name]
            dots.append(((x - left) / across, (top - y) / up, size))
            area = text.textItem.boundingRect()
            extents.append((area.width(), area.height()))
        for (text, _size), box in zip(self._names.values(), names.place(dots, extents, (width, height)), strict=True):
            text.setPos(left + box[0] * across, top - box[1] * up)

    def _spread(self, x: Sequence[float], y: Sequence[float]) -> None:
        """Room around the dots and their intervals, so that names are not cut off."""
        ranges = []
        for values in (x, y):
            low, high = min(values), max(values)
            room = (high - low) * 0.12 or abs(high) * 0.2 or 1.0
            ranges.append((low - room, high + room * 1.2))
        self._box.setRange(xRange=ranges[0], yRange=ranges[1], padding=0)


def _ends(result: Mapping[str, Any]) -> list[float]:
    """The value of a figure and the ends of its interval, where it has one."""
    return [float(result[key]) for key in ("value", "low", "high") if result.get(key) is not None]


def _value(results: Mapping[str, Any], key: str | None) -> float | None:
    result = results.get(key or "")
    return None if result is None else result["value"]


def _first(keys: Sequence[str], wishes: Sequence[str]) -> str:
    return next((key for wish in wishes for key in keys if key.startswith(wish)), keys[0] if keys else "")


def _sizes(values: Sequence[float | None]) -> list[float]:
    """Dot diameters in pixels; the area grows with the figure."""
    known = [value for value in values if value is not None and value > 0]
    if not known:
        return [SMALLEST + 3] * len(values)
    largest = max(known)
    return [SMALLEST if not value else max(SMALLEST, LARGEST * float(np.sqrt(value / largest))) for value in values]


def _front(names: Sequence[str], x: np.ndarray, y: np.ndarray, better: Sequence[str]) -> list[str]:
    """The variants that no other one beats or equals in both figures while beating it in one."""
    from engines.statistics import pareto

    if "none" in better:
        return []
    keep = pareto(np.column_stack([x, y]).tolist(), list(better))  # type: ignore[arg-type]
    return [name for name, kept in zip(names, keep, strict=True) if kept]
