"""Following the store while runs go on: one read at a time in a thread, by cursor, only after the store changed.

    feed.updated(Update)     what is new since the last one: experiments, runs of the watched experiment, new points of its series

The pause between two reads grows with what reading and drawing cost, so that the window takes a few percent of a core and less of a
busy machine.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from workbench.desk import Desk

if TYPE_CHECKING:
    from engines.remaining import Remaining
    from engines.store.rows import Curve, ExperimentRow, RunRow, SeriesRow

SHORTEST_MS, LONGEST_MS = 300, 3000
SHARE = 0.04
"""Of the window's time that may go into following."""
LONG = 20_000
"""A series with more points than this is first shown from the stored pyramid, not point by point."""
OVERVIEW_PIXELS = 2500
LATEST = ("train/loss", "speed/train_tokens_per_s", "memory/host_mib", "memory/device_mib")
"""Series whose last values tables show."""
SETTLED_SECONDS = 10.0
"""So long after its end a run may still be written to (the last samples)."""
REST_MS = 100
"""Until the points of other runs are read: who pages through a table wants those of the last page, and no read while it is painted."""
MOST = 200
"""Runs of an experiment whose points are read at once."""


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
    """What one read found. active: runs at work, then those queued in the order of their start; paused: since when the queue is.

    experiment is the watched one; its runs are complete, and the same object where a run is as it was; the points are only the new ones.
    latest: the last values of LATEST by run and key. left, queue_left: the time until the runs of the experiment, and all there are, have ended.
    """

    experiments: list[ExperimentRow]
    active: list[RunRow]
    paused: float | None = None
    experiment: int | None = None
    runs: list[RunRow] = field(default_factory=list)
    variants: list[Any] = field(default_factory=list)
    series: list[SeriesRow] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    latest: dict[tuple[int, str], float | None] = field(default_factory=dict)
    left: Remaining | None = None
    queue_left: Remaining | None = None
    tags: dict[int, list[str]] = field(default_factory=dict)
    timing: list[tuple[int, str, int]] = field(default_factory=list)
    """(id, status, rounds so far) of the timing sessions of the experiment."""
    timed_next: bool = False
    """Whether its runs are over and a supervisor is about to time them."""
    profiled: list[int] = field(default_factory=list)
    """Ids of the profiles of its runs."""
    waits_for: str = ""
    """What is timed on this machine while its runs, or its own timing, wait for it; empty where they wait for nothing of that kind."""

    @property
    def timing_words(self) -> str:
        """What is done about the speed of its variants, or keeps its runs from starting, for a caption; empty where nothing is."""
        made = [rounds for _, status, rounds in self.timing if status == "running"]
        if made:
            return f"speed is being timed: round {max(made)}" if max(made) else "speed is being timed: models are loaded"
        if self.waits_for:
            what = "the timing of speed waits" if self.timed_next else "its runs wait"
            return f"{what} for {self.waits_for}, which is being timed on this machine"
        return "speed is timed next" if self.timed_next else ""

    @cached_property
    def units(self) -> dict[str, str]:
        """The series keys that the runs have recorded, each with its unit."""
        return {row.key: row.unit for row in self.series}


@dataclass
class _Cursor:
    count: int
    cuts: int


@dataclass
class _Known:
    """What was read already: how far each series, the runs, and the series of runs that had ended and so cannot change."""

    cursors: dict[int, _Cursor] = field(default_factory=dict)
    marks: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    runs: dict[int, RunRow] = field(default_factory=dict)
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
        self._runs: frozenset[int] = frozenset()
        self._known = _Known()
        self._seen: int | None = None
        self._timed = ""
        """What was timed on this machine at the last update: it ends without a change of this store."""
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
            self._experiment, self._runs = experiment, frozenset()
            self._forget()

    def follow(self, keys: Collection[str]) -> None:
        """The series keys whose points are wanted. What is dropped is forgotten; what is new comes with the next update."""
        wanted = frozenset(keys)
        if wanted != self._keys:
            self._keys = wanted
            self._forget()

    def prefer(self, runs: Collection[int]) -> None:
        """The runs whose points are wanted where the experiment has more than MOST; without them those are its first ones."""
        wanted = frozenset(runs)
        if wanted != self._runs:
            self._runs, self._seen = wanted, None
            if self._running:
                self._timer.start(REST_MS)

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
        generation, seen, timed = self._generation, self._seen, self._timed
        experiment, keys, preferred, known, series = self._experiment, self._keys, self._runs, self._known, self._series

        def work() -> tuple[int | None, str, Update | None, float]:
            from engines.timinglock import who_times

            started = time.perf_counter()
            change, whom = store.changed(), who_times()
            if change == seen and whom == timed:
                return change, whom, None, time.perf_counter() - started
            update = _gather(store, experiment, keys, preferred, known, whom, series=series)
            return change, whom, update, time.perf_counter() - started

        def done(answer: tuple[int | None, str, Update | None, float]) -> None:
            self._busy = False
            change, self._timed, update, cost = answer
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


