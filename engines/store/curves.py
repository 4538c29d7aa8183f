"""Reading points: all behind a cursor, or a window of a curve reduced to about one bin per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from engines.store.database import Store
from engines.store.rows import Curve, Floats
from engines.store.tables import BRANCHING, LEVELS, bucket, point, series

FEW = 5_000
BITE = 5_000
"""Rows fetched at once."""


def points(store: Store, series_id: int, after: int = -1) -> tuple[Floats, Floats, Floats]:
    """Steps, unix seconds and values of the points behind ordinal `after`, shape (n,) each; NaN for gaps.

    The next cursor is `after + n`. A series whose `cuts` moved is read anew: its tail was cut off and written again.
    """
    columns = select(point.c.step, point.c.time, point.c.value)
    asked = columns.where(point.c.series_id == series_id, point.c.n > after).order_by(point.c.n)
    with store.reading() as connection:
        found = _columns(connection, asked, 3)
    return found[0], found[1], found[2]


def marks(store: Store, run_ids: Sequence[int], keys: Sequence[str]) -> dict[int, dict[str, dict[int, float]]]:
    """{run: {key: {step: value}}} of short series of several runs at once: figures taken now and then, gaps left out.

    Series of more than FEW points are left out: they are curves, to be read as such.
    """
    c, p = series.c, point.c
    asked = select(c.run_id, c.key, p.step, p.value).join(point, p.series_id == c.id)
    asked = asked.where(c.run_id.in_(list(run_ids)), c.key.in_(list(keys)), c.count <= FEW, p.value.is_not(None)).order_by(c.id, p.n)
    found: dict[int, dict[str, dict[int, float]]] = {}
    with store.reading() as connection:
        for run_id, key, step, value in connection.execute(asked):
            found.setdefault(run_id, {}).setdefault(key, {})[step] = value
    return found


def curve(store: Store, series_id: int, low: float | None = None, high: float | None = None, pixels: int = 1200) -> Curve:
    """A series between the steps `low` and `high` (default: all of it), with one more bin on either side, in about `pixels` bins.

    Up to 2 * pixels points come as they are (`exact`); more are merged from the stored buckets, between pixels and 2 * pixels bins of
    equally many points, so that every extreme is kept. Costs up to pixels * BRANCHING rows whatever the length of the series.
    """
    pixels = max(1, pixels)
    with store.reading() as connection:
        first, last = _window(connection, series_id, low, high)
        if last < first:
            return _empty()
        level, count = 0, last - first + 1
        while level < LEVELS and count > pixels * BRANCHING ** (level + 1):
            level += 1
        start, stop = first // BRANCHING**level, last // BRANCHING**level
        bins = stop - start + 1
        factor = bins // pixels if bins > 2 * pixels else 1
        if level == 0 and factor == 1:
            return _exact(connection, series_id, start, stop)
        asked = _merged_points(series_id, start, stop, factor) if level == 0 else _merged_buckets(series_id, level, start, stop, factor)
        steps, steps_last, lows, highs, gaps = _columns(connection, asked, 5)
    return Curve(steps, steps_last, lows, highs, gaps.astype(np.int64), count, exact=False)


def _empty() -> Curve:
    nothing = np.empty(0)
    return Curve(nothing, nothing, nothing, nothing, np.empty(0, dtype=np.int64), 0, exact=True)


def _exact(connection: Connection, series_id: int, first: int, last: int) -> Curve:
    c = point.c
    asked = select(c.step, c.value).where(c.series_id == series_id, c.n.between(first, last)).order_by(c.n)
    steps, values = _columns(connection, asked, 2)
    return Curve(steps, steps, values, values, np.isnan(values).astype(np.int64), len(steps), exact=True)


def _window(connection: Connection, series_id: int, low: float | None, high: float | None) -> tuple[int, int]:
    """Ordinals of the first and last point to draw: those inside the steps and one more on either side. Empty: (0, -1)."""
    end = connection.execute(select(func.max(point.c.n)).where(point.c.series_id == series_id)).scalar()
    if end is None:
        return 0, -1
    first = 0 if low is None else min(end, max(0, _edge(connection, series_id, low, last=False) - 1))
    last = end if high is None else min(end, _edge(connection, series_id, high, last=True) + 1)
    return first, max(first, last)


def _edge(connection: Connection, series_id: int, step: float, *, last: bool) -> int:
    """The first point with a step of at least `step`, or the last one of at most `step`, found down the levels.

    Where steps fall somewhere the answer errs to the outside. Without such a point: behind the end, or before the start.
    """
    start, stop = 0, None
    for level in range(LEVELS, -1, -1):
        column = point.c.n if level == 0 else bucket.c.i
        asked: Any = select(func.max(column) if last else func.min(column))
        if level == 0:
            asked = asked.where(point.c.series_id == series_id, point.c.step <= step if last else point.c.step >= step)
        else:
            inside = bucket.c.step_first <= step if last else bucket.c.step_last >= step
            asked = asked.where(bucket.c.series_id == series_id, bucket.c.level == level, inside)
        if stop is not None:
            asked = asked.where(column >= start, column < stop)
        found = connection.execute(asked).scalar()
        if found is None and stop is None:
            return -1 if last else 2**62
        i = int(found) if found is not None else (stop - 1 if last and stop is not None else start)
        start, stop = i * BRANCHING, (i + 1) * BRANCHING
    return start // BRANCHING


def _merged_points(series_id: int, first: int, last: int, factor: int) -> Any:
    c = point.c
    gaps = func.count() - func.count(c.value)
    group = c.n // factor
    asked = select(func.min(c.step), func.max(c.step), func.min(c.value), func.max(c.value), gaps)
    return asked.where(c.series_id == series_id, c.n.between(first, last)).group_by(group).order_by(group)


def _merged_buckets(series_id: int, level: int, first: int, last: int, factor: int) -> Any:
    c = bucket.c
    inside = (c.series_id == series_id, c.level == level, c.i.between(first, last))
    if factor == 1:
        return select(c.step_first, c.step_last, c.low, c.high, c.gaps).where(*inside).order_by(c.i)
    group = c.i // factor
    columns = func.min(c.step_first), func.max(c.step_last), func.min(c.low), func.max(c.high), func.sum(c.gaps)
    return select(*columns).where(*inside).group_by(group).order_by(group)


def _columns(connection: Connection, asked: Any, width: int) -> Floats:
    """What was asked as float64 columns, shape (width, rows), NaN for NULL."""
    # Tuples of the driver, in bites that the cache holds, turned column by column: rows of the toolkit cost several times as much.
    cursor = connection.execute(asked).cursor
    assert cursor is not None
    bites = []
    while rows := cursor.fetchmany(BITE):
        bites.append(np.array([np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]))
    return np.concatenate(bites, axis=1) if bites else np.empty((width, 0))
