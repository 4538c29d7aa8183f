"""Every read of the store, as frozen rows. Times are unix seconds (UTC)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from engines.store import tables
from engines.store.curves import curve, marks, points
from engines.store.database import Store
from engines.store.failures import StoreError
from engines.store.ordering import next_ready, since
from engines.store.rows import (
    ACTIVE,
    DONE,
    QUEUED,
    RUNNING,
    WANTED,
    ArtifactRow,
    Curve,
    EffectRow,
    EventRow,
    ExperimentRow,
    MachineRow,
    NoteRow,
    ResultRow,
    RunRow,
    SeriesRow,
    StudyRow,
    SupervisorRow,
    TimingRow,
    VariantRow,
)  # fmt: skip

__all__ = [
    "ArtifactRow", "Curve", "EffectRow", "EventRow", "ExperimentRow", "MachineRow", "NoteRow", "ResultRow", "RunRow", "SeriesRow",
    "StudyRow", "SupervisorRow", "TimingRow", "VariantRow", "artifacts", "being_timed", "curve", "effects", "events", "experiment",
    "experiments", "machine", "marks", "next_run", "notes", "paused", "plan", "points", "queue", "results", "rounds", "run", "run_marks", "runs",
    "runs_of", "series", "studies", "study", "supervisors", "tags", "variants",
    "wanted_timings",
]  # fmt: skip


MANY = 5_000
"""Ids in one statement: databases take only so many."""


def experiments(store: Store, *, deleted: bool = False) -> list[ExperimentRow]:
    """All experiments, oldest first; those deleted (and not yet freed) where asked for instead."""
    column = tables.experiment.c.deleted
    asked = select(tables.experiment).where(column.is_not(None) if deleted else column.is_(None)).order_by(tables.experiment.c.id)
    with store.reading() as connection:
        return [ExperimentRow(**row._mapping) for row in connection.execute(asked)]


def experiment(store: Store, experiment_id: int) -> ExperimentRow:
    """One experiment, also a deleted one. Raises StoreError where there is none of this id."""
    return ExperimentRow(**_one(store, tables.experiment, experiment_id, "experiment"))


def variants(store: Store, experiment_id: int) -> list[VariantRow]:
    """The variants of an experiment in the order of its file."""
    c = tables.variant.c
    with store.reading() as connection:
        found = connection.execute(select(tables.variant).where(c.experiment_id == experiment_id).order_by(c.position))
        return [VariantRow(**row._mapping) for row in found]


def runs(store: Store, experiment_id: int | None = None, status: str | Sequence[str] | None = None) -> list[RunRow]:
    """Runs in the order they were submitted: of an experiment, or of all that are not deleted; with a status, or one of several."""
    conditions = [tables.run.c.experiment_id == experiment_id] if experiment_id is not None else [tables.experiment.c.deleted.is_(None)]
    if status is not None:
        conditions.append(tables.run.c.status.in_([status] if isinstance(status, str) else list(status)))
    with store.reading() as connection:
        return run_rows(connection, *conditions)


def run_marks(store: Store, experiment_id: int | None = None) -> dict[int, tuple[Any, ...]]:
    """{run: (experiment, status, attempt, request, place, ended)} of an experiment, and of all others with runs that have not ended.

    What a reader who has seen the runs needs to know which of them it has to read again: a tenth of what reading them costs.
    """
    c = tables.run.c
    open_ones = select(c.experiment_id).join(tables.experiment, tables.experiment.c.id == c.experiment_id)
    open_ones = open_ones.where(tables.experiment.c.deleted.is_(None), c.status.in_((QUEUED, *ACTIVE))).distinct()
    asked = select(c.id, c.experiment_id, c.status, c.attempt, c.request, c.place, c.ended).order_by(c.id)
    with store.reading() as connection:
        wanted = {*connection.execute(open_ones).scalars(), *([] if experiment_id is None else [experiment_id])}
        return {row[0]: tuple(row[1:]) for row in connection.execute(asked.where(c.experiment_id.in_(wanted)))}


def runs_of(store: Store, run_ids: Sequence[int]) -> list[RunRow]:
    """Runs by their ids; those that are gone are left out."""
    with store.reading() as connection:
        parts = [run_rows(connection, tables.run.c.id.in_(run_ids[first : first + MANY])) for first in range(0, len(run_ids), MANY)]
    return [run for part in parts for run in part]


def queue(store: Store) -> list[RunRow]:
    """The queued runs in the order in which they start."""
    return sorted(runs(store, status=QUEUED), key=lambda row: (row.place, row.id))


def next_run(store: Store) -> int | None:
    """The queued run that starts next; None where all that are queued wait for other runs, and while the queue is paused."""
    with store.reading() as connection:
        return None if since(connection) is not None else next_ready(connection)


def paused(store: Store) -> float | None:
    """Since when the queue is paused, in unix seconds; None while it is not."""
    with store.reading() as connection:
        return since(connection)


def run(store: Store, run_id: int) -> RunRow:
    """One run. Raises StoreError where there is none of this id."""
    with store.reading() as connection:
        found = run_rows(connection, tables.run.c.id == run_id)
    if not found:
        raise StoreError(f"There is no run {run_id} in the store {store.place}.")
    return found[0]


def run_rows(connection: Connection, *conditions: Any) -> list[RunRow]:
    """The runs that meet conditions, on a connection that is open already."""
    asked = select(tables.run, tables.variant.c.name.label("variant")).join(tables.variant, tables.variant.c.id == tables.run.c.variant_id)
    asked = asked.join(tables.experiment, tables.experiment.c.id == tables.run.c.experiment_id)
    found = [dict(row._mapping) for row in connection.execute(asked.where(*conditions).order_by(tables.run.c.id))]
    needs = {need for row in found if row["status"] == QUEUED for need in row["needs"]}
    done = select(tables.run.c.id).where(tables.run.c.id.in_(needs), tables.run.c.status == DONE)
    missing = needs - set(connection.execute(done).scalars()) if needs else set()
    return [
        RunRow(**{**row, "needs": tuple(row["needs"])}, waits=row["status"] == QUEUED and not missing.isdisjoint(row["needs"])) for row in found
    ]


def needed_models(store: Store, row: RunRow) -> dict[str, Path]:
    """{variant: where its finished model lies} of the runs that a run needs."""
    return {run(store, need).variant: store.model_folder(need) for need in row.needs}


def plan(store: Store, run_id: int) -> dict[str, Any]:
    """The plan of a run's variant. Raises StoreError where there is no such run."""
    asked = select(tables.variant.c.plan).join(tables.run, tables.run.c.variant_id == tables.variant.c.id).where(tables.run.c.id == run_id)
    with store.reading() as connection:
        found = connection.execute(asked).scalar()
    if found is None:
        raise StoreError(f"There is no run {run_id} in the store {store.place}.")
    return dict(found)


