"""The curves of an experiment's runs: one plot a quantity, crosshair and zoom linked, over steps, tokens or seconds, detail on zooming."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from workbench.plots import CurvePlot
from workbench.theme import Theme
from workbench.watching import clocks, colours
from workbench.watching.held import Held
from workbench.watching.quantities import FROM_ZERO, OWNERS, STACK, series_of, title_of
from workbench.widgets.surfaces import Card

if TYPE_CHECKING:
    from engines.store.rows import Curve, RunRow
    from workbench.gathering import Piece

NOTHING = (np.empty(0), np.empty(0), np.empty(0))


class CurveBoard(QWidget):
    """Keeps the points, gives them to the plots. `detail_wanted(series id, low, high)` asks for more of a long series, in steps."""

    detail_wanted = Signal(int, float, float)
    export_wanted = Signal(str, str)
    """Which pane, in which form."""
    unwanted = Signal(str)
    """The user closed this pane."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(12)
        self._plots: dict[str, CurvePlot] = {}
        self._frames: dict[str, Card] = {}
        self._held: dict[int, Held] = {}
        self._runs: dict[int, RunRow] = {}
        self._names: dict[int, str] = {}
        self._colours: Mapping[int, str] = {}
        self._hidden: set[int] = set()
        self._chosen: tuple[int, ...] = ()
        self.keys: tuple[str, ...] = ()
        self.axis = clocks.STEPS
        self.log_x = self.log_y = False
        self.smoothing = 1.0
        self._zoom: tuple[str, float, float] | None = None
        self._linking = False
        self._stacked: tuple[object, ...] = ()
        self._clocks: dict[tuple[int, str], Held] = {}
        self._ask = QTimer(self)
        self._ask.setSingleShot(True)
        self._ask.setInterval(60)
        self._ask.timeout.connect(self._ask_for_detail)

    # --- What is shown ----------------------------------------------------------------------------------------------------------------------

    def show_keys(self, keys: Sequence[str], units: Mapping[str, str]) -> None:
        """Have one plot for each pane, in this order."""
        for key, plot in self._plots.items():
            plot.set_unit(units.get(series_of(key)[0], ""))
        if tuple(keys) == self.keys:
            return
        self.keys = tuple(keys)
        for key in [key for key in self._plots if key not in keys]:
            self._plots.pop(key).close_down()
            frame = self._frames.pop(key)
            self._grid.removeWidget(frame)
            frame.hide()
            frame.deleteLater()
        for key in keys:
            if key not in self._plots:
                self._add_plot(key, units.get(series_of(key)[0], ""))
        self._arrange()
        self._all_stale()
        self.redraw()

    def _arrange(self) -> None:
        count = len(self.keys)
        columns = 1 if count == 1 else 2 if count <= 4 or (count <= 6 and self.width() < 1500) else 3
        for number, key in enumerate(self.keys):
            self._grid.addWidget(self._frames[key], number // columns, number % columns)
        for row in range(self._grid.rowCount()):
            self._grid.setRowStretch(row, 1 if row * columns < count else 0)
        for column in range(3):
            self._grid.setColumnStretch(column, 1 if column < columns else 0)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _add_plot(self, key: str, unit: str) -> None:
        plot = CurvePlot(title_of(key), unit, self._theme)
        if key.startswith(FROM_ZERO):
            plot.start_at_zero()
        plot.set_scales(log_x=self.log_x, log_y=self.log_y and key != STACK)
        plot.head.name_x(self.axis)
        plot.pointed.connect(self._point)
        plot.viewed.connect(lambda start, stop, key=key: self._viewed(key, start, stop))
        plot.export_wanted.connect(lambda form, key=key: self.export_wanted.emit(key, form))
        plot.unwanted.connect(lambda key=key: self.unwanted.emit(key))
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
        self._held.clear()
        self._clocks.clear()
        self._zoom = None
        for plot in self._plots.values():
            plot.clear()
            plot.redraw()

    def show_runs(self, runs: Sequence[RunRow], of: Mapping[int, str], hidden: set[int], chosen: Collection[int] = ()) -> None:
        """Which run has which colour, whose curves are hidden, and which runs are selected: those stand out, the first one's memory is stacked."""
        changed = dict(of) != dict(self._colours) or hidden != self._hidden or tuple(chosen) != self._chosen
        self._runs, self._names = {run.id: run for run in runs}, colours.names(runs)
        self._colours, self._hidden, self._chosen = dict(of), set(hidden), tuple(chosen)
        if changed:
            self._all_stale()

    def add(self, pieces: Sequence[Piece]) -> None:
        """Take new points."""
        for piece in pieces:
            held = self._held.get(piece.series.id)
            if held is None or piece.restart:
                held = self._held[piece.series.id] = Held(piece.series)
                if piece.series.key in _CLOCKS:
                    self._clocks[piece.series.run_id, piece.series.key] = held
                for plot in self._plots.values():
                    plot.remove_curve(piece.series.id)
            held.series, held.stale = piece.series, True
            if piece.history is not None:
                held.history = piece.history
            held.points.append(piece.steps, piece.times, piece.values)

    def add_detail(self, series_id: int, detail: Curve) -> None:
        """A part of a long series, finer than its overview, for the window that is zoomed to."""
        held = self._held.get(series_id)
        if held is not None and self._zoom is not None:
            held.detail, held.stale = detail, True
            self.redraw()

    def set_axis(self, axis: str) -> None:
        """x is the step, tokens, seconds since the run started, or seconds of its training."""
        self.axis = axis
        for plot in self._plots.values():
            plot.head.name_x(axis)
        self._anew()

    def set_scales(self, *, log_x: bool, log_y: bool) -> None:
        """Logarithmic axes; the stack of memory keeps its plain one."""
        self.log_x, self.log_y = log_x, log_y
        for key, plot in self._plots.items():
            plot.set_scales(log_x=log_x, log_y=log_y and key != STACK)
        self._anew()

    def set_smoothing(self, span: float) -> None:
        """Smooth curves over about `span` points, with the raw band behind; 1 shows them as they are."""
        self.smoothing = span
        self._all_stale()
        self.redraw()

    def _anew(self) -> None:
        self._zoom = None
        for held in self._held.values():
            held.detail = None
        self._all_stale()
        for plot in self._plots.values():
            plot.clear()
        self.redraw()

    def _all_stale(self) -> None:
        for held in self._held.values():
            held.stale = True

    # --- Drawing ------------------------------------------------------------------------------------------------------------------------------

    def redraw(self) -> float:
        """Draw what changed; returns the seconds it took."""
        started = time.perf_counter()
        by_key: dict[str, list[int]] = {}
        for number, held in self._held.items():
            run = self._runs.get(held.series.run_id)
            if run is not None and run.id not in self._hidden:
                by_key.setdefault(held.series.key, []).append(number)
        known: dict[int, clocks.Clock] = {}
        for key, plot in self._plots.items():
            if key == STACK:
                self._draw_stack(plot, by_key, known)
                continue
            numbers, drawn = by_key.get(key, []), set(plot.keys)
            for gone in drawn.difference(numbers):
                plot.remove_curve(gone)
            for number in numbers:
                held = self._held[number]
                if held.stale or number not in drawn:
                    run_id = held.series.run_id
                    low, high, raw = held.values(self.smoothing)
                    colour = self._colours.get(run_id, self._theme.muted)
                    plot.set_curve(number, self._names[run_id], colour, self._x(held, known), low, high, raw=raw)
                    held.stale = False
            chosen = {number for number in numbers if self._held[number].series.run_id in self._chosen}
            plot.emphasise(frozenset(chosen) if len(chosen) < len(numbers) else frozenset())
            reduced = self.smoothing > 1 and any(self._held[number].reduced for number in numbers)
            plot.head.say("" if self.smoothing <= 1 else "smoothed, raw band behind" + (", long curves from their bins" if reduced else ""))
        ends = [(line.front.x[0], line.front.x[-1]) for plot in self._plots.values() for line in plot.lines if len(line.front.x)]
        extent = (float(min(first for first, _ in ends)), float(max(last for _, last in ends))) if ends else None
        for plot in self._plots.values():
            plot.frame.extent = extent
            plot.redraw()
        spent = sum(plot.seconds() for plot in self._plots.values())
        return max(time.perf_counter() - started, spent)

    def _draw_stack(self, plot: CurvePlot, by_key: Mapping[str, list[int]], known: dict[int, clocks.Clock]) -> None:
        """Memory by owner of one run: of the selected one, else of the first with such figures."""
        found: dict[int, dict[str, Held]] = {}
        for owner, key in zip(OWNERS, series_of(STACK), strict=True):
            for number in by_key.get(key, []):
                found.setdefault(self._held[number].series.run_id, {})[owner] = self._held[number]
        run = next((run for run in (*self._chosen, *found) if run in found), None)
        drawn = (run, self.axis, self.log_x, self._theme.name, tuple(len(held.points) for held in found.get(run or 0, {}).values()))
        if drawn == self._stacked and plot.keys:
            return
        self._stacked = drawn
        for gone in plot.keys:
            plot.remove_curve(gone)
        if run is not None:
            plot.head.say(self._names[run])
            longest = max(found[run].values(), key=lambda held: len(held.steps()[0]))
            steps, below = longest.steps()[0], np.zeros(len(longest.steps()[0]))
            x = self._x(longest, known)
            for place, owner in enumerate(OWNERS):
                held = found[run].get(owner)
                if held is None or not len(held.steps()[0]):
                    continue
                mib = np.nan_to_num(np.interp(steps, held.steps()[0], held.values(1)[1]))
                colour = self._theme.strong if owner == "other" else self._theme.curve(place)
                plot.set_curve(owner, owner, colour, x, below, below + mib, filled=True, shown=mib)
                below = below + mib
            plot.head.legend.show_entries((line.colour, line.name) for line in plot.lines)
        plot.head.legend.setVisible(run is not None)

    def _x(self, held: Held, known: dict[int, clocks.Clock]) -> np.ndarray:
        steps, times = held.steps()
        if self.axis == clocks.STEPS:
            return steps
        run = self._runs[held.series.run_id]
        if self.axis == clocks.WALL and times is not None:
            return times - (run.started or (times[0] if len(times) else 0.0))
        return self._clock(run, known).at(steps)

    def _clock(self, run: RunRow, known: dict[int, clocks.Clock]) -> clocks.Clock:
        if run.id not in known:
            read = [_as_points(self._clocks.get((run.id, key)), run.started or 0.0) for key in _CLOCKS]
            known[run.id] = clocks.clock(self.axis, read[0], read[1], run.started or 0.0)
        return known[run.id]

    # --- Pointing and zooming -----------------------------------------------------------------------------------------------------------------

    def _point(self, x: float) -> None:
        for plot in self._plots.values():
            plot.point_at(x)

    def _viewed(self, key: str, start: float, stop: float) -> None:
        """All plots show the same part of x."""
        if self._linking:
            return
        self._linking = True
        try:
            for other, plot in self._plots.items():
                if other != key:
                    plot.show_all() if math.isnan(start) else plot.show_range(start, stop)
        finally:
            self._linking = False
        if math.isnan(start):
            self._zoom = None
            for held in self._held.values():
                if held.detail is not None:
                    held.detail, held.stale = None, True
            QTimer.singleShot(0, self, self.redraw)
        else:
            self._zoom = (key, start, stop)
            self._ask.start()

    def _ask_for_detail(self) -> None:
        if self._zoom is None:
            return
        _key, start, stop = self._zoom
        if self.log_x:
            start, stop = 10**start, 10**stop
        margin = (stop - start) / 2
        known: dict[int, clocks.Clock] = {}
        for number, held in self._held.items():
            if held.series.key not in self.keys or held.history is None or held.history.exact or held.series.run_id in self._hidden:
                continue
            low, high = start - margin, stop + margin
            if self.axis != clocks.STEPS and held.series.run_id in self._runs:
                clock = self._clock(self._runs[held.series.run_id], known)
                low, high = clock.steps_at(low), clock.steps_at(high)
            self.detail_wanted.emit(number, low, high)

    def paint_with(self, theme: Theme, of: Mapping[int, str]) -> None:
        """Take the colours of a theme."""
        self._theme, self._colours = theme, dict(of)
        for plot in self._plots.values():
            plot.paint_with(theme)
        self._all_stale()
        self.redraw()


_CLOCKS = (clocks.TOKEN_SERIES, clocks.RATE_SERIES)


def _as_points(held: Held | None, started: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, times and values of a clock's series. Bins of a long one have no times: they are spread evenly up to the last point's."""
    if held is None:
        return NOTHING
    steps, times = held.steps()
    if times is None:
        times = started + steps / max(1.0, float(steps[-1])) * max(0.0, (held.series.last_time or started) - started)
    return steps, times, held.values(1)[1]
