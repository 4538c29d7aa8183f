"""Freeing what was deleted: rows in small bites, so that no run waits for it, files, and the space in the store's file."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import delete, select

from engines.store import tables
from engines.store.address import report_description
from engines.store.database import Store
from engines.store.failures import StoreError
from engines.store.rows import ACTIVE, Freed

BITE = 20_000
"""Points that one transaction removes; a few tens of milliseconds."""

_OF_RUN = (tables.result, tables.effect, tables.event, tables.artifact)


def gc(store: Store) -> Freed:
    """Remove deleted experiments for good: run folders, then rows. Those with a live run wait for a later call. Can be repeated after a crash.

    Raises StoreError, also where a folder cannot be removed.
    """
    experiments, kept = _deleted(store)
    runs, points, freed = 0, 0, 0
    for experiment_id in experiments:
        with store.reading() as connection:
            run_ids = list(connection.execute(select(tables.run.c.id).where(tables.run.c.experiment_id == experiment_id)).scalars())
        for run_id in run_ids:
            freed += _remove(store.run_folder(run_id))
            points += _drop_points(store, run_id)
            runs += 1
        report_description(store.folder, [experiment_id]).unlink(missing_ok=True)
        _drop_experiment(store, experiment_id, run_ids)
    freed += _shrink(store)
    return Freed(len(experiments), runs, points, freed, len(kept))


def _deleted(store: Store) -> tuple[list[int], set[int]]:
    with store.reading() as connection:
        deleted = list(connection.execute(select(tables.experiment.c.id).where(tables.experiment.c.deleted.is_not(None))).scalars())
        live = select(tables.run.c.experiment_id).where(tables.run.c.experiment_id.in_(deleted), tables.run.c.status.in_(ACTIVE))
        kept = set(connection.execute(live).scalars())
    return [each for each in deleted if each not in kept], kept


def _remove(folder: Path) -> int:
    """Remove a folder with all that is in it; returns its bytes."""
    if not folder.exists():
        return 0
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    try:
        shutil.rmtree(folder)
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"The folder {folder} of a deleted run cannot be removed: {reason}. Remove it, then collect again.") from error
    return size


def _drop_points(store: Store, run_id: int) -> int:
    with store.reading() as connection:
        found = connection.execute(select(tables.series.c.id, tables.series.c.count).where(tables.series.c.run_id == run_id)).all()
    for series_id, count in found:
        for end in range(BITE, count + BITE, BITE):
            with store.writing() as connection:
                connection.execute(delete(tables.point).where(tables.point.c.series_id == series_id, tables.point.c.n < end))
        with store.writing() as connection:
            connection.execute(delete(tables.bucket).where(tables.bucket.c.series_id == series_id))
            connection.execute(delete(tables.series).where(tables.series.c.id == series_id))
    return sum(count for _, count in found)


def _drop_experiment(store: Store, experiment_id: int, run_ids: list[int]) -> None:
    with store.writing() as connection:
        for table in _OF_RUN:
            for run_id in run_ids:
                connection.execute(delete(table).where(table.c.run_id == run_id))
        timings = select(tables.timing.c.id).where(tables.timing.c.experiment_id == experiment_id)
        connection.execute(delete(tables.round).where(tables.round.c.timing_id.in_(timings)))
        for table in (tables.timing, tables.note, tables.tag, tables.run, tables.variant):
            connection.execute(delete(table).where(table.c.experiment_id == experiment_id))
        connection.execute(delete(tables.experiment).where(tables.experiment.c.id == experiment_id))


def _shrink(store: Store) -> int:
    """Give free pages of an SQLite file back to the disk, in bites; returns the bytes."""
    if store.path is None:
        return 0
    freed = 0
    while True:
        with store.writing() as connection:
            before = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
            driver = connection.connection.driver_connection
            assert driver is not None
            # It frees one page each time it is stepped: fetching drives it to its end.
            driver.execute(f"PRAGMA incremental_vacuum({BITE // 10})").fetchall()
            after = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
            size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        if after >= before:
            return freed
        freed += (before - after) * size