def series(store: Store, run_ids: int | Sequence[int]) -> list[SeriesRow]:
    """The series of a run, or of several, by run in the order of their keys."""
    wanted = [run_ids] if isinstance(run_ids, int) else list(run_ids)
    c = tables.series.c
    rows: list[dict[str, Any]] = []
    with store.reading() as connection:
        for first in range(0, len(wanted), MANY):
            asked = select(tables.series).where(c.run_id.in_(wanted[first : first + MANY])).order_by(c.run_id, c.key)
            rows += [dict(row._mapping) for row in connection.execute(asked)]
    for row in rows:
        if row["count"] and row["last_value"] is None:
            row["last_value"] = float("nan")
    return [SeriesRow(**row) for row in rows]


def results(store: Store, run_ids: int | Iterable[int]) -> list[ResultRow]:
    """Final figures of runs, by run and key."""
    return [ResultRow(**row) for row in _of_runs(store, tables.result, run_ids, "run_id", "key", "target")]


def effects(store: Store, run_ids: int | Iterable[int]) -> list[EffectRow]:
    """What techniques changed in runs, in the order they were reported."""
    return [EffectRow(**{key: value for key, value in row.items() if key != "id"}) for row in _of_runs(store, tables.effect, run_ids, "id")]


def artifacts(store: Store, run_ids: int | Iterable[int]) -> list[ArtifactRow]:
    """Files that runs left, oldest first."""
    return [ArtifactRow(**row) for row in _of_runs(store, tables.artifact, run_ids, "id")]


def events(store: Store, run_id: int, after: int = 0) -> list[EventRow]:
    """Events of a run behind the event with id `after`, oldest first."""
    c = tables.event.c
    with store.reading() as connection:
        found = connection.execute(select(tables.event).where(c.run_id == run_id, c.id > after).order_by(c.id))
        return [EventRow(**row._mapping) for row in found]


def machine(store: Store, machine_id: int) -> MachineRow:
    """One machine. Raises StoreError where there is none of this id."""
    return MachineRow(**_one(store, tables.machine, machine_id, "machine"))


def machines(store: Store) -> list[MachineRow]:
    """All machines whose figures the store holds, in the order they were first seen."""
    with store.reading() as connection:
        return [MachineRow(**row._mapping) for row in connection.execute(select(tables.machine).order_by(tables.machine.c.id))]


def supervisors(store: Store, *, alive: bool = False) -> list[SupervisorRow]:
    """Supervisors in the order they registered; where asked for, only those that have not said that they ended (they may have died)."""
    asked = select(tables.supervisor).order_by(tables.supervisor.c.id)
    with store.reading() as connection:
        found = connection.execute(asked.where(tables.supervisor.c.ended.is_(None)) if alive else asked)
        return [SupervisorRow(**row._mapping) for row in found]


