"""Writing points: appended with their buckets in one transaction, cut off behind a checkpoint when a run resumes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from engines.store.claims import hold
from engines.store.database import Store
from engines.store.pyramid import Bins, Integers, bins_of_points, coarser
from engines.store.rows import Floats, SeriesBatch
from engines.store.tables import BRANCHING, LEVELS, bucket, point, series


def append_points(store: Store, run_id: int, claim: str, batches: Sequence[SeriesBatch]) -> None:
    """Append points to series of a run, which are made where they are new, all in one transaction.

    NaN is stored as a gap (NULL); infinities are stored as they are and show as the extremes of their buckets. Steps within a series should
    not fall. Raises ClaimLost, StoreError; ValueError for a batch whose columns differ in length.
    """
    columns = [(batch, *_columns(batch)) for batch in batches]
    with store.writing() as connection:
        hold(connection, run_id, claim)
        known = _series(connection, run_id, [batch for batch, *_ in columns])
        points: list[tuple[Any, ...]] = []
        buckets: list[tuple[Any, ...]] = []
        lasts: dict[int, dict[str, Any]] = {}
        for batch, steps, times, values in columns:
            if not len(steps):
                continue
            series_id, count = known[batch.key]
            n = np.arange(count, count + len(steps), dtype=np.int64)
            stored = _nullable(values)
            points += zip([series_id] * len(steps), n.tolist(), steps.tolist(), times.tolist(), stored, strict=True)
            bins = bins_of_points(n, steps, values)
            for level in range(1, LEVELS + 1):
                bins = coarser(bins)
                buckets += _bucket_rows(series_id, level, bins)
            known[batch.key] = series_id, count + len(steps)
            last = {"last_step": int(steps[-1]), "last_time": float(times[-1]), "last_value": stored[-1]}
            lasts[series_id] = {"of": series_id, "count": count + len(steps), **last}
        _insert(connection, point, points)
        _insert(connection, bucket, buckets)
        if lasts:
            connection.execute(_update_series(), list(lasts.values()))


def truncate_points(store: Store, run_id: int, claim: str, after_step: int) -> int:
    """Cut every series of a run from its first point behind a step on; returns how many points went. Raises ClaimLost, StoreError."""
    removed = 0
    with store.writing() as connection:
        hold(connection, run_id, claim)
        rows = connection.execute(select(series.c.id, series.c.count).where(series.c.run_id == run_id)).all()
        for series_id, count in rows:
            first = _first_behind(connection, series_id, after_step)
            if first is not None:
                _cut(connection, series_id, first)
                removed += count - first
    return removed


# --- Appending ----------------------------------------------------------------------------------------------------------------------------


def _columns(batch: SeriesBatch) -> tuple[Integers, Floats, Floats]:
    steps, times = np.asarray(batch.steps, dtype=np.int64), np.asarray(batch.times, dtype=np.float64)
    values = np.asarray(batch.values, dtype=np.float64)
    if not steps.shape == times.shape == values.shape or steps.ndim != 1:
        raise ValueError(f'The series "{batch.key}" got {steps.size} steps, {times.size} times and {values.size} values: one of each per point.')
    return steps, times, values


def _series(connection: Connection, run_id: int, batches: Sequence[SeriesBatch]) -> dict[str, tuple[int, int]]:
    """(id, points so far) of the named series of a run, new ones made."""
    asked = select(series.c.key, series.c.id, series.c.count).where(series.c.run_id == run_id)
    known = {key: (series_id, count) for key, series_id, count in connection.execute(asked)}
    for batch in batches:
        if batch.key not in known:
            row = {"run_id": run_id, "key": batch.key, "unit": batch.unit, "better": batch.better, "count": 0}
            made = connection.execute(insert(series).values(row)).inserted_primary_key
            assert made is not None
            known[batch.key] = made[0], 0
    return known


def _bucket_rows(series_id: int, level: int, bins: Bins) -> zip[tuple[Any, ...]]:
    several, levels = [series_id] * len(bins), [level] * len(bins)
    steps = bins.step_first.tolist(), bins.step_last.tolist()
    return zip(several, levels, bins.i.tolist(), *steps, _nullable(bins.low), _nullable(bins.high), bins.gaps.tolist(), strict=True)


def _nullable(values: Floats) -> list[float | None]:
    listed: list[float | None] = values.tolist()
    return [None if value != value else value for value in listed] if np.isnan(values).any() else listed


def _insert(connection: Connection, table: Table, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows whose values are in the order of the table's columns; buckets that exist take the new contribution in."""
    if not rows:
        return
    dialect = connection.dialect.name
    if dialect == "sqlite":
        # Straight to the driver: half the time of rows as dictionaries.
        connection.exec_driver_sql(_sqlite_text(table.name), rows)
    else:
        names = table.columns.keys()
        connection.execute(_statement(table.name, dialect), [dict(zip(names, row, strict=True)) for row in rows])


