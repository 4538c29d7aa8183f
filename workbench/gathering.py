"""One read of the store for a view that follows runs: what is new since the last one, by cursor. Nothing here knows Qt."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from engines.remaining import Remaining
    from engines.store.rows import Curve, ExperimentRow, RunRow, SeriesRow

LONG = 20_000
"""A series with more points than this is first shown from the stored pyramid, not point by point."""
OVERVIEW_PIXELS = 2500
LATEST = ("train/loss", "speed/train_tokens_per_s", "memory/host_mib", "memory/device_mib")
"""Series whose last values tables show."""
SETTLED_SECONDS = 10.0
"""So long after its end a run may still be written to (the last samples)."""
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
class Cursor:
    """How far a series was read: its points, and how often it had been cut."""

    count: int
    cuts: int


@dataclass
class Known:
    """What was read already: how far each series, the runs, and the series of runs that had ended and so cannot change."""

    cursors: dict[int, Cursor] = field(default_factory=dict)
    marks: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    runs: dict[int, RunRow] = field(default_factory=dict)
    ended: dict[int, tuple[int, list[SeriesRow]]] = field(default_factory=dict)


def gather(
    store: Any, experiment: int | None, keys: frozenset[str], preferred: frozenset[int], memory: Known, timed: str, *, series: bool
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


def _runs(queries: Any, store: Any, experiment: int | None, memory: Known) -> list[RunRow]:
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


def _series(queries: Any, store: Any, runs: list[RunRow], memory: Known) -> list[SeriesRow]:
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


def _news(queries: Any, store: Any, row: SeriesRow, memory: Known) -> Piece | None:
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
    memory.cursors[row.id] = Cursor(known + len(steps), row.cuts)
    return Piece(row, steps, times, values, restart=fresh, history=history)