def rounds(store: Store, experiment_id: int, status: str | None = "done") -> list[TimingRow]:
    """Timing sessions of an experiment with their rounds: those that are done, or with another status, or (None) all."""
    timing, measured = tables.timing.c, tables.round.c
    asked = select(tables.timing).where(timing.experiment_id == experiment_id).order_by(timing.id)
    with store.reading() as connection:
        sessions = connection.execute(asked if status is None else asked.where(timing.status == status)).all()
        of_sessions = select(tables.round).where(measured.timing_id.in_([row.id for row in sessions])).order_by(measured.n)
        rows = connection.execute(of_sessions).all()
        v = tables.variant.c
        baseline = connection.execute(select(v.id).where(v.experiment_id == experiment_id, v.baseline)).scalar()
    found = {row.id: TimingRow(**row._mapping, baseline=baseline, values={}, control={}) for row in sessions}
    for row in rows:
        session, value = found[row.timing_id], np.nan if row.value is None else row.value
        (session.control if row.control else session.values.setdefault(row.variant_id, {}))[row.n] = value
    return list(found.values())


def timing_marks(store: Store, experiment_id: int) -> list[tuple[int, str, int]]:
    """(id, status, rounds so far) of the timing sessions of an experiment, without their figures."""
    timing, measured = tables.timing.c, tables.round.c
    made = select(func.count(measured.n.distinct())).where(measured.timing_id == timing.id).scalar_subquery()
    asked = select(timing.id, timing.status, made).where(timing.experiment_id == experiment_id).order_by(timing.id)
    with store.reading() as connection:
        return [(row[0], row[1], row[2]) for row in connection.execute(asked)]


def profiled(store: Store, experiment_id: int) -> list[int]:
    """Ids of the artefacts that are profiles of the runs of an experiment."""
    c = tables.artifact.c
    asked = select(c.id).join(tables.run, tables.run.c.id == c.run_id).where(tables.run.c.experiment_id == experiment_id, c.kind == "profile")
    with store.reading() as connection:
        return list(connection.execute(asked.order_by(c.id)).scalars())


def wanted_timings(store: Store) -> list[int]:
    """Ids of the experiments whose timing somebody asked for and nobody has finished, in the order in which they were asked for."""
    c, e = tables.timing.c, tables.experiment.c
    asked = select(c.experiment_id).join(tables.experiment, e.id == c.experiment_id).where(c.status == WANTED, e.deleted.is_(None))
    with store.reading() as connection:
        return list(dict.fromkeys(connection.execute(asked.order_by(c.id)).scalars()))


def being_timed(store: Store) -> list[int]:
    """Ids of the experiments with a timing session that has not been closed, also of deleted ones."""
    c = tables.timing.c
    with store.reading() as connection:
        return list(connection.execute(select(c.experiment_id).where(c.status == RUNNING).distinct()).scalars())


def studies(store: Store, study: str | None = None) -> list[StudyRow]:
    """Studies that were measured, oldest first, without their results: all, or those of one plugin."""
    c = tables.study.c
    asked = select(*(column for column in c if column.name != "result")).order_by(c.id)
    with store.reading() as connection:
        found = connection.execute(asked if study is None else asked.where(c.study == study))
        return [StudyRow(**row._mapping, result={}) for row in found]


def study(store: Store, number: int) -> StudyRow:
    """One study with its result. Raises StoreError where there is none of this number."""
    return StudyRow(**_one(store, tables.study, number, "study"))


def notes(store: Store, experiment_id: int) -> list[NoteRow]:
    """Notes beside an experiment and its runs, oldest first."""
    c = tables.note.c
    with store.reading() as connection:
        return [NoteRow(**row._mapping) for row in connection.execute(select(tables.note).where(c.experiment_id == experiment_id).order_by(c.id))]


def tags(store: Store) -> dict[int, list[str]]:
    """The tags of experiments: {experiment id: names}."""
    c = tables.tag.c
    found: dict[int, list[str]] = {}
    with store.reading() as connection:
        for row in connection.execute(select(tables.tag).order_by(c.experiment_id, c.name)):
            found.setdefault(row.experiment_id, []).append(row.name)
    return found


def _one(store: Store, table: Any, row_id: int, what: str) -> Any:
    with store.reading() as connection:
        found = connection.execute(select(table).where(table.c.id == row_id)).one_or_none()
    if found is None:
        raise StoreError(f"There is no {what} {row_id} in the store {store.place}.")
    return found._mapping


def _of_runs(store: Store, table: Any, run_ids: int | Iterable[int], *order: str) -> list[dict[str, Any]]:
    wanted = [run_ids] if isinstance(run_ids, int) else list(run_ids)
    asked = select(table).where(table.c.run_id.in_(wanted)).order_by(*(table.c[name] for name in order))
    with store.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(asked)]
