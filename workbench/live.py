"""Following the store while runs go on: one read at a time in a thread, by cursor, only after the store changed.

    feed.updated(Update)     what is new since the last one: experiments, runs of the watched experiment, new points of its series

The pause between two reads grows with what reading and drawing cost, so that the window takes a few percent of a core and less of a
busy machine.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from workbench.desk import Desk

if TYPE_CHECKING:
    from engines.store.rows import Curve, ExperimentRow, RunRow, SeriesRow

SHORTEST_MS, LONGEST_MS = 300, 3000
SHARE = 0.04
"""Of the window's time that may go into following."""
LONG = 20_000
"""A series with more points than this is first shown from the stored pyramid, not point by point."""
OVERVIEW_PIXELS = 2500


@dataclass(frozen=True)
class Piece:
    """New points of one series. restart: what was known of it is void (a resumed run went back). history: all points before `steps`, reduced."""

    series: SeriesRow
    steps: np.ndarray
    times: np.ndarray
    values: np.ndarray
    restart: bool = False
    history: Curve | None = None


@dataclass(frozen=True)
class Update:
    """What one read found. experiment is the watched one; its runs are complete, the points are only the new ones."""

    experiments: list[ExperimentRow]
    active: list[RunRow]
    experiment: int | None = None
    runs: list[RunRow] = field(default_factory=list)
    variants: list[Any] = field(default_factory=list)
    series: list[SeriesRow] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)


@dataclass
class _Cursor:
    count: int
    cuts: int


@dataclass
class _Known:
    """What was read already: how far each series, and the series of runs that had ended and so cannot change."""

    cursors: dict[int, _Cursor] = field(default_factory=dict)
    ended: dict[int, tuple[int, list[SeriesRow]]] = field(default_factory=dict)


class LiveFeed(QObject):
    """Reads for one view. `watch` chooses the experiment; `follow` the series keys whose points are wanted.

    series: whether the view needs the series of the runs at all (their last values, their points).
    """

    updated = Signal(object)
    failed = Signal(str)

    def __init__(self, desk: Desk, parent: QObject | None = None, *, series: bool = True) -> None:
        super().__init__(parent)
        self._desk = desk
        self._series = series
        self._experiment: int | None = None
        self._keys: frozenset[str] = frozenset()
        self._exact = False
        self._known = _Known()
        self._seen: int | None = None
        self._generation = 0
        self._busy = self._again = False
        self._cost = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._read)
        self._running = False

    def start(self) -> None:
        """Follow from now on."""
        self._running = True
        self.refresh()

    def stop(self) -> None:
        """Stop following (the view is hidden or closed)."""
        self._running = False
        self._timer.stop()

    def watch(self, experiment: int | None) -> None:
        """Follow the runs of another experiment; all its points come with the next update."""
        if experiment != self._experiment:
            self._experiment = experiment
            self._forget()

    def follow(self, keys: Collection[str], *, exact: bool = False) -> None:
        """The series keys whose points are wanted; exact: point by point even for long series (times are needed)."""
        wanted = frozenset(keys)
        if exact != self._exact or wanted != self._keys:
            self._keys, self._exact = wanted, exact
            self._forget()

    def refresh(self) -> None:
        """Read now, whether the store changed or not."""
        self._seen = None
        if self._running:
            self._timer.start(0)

    def drew(self, seconds: float) -> None:
        """How long the view took to show the last update; the next one waits accordingly."""
        self._cost += seconds

    @property
    def pause_ms(self) -> int:
        """Milliseconds until the next read."""
        return int(min(LONGEST_MS, max(SHORTEST_MS, 1000 * self._cost / SHARE)))

    def _forget(self) -> None:
        self._generation += 1
        self._known = _Known()
        self.refresh()

    def _read(self) -> None:
        store = self._desk.store
        if store is None or not self._running:
            return
        if self._busy:
            self._again = True
            return
        self._busy, self._again = True, False
        generation, seen = self._generation, self._seen
        experiment, keys, exact, known, series = self._experiment, self._keys, self._exact, self._known, self._series

        def work() -> tuple[int | None, Update | None, float]:
            started = time.perf_counter()
            change = store.changed()
            if change == seen:
                return change, None, time.perf_counter() - started
            update = _gather(store, experiment, keys, exact, known, series=series)
            return change, update, time.perf_counter() - started

        def done(answer: tuple[int | None, Update | None, float]) -> None:
            self._busy = False
            change, update, cost = answer
            if generation == self._generation:
                self._seen = change if self._seen is not None or seen is None else None
                self._cost = cost
                if update is not None:
                    self.updated.emit(update)
            self._next(at_once=self._again or generation != self._generation)

        def failed(sentence: str) -> None:
            self._busy = False
            self.failed.emit(sentence)
            self._next(at_once=False)

        self._desk.errands.run(work, done, failed)

    def _next(self, *, at_once: bool) -> None:
        if self._running:
            self._timer.start(0 if at_once else self.pause_ms)


def _gather(store: Any, experiment: int | None, keys: frozenset[str], exact: bool, memory: _Known, *, series: bool) -> Update:
    """One read of the store. Advances what is known, which belongs to this read alone while it is under way."""
    from engines.store import queries

    experiments = queries.experiments(store)
    active = queries.runs(store, status=("queued", "starting", "running"))
    if experiment is None:
        return Update(experiments, active)
    runs = queries.runs(store, experiment)
    found: list[SeriesRow] = []
    pieces: list[Piece] = []
    for run in runs if series else ():
        attempt, rows = memory.ended.get(run.id, (-1, []))
        if attempt == run.attempt and run.over:
            found += rows
            continue
        rows = queries.series(store, run.id)
        found += rows
        for row in rows:
            if row.key not in keys or not row.count:
                continue
            cursor = memory.cursors.get(row.id)
            fresh = cursor is None or row.count < cursor.count or row.cuts != cursor.cuts
            if not fresh and cursor is not None and row.count == cursor.count:
                continue
            known = 0 if fresh or cursor is None else cursor.count
            history = None
            if fresh and row.count > LONG and not exact:
                history = queries.curve(store, row.id, pixels=OVERVIEW_PIXELS)
                steps = times = values = np.empty(0)
                known = history.points
            else:
                steps, times, values = queries.points(store, row.id, after=known - 1)
            memory.cursors[row.id] = _Cursor(known + len(steps), row.cuts)
            pieces.append(Piece(row, steps, times, values, restart=fresh, history=history))
        if run.over:
            memory.ended[run.id] = (run.attempt, rows)
    return Update(experiments, active, experiment, runs, queries.variants(store, experiment), found, pieces)
