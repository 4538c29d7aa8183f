"""The roofline: how many operations a second each layer reached over how many it makes per byte, under what the machine was measured to reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from workbench.comparing import names
from workbench.logaxis import LogAxis
from workbench.profiling import colours
from workbench.profiling.reading import engineering
from workbench.theme import Theme
from workbench.widgets.legend import Legend
from workbench.widgets.surfaces import Notice
from workbench.widgets.text import label

NAMED = 8
"""Layers whose names may stand beside their dots: those with the most time."""
CLOSE = 44.0
"""Pixels between two dots that both have a name, at least."""
BOUND_WORDS = {"compute": "bound by compute", "memory": "bound by memory", "launch": "bound by launching", "data": "waits for data"}


class Roofline(QWidget):
    """`picked(name)` on a click; `wants_peaks` where the machine's peaks were never measured and the person asks for it."""

    picked = Signal(str)
    wants_peaks = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 8)
        column.setSpacing(8)
        self.notice = Notice()
        column.addWidget(self.notice)
        self._plot = pg.PlotItem(enableMenu=False, axisItems={side: LogAxis(side) for side in ("bottom", "left")})
        self.canvas = pg.PlotWidget(plotItem=self._plot)
        self.canvas.setFrameShape(self.canvas.Shape.NoFrame)
        # As tall as there is room, and no less than this: the height that Qt would like is more than small screens have.
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.canvas.setMinimumHeight(240)
        self.canvas.setAccessibleName("Roofline of the layers")
        self._plot.hideButtons()
        self._plot.setMouseEnabled(x=False, y=False)
        self._box = self._plot.getViewBox()
        self._box.disableAutoRange()
        self._box.sigResized.connect(lambda *_: self._place_names())
        column.addWidget(self.canvas, 1)
        self.legend = Legend()
        column.addWidget(self.legend)
        self.remark = label("", "caption", wrap=True)
        self.remark.hide()
        column.addWidget(self.remark)
        self.words = label("", "strong", wrap=True)
        column.addWidget(self.words)
        self.layers: list[dict[str, Any]] = []
        self._peaks: Mapping[str, Any] | None = None
        self._dtype = "float32"
        self._texts: dict[str, pg.TextItem] = {}
        self._ring = pg.ScatterPlotItem(size=26, brush=None)
        self.marked = ""
        self.paint_with(theme)

    def paint_with(self, theme: Theme) -> None:
        self._theme = theme
        self.canvas.setBackground(QColor(theme.surface))
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(QColor(theme.border))
            axis.setTextPen(QColor(theme.muted))
        self._plot.getAxis("left").setWidth(72)
        self._plot.getAxis("bottom").setLabel("operations per byte moved", color=theme.muted)
        self._plot.getAxis("left").setLabel("FLOP/s", color=theme.muted)
        self._plot.showGrid(x=True, y=True, alpha=0.12)
        self._draw()

    def show_layers(self, layers: Sequence[Mapping[str, Any]], peaks: Mapping[str, Any] | None) -> None:
        """Layers with intensity (FLOP/byte), flops_per_s, share and bound; peaks of the machine, None where they were not measured."""
        self._texts = {}  # A resize may come while the notice below changes.
        self.layers = [dict(row) for row in layers if (row.get("intensity") or 0) > 0 and (row.get("flops_per_s") or 0) > 0]
        self._peaks = peaks
        if peaks is None:
            sentence = "The machine's peaks were not measured when this run was profiled, so there is no roof. Measure them, then profile again."
            self.notice.say("info", sentence, "Measure the peaks", self.wants_peaks.emit)
        else:
            self.notice.clear()
        self.marked = ""
        self._draw()

    def roof(self, intensity: float, dtype: str) -> float:
        """What the machine can reach at an intensity (FLOP/byte): the lower of bandwidth and compute, FLOP/s."""
        assert self._peaks is not None
        return float(min(self._peaks["flops_per_s"][dtype], self._peaks["bytes_per_s"] * intensity))

    def _draw(self) -> None:
        self._plot.clear()
        self._texts = {}
        if not self.layers:
            self.words.setText("No layer has both operations and bytes that were counted.")
            self.remark.hide()
            self.legend.show_entries([])
            return
        xs = [math.log10(row["intensity"]) for row in self.layers]
        ys = [math.log10(row["flops_per_s"]) for row in self.layers]
        ends = (math.floor(min(xs) - 0.3), math.ceil(max(xs) + 0.3))
        top, bottom = max(ys), min(ys)
        if self._peaks is not None:
            peak = {dtype: value for dtype, value in self._peaks["flops_per_s"].items() if value}
            ridge = math.log10(max(peak.values()) / self._peaks["bytes_per_s"])
            ends = (min(ends[0], math.floor(ridge - 0.5)), max(ends[1], math.ceil(ridge + 0.5)))
            top = max(top, math.log10(max(peak.values())))
            self._roofs(peak, ends)
        self._box.setRange(xRange=ends, yRange=(bottom - 0.4, top + 0.35), padding=0)
        largest = max(row["share"] for row in self.layers) or 1.0
        spots = [
            {"pos": (x, y), "size": 8 + 16 * math.sqrt(row["share"] / largest), "brush": colours.bound(self._theme, row.get("bound")),
             "pen": pg.mkPen(self._theme.surface, width=1), "data": row["name"]}
            for x, y, row in zip(xs, ys, self.layers, strict=True)
        ]  # fmt: skip
        dots = pg.ScatterPlotItem(spots=spots)
        dots.sigClicked.connect(lambda _item, points, *_: self.picked.emit(points[0].data()) if len(points) else None)
        self._plot.addItem(dots)
        self._ring = pg.ScatterPlotItem(size=30, brush=None, pen=pg.mkPen(self._theme.text, width=2))
        self._plot.addItem(self._ring)
        for row in sorted(self.layers, key=lambda row: -row["share"])[:NAMED]:
            text = pg.TextItem(row["name"], color=self._theme.text, anchor=(0, 0))
            self._texts[row["name"]] = text
            self._plot.addItem(text, ignoreBounds=True)
        counted = {bound: sum(row.get("bound") == bound for row in self.layers) for bound in BOUND_WORDS}
        found = [(colours.bound(self._theme, bound).name(), f"{BOUND_WORDS[bound]}: {count}") for bound, count in counted.items() if count]
        unknown = sum(row.get("bound") not in BOUND_WORDS for row in self.layers)
        if unknown:
            found.append((colours.bound(self._theme, None).name(), f"bound unknown: {unknown}"))
        self.legend.show_entries(found)
        self._remark_on_roof()
        self._place_names()
        self.mark(self.marked)

    def _remark_on_roof(self) -> None:
        """Dots above every roof are no mistake of the picture; say where they come from."""
        above = [row for row in self.layers if self._peaks and row["flops_per_s"] > 1.05 * self.roof(row["intensity"], self._highest())]
        count = f"{len(above)} dot{'s lie' if len(above) > 1 else ' lies'} above the roof"
        self.remark.setText(f"{count}: the data lay in a cache, or the peaks were measured while the machine did other work." if above else "")
        self.remark.setVisible(bool(above))

    def _highest(self) -> str:
        """The number format with the highest peak."""
        assert self._peaks is not None
        peak = {dtype: value for dtype, value in self._peaks["flops_per_s"].items() if value}
        return max(peak, key=lambda dtype: peak[dtype])

    def _roofs(self, peak: Mapping[str, float], ends: tuple[float, float]) -> None:
        """One roof for each number format; that of float32 is drawn full, the others dashed."""
        assert self._peaks is not None
        for dtype in peak:
            ridge = math.log10(peak[dtype] / self._peaks["bytes_per_s"])
            xs = sorted({ends[0], min(max(ridge, ends[0]), ends[1]), ends[1]})
            ys = [math.log10(self.roof(10**x, dtype)) for x in xs]
            style = Qt.PenStyle.SolidLine if dtype == self._dtype else Qt.PenStyle.DashLine
            self._plot.plot(xs, ys, pen=pg.mkPen(self._theme.strong, width=2 if dtype == self._dtype else 1, style=style))
        for dtypes in told_together(peak):
            # The name of the roof that counts stands below it, so that the one of a roof just above has room.
            below = dtypes == [self._dtype]
            figure = engineering(max(peak[dtype] for dtype in dtypes), "FLOP/s")
            text = pg.TextItem(f"{', '.join(dtypes)}: {figure}", color=self._theme.muted, anchor=(1, 0 if below else 1))
            text.setPos(ends[1], math.log10(self.roof(10 ** ends[1], dtypes[0])))
            self._plot.addItem(text, ignoreBounds=True)
        slope = pg.TextItem(engineering(self._peaks["bytes_per_s"], "B/s"), color=self._theme.muted, anchor=(1, 1))
        along = ends[0] + 0.6 * (math.log10(min(peak.values()) / self._peaks["bytes_per_s"]) - ends[0])
        slope.setPos(along, along + math.log10(self._peaks["bytes_per_s"]))
        self._plot.addItem(slope, ignoreBounds=True)

    def _place_names(self) -> None:
        """Beside their dots, clear of each other, whenever the plot changes its size; a dot that lies on one with a name gets none."""
        width, height = self._box.width(), self._box.height()
        if not self._texts or width < 1 or height < 1:
            return
        (left, right), (bottom, top) = self._box.viewRange()
        across, up = (right - left) / width, (top - bottom) / height
        known = {row["name"]: row for row in self.layers}
        dots: list[tuple[float, float, float]] = []
        extents, shown = [], []
        for name, text in self._texts.items():
            row = known[name]
            x, y = (math.log10(row["intensity"]) - left) / across, (top - math.log10(row["flops_per_s"])) / up
            text.setVisible(all(math.hypot(x - other[0], y - other[1]) > CLOSE for other in dots))
            if text.isVisible():
                dots.append((x, y, 20.0))
                area = text.textItem.boundingRect()
                extents.append((area.width(), area.height()))
                shown.append(text)
        # The dots without a name are in the way of names too.
        for row in self.layers:
            if not (row["name"] in self._texts and self._texts[row["name"]].isVisible()):
                dots.append(((math.log10(row["intensity"]) - left) / across, (top - math.log10(row["flops_per_s"])) / up, 14.0))
                extents.append((0.0, 0.0))
        for text, box in zip(shown, names.place(dots, extents, (width, height)), strict=False):
            text.setPos(left + box[0] * across, top - box[1] * up)

    def mark(self, name: str) -> None:
        """Ring the dot of a layer and say its figures."""
        self.marked = name
        row = next((row for row in self.layers if row["name"] == name), None)
        if row is None:
            self._ring.setData([], [])
            self.words.setText("Choose a layer in the table, the model or here for its figures." if self.layers else self.words.text())
            return
        self._ring.setData([math.log10(row["intensity"])], [math.log10(row["flops_per_s"])])
        share = row.get("attainable_share")
        of = f", {share:.0%} of what the machine can reach there" if share is not None else ""
        bound = BOUND_WORDS.get(row.get("bound") or "", "")
        sentence = f"{name}: {row['intensity']:.3g} FLOP/byte, {engineering(row['flops_per_s'], 'FLOP/s')}{of}{f'; {bound}' if bound else ''}."
        self.words.setText(sentence)


def told_together(peak: Mapping[str, float], first: str = "float32") -> list[list[str]]:
    """Number formats whose roofs lie within a tenth of each other share a name; that of `first` always has its own."""
    groups: list[list[str]] = [[first]] if first in peak else []
    for dtype in sorted((dtype for dtype in peak if dtype != first), key=lambda dtype: -peak[dtype]):
        if groups and groups[-1] != [first] and peak[dtype] > 0.9 * peak[groups[-1][0]]:
            groups[-1].append(dtype)
        else:
            groups.append([dtype])
    return groups