@cache
def _sqlite_text(table: str) -> str:
    return str(_statement(table, "sqlite").compile(dialect=sqlite.dialect()))


@cache
def _statement(table: str, dialect: str) -> Insert:
    if table == point.name:
        return insert(point)
    lower, higher = (func.min, func.max) if dialect == "sqlite" else (func.least, func.greatest)
    statement = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(bucket)
    old, new = bucket.c, statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["series_id", "level", "i"],
        set_={
            "step_first": lower(old.step_first, new.step_first),
            "step_last": higher(old.step_last, new.step_last),
            # SQLite's min and max of two are NULL where one is.
            "low": lower(func.coalesce(old.low, new.low), func.coalesce(new.low, old.low)),
            "high": higher(func.coalesce(old.high, new.high), func.coalesce(new.high, old.high)),
            "gaps": old.gaps + new.gaps,
        },
    )


@cache
def _update_series() -> Any:
    figures: dict[str, Any] = {name: bindparam(name) for name in ("count", "last_step", "last_time", "last_value")}
    return update(series).where(series.c.id == bindparam("of")).values(figures)


# --- Cutting ------------------------------------------------------------------------------------------------------------------------------


def _first_behind(connection: Connection, series_id: int, step: int) -> int | None:
    """The ordinal of the first point behind a step, found through the finest buckets."""
    tops = select(func.min(bucket.c.i)).where(bucket.c.series_id == series_id, bucket.c.level == 1, bucket.c.step_last > step)
    i = connection.execute(tops).scalar()
    if i is None:
        return None
    inside = select(func.min(point.c.n)).where(point.c.series_id == series_id, point.c.n >= i * BRANCHING, point.c.step > step)
    return connection.execute(inside.where(point.c.n < (i + 1) * BRANCHING)).scalar()


def _cut(connection: Connection, series_id: int, count: int) -> None:
    """Keep the first `count` points of a series; the bucket that the cut goes through is computed anew on every level."""
    connection.execute(delete(point).where(point.c.series_id == series_id, point.c.n >= count))
    for level in range(1, LEVELS + 1):
        i, rest = divmod(count, BRANCHING**level)
        connection.execute(delete(bucket).where(bucket.c.series_id == series_id, bucket.c.level == level, bucket.c.i >= i))
        if rest:
            bins = coarser(_children(connection, series_id, level - 1, i * BRANCHING))
            _insert(connection, bucket, list(_bucket_rows(series_id, level, bins)))
    last = connection.execute(
        select(point.c.step, point.c.time, point.c.value).where(point.c.series_id == series_id, point.c.n == count - 1)
    ).one_or_none()
    step, time, value = last if last else (None, None, None)
    changes = {"count": count, "last_step": step, "last_time": time, "last_value": value, "cuts": series.c.cuts + 1}
    connection.execute(update(series).where(series.c.id == series_id).values(changes))


def _children(connection: Connection, series_id: int, level: int, start: int) -> Bins:
    """What is left of the bins of a level from number `start` on (level 0: the points)."""
    if level == 0:
        asked = select(point.c.n, point.c.step, point.c.value).where(point.c.series_id == series_id, point.c.n >= start).order_by(point.c.n)
        n, steps, values = _arrays(connection.execute(asked).all(), 3)
        return bins_of_points(n.astype(np.int64), steps.astype(np.int64), values)
    c = bucket.c
    asked_bins = select(c.i, c.step_first, c.step_last, c.low, c.high, c.gaps)
    asked_bins = asked_bins.where(c.series_id == series_id, c.level == level, c.i >= start).order_by(c.i)
    i, first, last, low, high, gaps = _arrays(connection.execute(asked_bins).all(), 6)
    return Bins(i.astype(np.int64), first.astype(np.int64), last.astype(np.int64), low, high, gaps.astype(np.int64))


def _arrays(rows: Sequence[Any], width: int) -> Floats:
    """Rows as float64 columns, shape (width, rows), NaN for NULL."""
    return np.array([tuple(row) for row in rows], dtype=np.float64).reshape(-1, width).T