def _gather(
    store: Any, experiment: int | None, keys: frozenset[str], preferred: frozenset[int], memory: _Known, timed: str, *, series: bool
) -> Update:
    """One read of the store. Advances what is known, which belongs to this read alone while it is under way. timed: what is, on this machine."""
    from engines import remaining, timetable
    from engines.store import queries

    experiments = queries.experiments(store)
    paused = queries.paused(store)
    everything = _runs(queries, store, experiment, memory)
    kept = {row.id for row in experiments}
    unfinished = [run for run in everything if not run.over and run.experiment_id in kept]
    queued = sorted((run for run in unfinished if run.status == "queued"), key=lambda run: (run.place, run.id))
    at_work = [run for run in unfinished if run.status != "queued"]
    active, now = [*at_work, *queued], time.time()
    queue_left = remaining.of_runs(active, now=now, peers=everything, jobs=len(at_work)) if active else None
    tags = queries.tags(store)
    if experiment is None:
        return Update(experiments, active, paused, queue_left=queue_left, tags=tags)
    runs = [run for run in everything if run.experiment_id == experiment]
    found = _series(queries, store, runs, memory) if series else []
    chosen = {run.id for run in runs[:MOST]} if len(runs) <= MOST or not preferred else preferred
    pieces = [piece for row in found if row.key in keys and row.run_id in chosen and (piece := _news(queries, store, row, memory)) is not None]
    latest = {(row.run_id, row.key): row.last_value for row in found if row.key in LATEST}
    left = remaining.of_runs(runs, now=now, peers=runs, jobs=len(at_work))
    timing = queries.timing_marks(store, experiment)
    busy = not runs or any(not run.over for run in runs) or any(status == "running" for _, status, _ in timing)
    timed_next = not busy and timetable.is_pending(store, experiment)
    kept_back = timed_next or (not at_work and any(run.status == "queued" for run in runs))
    update = Update(
        experiments, active, paused, experiment, runs, queries.variants(store, experiment), found, pieces, latest, left, queue_left, tags,
        timing, timed_next, queries.profiled(store, experiment), _other(store, experiment, experiments, timed) if kept_back else "",
    )  # fmt: skip
    _ = update.units  # Worked out here, in the thread.
    return update


def _other(store: Any, experiment: int, experiments: list[ExperimentRow], timed: str) -> str:
    """What is timed, by its name where it is another experiment of this store; empty where it is this one."""
    from engines import timetable

    known = {timetable.named(store, row.id): f"“{row.name}”" for row in experiments if row.id != experiment}
    return "" if timed == timetable.named(store, experiment) else known.get(timed, timed)


def _runs(queries: Any, store: Any, experiment: int | None, memory: _Known) -> list[RunRow]:
    """The runs of the watched experiment and of all others that have work to do. Only those that moved, or may have, are read again."""
    marks = queries.run_marks(store, experiment)
    moved = {run for run, mark in marks.items() if memory.marks.get(run) != mark}
    fresh = time.time() - SETTLED_SECONDS
    stale = moved | {run for run, mark in marks.items() if mark[1] in ("starting", "running") or (mark[5] or 0.0) > fresh}
    if moved:
        # Whether a queued run still waits for another shows in none of its own columns.
        stale |= {run.id for run in memory.runs.values() if run.status == "queued" and run.needs}
    for run in queries.runs_of(store, sorted(stale & marks.keys())):
        if memory.runs.get(run.id) != run:
            memory.runs[run.id] = run
    memory.marks = marks
    memory.runs = {run: memory.runs[run] for run in marks if run in memory.runs}
    return list(memory.runs.values())


def _series(queries: Any, store: Any, runs: list[RunRow], memory: _Known) -> list[SeriesRow]:
    """The series of all runs: those of runs that had ended are known, all others come in one go."""
    kept = {run.id: memory.ended[run.id][1] for run in runs if run.over and memory.ended.get(run.id, (-1,))[0] == run.attempt}
    asked = [run for run in runs if run.id not in kept and (run.attempt or run.over)]
    by_run: dict[int, list[SeriesRow]] = {run.id: [] for run in asked}
    for row in queries.series(store, list(by_run)):
        by_run[row.run_id].append(row)
    for run in asked:
        if run.over:
            memory.ended[run.id] = (run.attempt, by_run[run.id])
    return [row for run in runs for row in kept.get(run.id) or by_run.get(run.id, [])]


def _news(queries: Any, store: Any, row: SeriesRow, memory: _Known) -> Piece | None:
    """The points of a series behind what is known of it; None where there are none."""
    cursor = memory.cursors.get(row.id)
    fresh = cursor is None or row.count < cursor.count or row.cuts != cursor.cuts
    if not row.count or (not fresh and cursor is not None and row.count == cursor.count):
        return None
    known = 0 if fresh or cursor is None else cursor.count
    history = None
    if fresh and row.count > LONG:
        history = queries.curve(store, row.id, pixels=OVERVIEW_PIXELS)
        steps = times = values = np.empty(0)
        known = history.points
    else:
        steps, times, values = queries.points(store, row.id, after=known - 1)
    memory.cursors[row.id] = _Cursor(known + len(steps), row.cuts)
    return Piece(row, steps, times, values, restart=fresh, history=history)
