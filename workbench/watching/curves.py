"""The curves of an experiment's runs: one plot a quantity, linked crosshairs, x in steps or seconds, smoothing, detail on zooming."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from workbench.plots import CurvePlot
from workbench.reduction import Growing, smoothed
from workbench.theme import Theme
from workbench.widgets.surfaces import Card

if TYPE_CHECKING:
    from engines.store.rows import Curve, RunRow, SeriesRow
    from workbench.live import Piece

DEFAULT_KEYS = (
    "train/loss", "quality/valid_perplexity", "quality/valid_reciprocal_rank", "quality/valid_context_perplexity",
    "quality/valid_context_reciprocal_rank", "quality/valid_accuracy", "quality/valid_nll", "speed/train_tokens_per_s", "memory/host_mib",
    "memory/device_mib",
)  # fmt: skip
ONLY_WHERE_RECORDED = ("memory/device", "quality/valid_reciprocal_rank", "quality/valid_context", "quality/valid_accuracy", "quality/valid_nll")
"""How those of them begin that have no empty plot before their first point."""
TITLES = {
    "train/loss": "Training loss",
    "quality/valid_perplexity": "Validation perplexity",
    "quality/valid_reciprocal_rank": "Validation reciprocal rank",
    "quality/valid_accuracy": "Validation accuracy",
    "quality/valid_macro_f1": "Validation macro F1",
    "quality/valid_nll": "Validation nats per text",
    "quality/valid_context_perplexity": "Validation perplexity of words near each other",
    "quality/valid_context_reciprocal_rank": "Validation reciprocal rank of words near each other",
    "speed/train_tokens_per_s": "Training throughput",
    "memory/host_mib": "Host memory",
    "memory/device_mib": "GPU memory",
    "memory/device_allocated_mib": "GPU memory, allocated",
    "memory/device_reserved_mib": "GPU memory, reserved by the allocator",
    "memory/owner/parameters_mib": "Memory of parameters at the peak of a step",
    "memory/owner/gradients_mib": "Memory of gradients at the peak of a step",
    "memory/owner/optimizer_mib": "Memory of optimiser state at the peak of a step",
    "memory/owner/activations_mib": "Memory of activations at the peak of a step",
    "memory/owner/other_mib": "Other memory at the peak of a step",
    "train/gradient_norm": "Gradient norm",
    "load/cpu_percent": "CPU of the run",
    "load/machine_percent": "CPU of the machine",
    "progress/tokens": "Tokens seen",
}
FROM_ZERO = ("memory/", "speed/", "load/", "progress/")


def default_keys(recorded: Collection[str]) -> list[str]:
    """The quantities that are drawn unless somebody chooses: those that are recorded, and empty plots for what every run will record."""
    judged = any(key.startswith("quality/valid_") for key in recorded)
    return [
        key for key in DEFAULT_KEYS
        if key in recorded or not (key.startswith(ONLY_WHERE_RECORDED) or (judged and key == "quality/valid_perplexity"))
    ]  # fmt: skip


def title_of(key: str) -> str:
    """The heading of a plot: "Training loss" for `train/loss`."""
    return TITLES.get(key) or key.replace("_", " ")


@dataclass
class _Curve:
    series: SeriesRow
    points: Growing = field(default_factory=Growing)
    history: Curve | None = None
    detail: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    stale: bool = True


class CurveBoard(QWidget):
    """Keeps the points, gives them to the plots. `detail_wanted(series id, low, high)` asks for more of a long series."""

    detail_wanted = Signal(int, float, float)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(12)
        self._plots: dict[str, CurvePlot] = {}
        self._frames: dict[str, Card] = {}
        self._curves: dict[int, _Curve] = {}
        self._runs: dict[int, RunRow] = {}
        self._colours: Mapping[str, str] = {}
        self._hidden: set[int] = set()
        self.keys: tuple[str, ...] = ()
        self.by_time = False
        self.smoothing = 1.0
        self._zoom: tuple[str, float, float] | None = None
        self._ask = QTimer(self)
        self._ask.setSingleShot(True)
        self._ask.setInterval(60)
        self._ask.timeout.connect(self._ask_for_detail)

    # --- What is shown ----------------------------------------------------------------------------------------------------------------------

    def show_keys(self, keys: Sequence[str], units: Mapping[str, str]) -> None:
        """Have one plot for each series key, in this order."""
        for key, plot in self._plots.items():
            plot.set_unit(units.get(key, ""))
        if tuple(keys) == self.keys:
            return
        self.keys = tuple(keys)
        for key in [key for key in self._plots if key not in keys]:
            self._plots.pop(key)
            frame = self._frames.pop(key)
            self._grid.removeWidget(frame)
            frame.hide()
            frame.deleteLater()
        for key in keys:
            if key not in self._plots:
                self._add_plot(key, units.get(key, ""))
        columns = 1 if len(keys) == 1 else 2 if len(keys) <= 6 else 3
        for number, key in enumerate(keys):
            self._grid.addWidget(self._frames[key], number // columns, number % columns)
        for row in range(self._grid.rowCount()):
            self._grid.setRowStretch(row, 1 if row * columns < len(keys) else 0)
        for curve in self._curves.values():
            curve.stale = True
        self.redraw()

    def _add_plot(self, key: str, unit: str) -> None:
        plot = CurvePlot(title_of(key), unit, self._theme)
        if key.startswith(FROM_ZERO):
            plot.start_at_zero()
        plot.name_x("seconds" if self.by_time else "steps")
        plot.pointed.connect(self._point)
        plot.viewed.connect(lambda start, stop, key=key: self._viewed(key, start, stop))
        frame = Card()
        layout = frame.layout()
        assert layout is not None
        layout.setContentsMargins(2, 2, 2, 2)
        frame.body.addWidget(plot)
        self._plots[key], self._frames[key] = plot, frame

    def plot(self, key: str) -> CurvePlot | None:
        return self._plots.get(key)

    def clear(self) -> None:
        """Forget all points (another experiment is shown)."""
        self._curves.clear()
        self._runs.clear()
        self._zoom = None
        for plot in self._plots.values():
            plot.clear()
            plot.redraw()

    def show_runs(self, runs: Sequence[RunRow], colours: Mapping[str, str], hidden: set[int]) -> None:
        """Who owns which colour, and whose curves are hidden."""
        changed = dict(colours) != dict(self._colours) or hidden != self._hidden
        self._runs = {run.id: run for run in runs}
        self._colours, self._hidden = dict(colours), set(hidden)
        if changed:
            for curve in self._curves.values():
                curve.stale = True

    def add(self, pieces: Sequence[Piece]) -> None:
        """Take new points."""
        for piece in pieces:
            curve = self._curves.get(piece.series.id)
            if curve is None or piece.restart:
                curve = self._curves[piece.series.id] = _Curve(piece.series)
            curve.series, curve.stale = piece.series, True
            if piece.history is not None:
                curve.history = piece.history
            curve.points.append(piece.steps, piece.times, piece.values)

    def add_detail(self, series_id: int, detail: Curve) -> None:
        """A part of a long series, finer than its overview, for the window that is zoomed to."""
        curve = self._curves.get(series_id)
        if curve is not None and self._zoom is not None:
            curve.detail, curve.stale = (_reaching_the_end(detail), detail.lows, detail.highs), True
            self.redraw()

    def set_axis(self, *, by_time: bool) -> None:
        """x is the step, or seconds since the run started."""
        self.by_time = by_time
        for plot in self._plots.values():
            plot.name_x("seconds" if by_time else "steps")
            plot.show_all()

    def set_smoothing(self, span: float) -> None:
        """Smooth curves of single points over about `span` points; 1 shows them as they are."""
        self.smoothing = span
        for curve in self._curves.values():
            curve.stale = True
        self.redraw()

    def redraw(self) -> float:
        """Draw what changed; returns the seconds it took."""
        started = time.perf_counter()
        shown: dict[str, set[int]] = {key: set() for key in self._plots}
        for number, curve in self._curves.items():
            plot, run = self._plots.get(curve.series.key), self._runs.get(curve.series.run_id)
            if plot is None or run is None or run.id in self._hidden:
                continue
            shown[curve.series.key].add(number)
            if curve.stale:
                x, low, high = self._arrays(curve, run)
                name = run.variant if len({each.seed for each in self._runs.values()}) == 1 else f"{run.variant} #{run.seed}"
                plot.set_curve(number, name, self._colours.get(run.variant, self._theme.muted), x, low, high)
                curve.stale = False
        for key, plot in self._plots.items():
            for gone in [each for each in plot.keys if each not in shown[key]]:
                plot.remove_curve(gone)
                if isinstance(gone, int) and gone in self._curves:
                    self._curves[gone].stale = True
            plot.redraw()
        return time.perf_counter() - started

    def _arrays(self, curve: _Curve, run: RunRow) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        steps, times, values = curve.points.arrays()
        if curve.detail is not None:
            return curve.detail
        if self.by_time and curve.history is None:
            x = times - (run.started or (times[0] if len(times) else 0.0))
            return x, smoothed(values, self.smoothing), smoothed(values, self.smoothing)
        if curve.history is not None:
            low = np.concatenate([curve.history.lows, values])
            high = np.concatenate([curve.history.highs, values])
            return np.concatenate([_reaching_the_end(curve.history), steps]), low, high
        smooth = smoothed(values, self.smoothing)
        return steps, smooth, smooth

    # --- Pointing and zooming -----------------------------------------------------------------------------------------------------------------

    def _point(self, x: float) -> None:
        for plot in self._plots.values():
            plot.point_at(x)

    def _viewed(self, key: str, start: float, stop: float) -> None:
        if math.isnan(start):
            self._zoom = None
            for curve in self._curves.values():
                if curve.detail is not None and curve.series.key == key:
                    curve.detail, curve.stale = None, True
            QTimer.singleShot(0, self.redraw)
        else:
            self._zoom = (key, start, stop)
            self._ask.start()

    def _ask_for_detail(self) -> None:
        if self._zoom is None or self.by_time:
            return
        key, start, stop = self._zoom
        margin = (stop - start) / 2
        for number, curve in self._curves.items():
            if curve.series.key == key and curve.history is not None and not curve.history.exact:
                self.detail_wanted.emit(number, start - margin, stop + margin)

    def paint_with(self, theme: Theme, colours: Mapping[str, str]) -> None:
        """Take the colours of a theme."""
        self._theme, self._colours = theme, dict(colours)
        for plot in self._plots.values():
            plot.paint_with(theme)
        for curve in self._curves.values():
            curve.stale = True
        self.redraw()


def _reaching_the_end(curve: Curve) -> np.ndarray:
    """Where the bins of a reduced curve begin, the last one where it ends: so that the drawing does."""
    steps = curve.steps.copy()
    steps[-1:] = curve.steps_last[-1:]
    return steps
