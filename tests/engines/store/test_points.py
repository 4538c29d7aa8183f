"""Points, their pyramid, cursors, cuts: held against numpy on the same points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from engines.store import commands, queries, tables
from engines.store.commands import SeriesBatch
from engines.store.database import Store
from engines.store.queries import RunRow
from engines.store.tables import BRANCHING, LEVELS

VALUES = st.one_of(st.floats(-1e6, 1e6), st.just(math.nan))


def append(store: Store, run: RunRow, key: str, steps: Any, values: Any) -> None:
    times = [1e9 + float(step) for step in steps]
    commands.append_points(store, run.id, run.claim, [SeriesBatch(key, "nats/token", "lower", list(steps), times, list(values))])


def claimed(store: Store) -> RunRow:
    """A run of a new experiment."""
    variants = [{"name": "v", "plan": {}, "baseline": True, "needs": []}]
    commands.submit(store, name="n", digest="", text="", document={}, folder="/", variants=variants, seeds=[0], smoke=False)
    run = commands.claim_run(store, commands.register_supervisor(store, "here", 1, 1.0))
    assert run is not None
    return run


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(str(tmp_path_factory.mktemp("shared") / "s.sqlite")) as store:
        yield store


def buckets(store: Store, series_id: int) -> dict[tuple[int, int], tuple[Any, ...]]:
    c = tables.bucket.c
    with store.reading() as connection:
        rows = connection.execute(select(c.level, c.i, c.step_first, c.step_last, c.low, c.high, c.gaps).where(c.series_id == series_id))
        return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def expected_buckets(steps: list[int], values: list[float]) -> dict[tuple[int, int], tuple[Any, ...]]:
    found = {}
    for level in range(1, LEVELS + 1):
        size = BRANCHING**level
        for i in range(-(-len(values) // size)):
            piece, places = values[i * size : (i + 1) * size], steps[i * size : (i + 1) * size]
            real = [value for value in piece if not math.isnan(value)]
            found[level, i] = (min(places), max(places), min(real, default=None), max(real, default=None), len(piece) - len(real))
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(VALUES, max_size=70), max_size=12), st.integers(0, 900), st.lists(VALUES, max_size=40))
def test_the_pyramid_is_what_brute_force_says(shared: Store, pieces: list[list[float]], cut: int, more: list[float]) -> None:
    """Appended in pieces, cut at a step, appended to again."""
    run = claimed(shared)
    append(shared, run, "x", [], [])
    values: list[float] = []
    for piece in pieces:
        append(shared, run, "x", range(2 * len(values), 2 * (len(values) + len(piece)), 2), piece)
        values += piece
    removed = commands.truncate_points(shared, run.id, run.claim, cut)
    kept = values[: cut // 2 + 1]
    assert removed == len(values) - len(kept)
    append(shared, run, "x", range(2 * len(kept), 2 * (len(kept) + len(more)), 2), more)
    kept = kept + more
    (row,) = queries.series(shared, run.id)
    steps = list(range(0, 2 * len(kept), 2))
    assert buckets(shared, row.id) == expected_buckets(steps, kept)
    found_steps, _, found = queries.points(shared, row.id)
    np.testing.assert_array_equal(found, kept)
    np.testing.assert_array_equal(found_steps, steps)
    assert row.count == len(kept)
    assert row.last_step == (steps[-1] if steps else None)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_window_keeps_every_extreme(long_curve: tuple[Store, int, np.ndarray, np.ndarray], data: st.DataObject) -> None:
    store, series_id, steps, values = long_curve
    low, high = sorted(data.draw(st.tuples(st.integers(-50, int(steps[-1]) + 50), st.integers(-50, int(steps[-1]) + 50))))
    pixels = data.draw(st.sampled_from([1, 7, 100, 1200]))
    curve = queries.curve(store, series_id, low, high, pixels)
    inside = (steps >= low) & (steps <= high)
    assert len(curve) <= 2 * pixels + 2
    if curve.exact:
        assert curve.points == len(curve)
    if inside.any() and np.isfinite(values[inside]).any():
        assert np.nanmin(curve.lows) <= np.nanmin(values[inside])
        assert np.nanmax(curve.highs) >= np.nanmax(values[inside])
        assert curve.steps[0] <= steps[inside][0]
        assert curve.steps_last[-1] >= steps[inside][-1]
    starts, ends = np.searchsorted(steps, curve.steps, "left"), np.searchsorted(steps, curve.steps_last, "right")
    for start, end, bottom, top, gaps in zip(starts, ends, curve.lows, curve.highs, curve.gaps, strict=True):
        piece = values[start:end]
        real = piece[np.isfinite(piece)]
        assert gaps == len(piece) - len(real)
        np.testing.assert_equal((bottom, top), (real.min(), real.max()) if len(real) else (np.nan, np.nan))


@pytest.fixture(scope="module")
def long_curve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, int, np.ndarray, np.ndarray]]:
    """150,000 points with uneven steps, gaps and one spike."""
    draw = np.random.default_rng(5)
    steps = np.cumsum(draw.integers(1, 4, 150_000))
    values = draw.normal(size=150_000).cumsum()
    values[draw.integers(0, 150_000, 500)] = np.nan
    values[40_000:41_000] = np.nan
    values[77_777] = 1e5
    with Store.open(str(tmp_path_factory.mktemp("long") / "s.sqlite")) as store:
        run = claimed(store)
        for start in range(0, 150_000, 7_001):
            append(store, run, "x", steps[start : start + 7_001].tolist(), values[start : start + 7_001].tolist())
        yield store, queries.series(store, run.id)[0].id, steps, values


def test_the_spike_shows_in_the_whole_curve(long_curve: tuple[Store, int, np.ndarray, np.ndarray]) -> None:
    store, series_id, steps, _ = long_curve
    curve = queries.curve(store, series_id, pixels=400)
    at = int(np.nanargmax(curve.highs))
    assert curve.highs[at] == 1e5
    assert curve.steps[at] <= steps[77_777] <= curve.steps_last[at]
    assert curve.points == 150_000
    assert 400 <= len(curve) <= 802
    assert np.isnan(curve.lows).any(), "a thousand gaps in a row are wider than a bin"


def test_an_empty_window_and_an_empty_series(store: Store, run: RunRow) -> None:
    append(store, run, "x", [], [])
    append(store, run, "y", [10, 20, 30], [1.0, 2.0, 3.0])
    empty, short = queries.series(store, run.id)
    assert (empty.count, empty.last_value) == (0, None)
    assert len(queries.curve(store, empty.id)) == 0
    assert queries.curve(store, short.id, 12, 18).steps.tolist() == [10, 20], "the neighbours of an empty window, so that the line crosses it"
    assert queries.curve(store, short.id, 31, 99).steps.tolist() == [30]
    assert queries.curve(store, short.id, 0, 5).steps.tolist() == [10]


def test_a_gap_is_stored_as_null_and_comes_back_as_nan(store: Store, run: RunRow) -> None:
    append(store, run, "train/loss", [1, 2, 3], [1.0, math.nan, 2.0])
    append(store, run, "train/loss", [4], [math.nan])
    (row,) = queries.series(store, run.id)
    with store.reading() as connection:
        stored = connection.execute(select(tables.point.c.value).order_by(tables.point.c.n)).scalars().all()
    assert stored == [1.0, None, 2.0, None]
    np.testing.assert_array_equal(queries.points(store, row.id)[2], [1.0, math.nan, 2.0, math.nan])
    assert math.isnan(row.last_value or 0.0)
    assert queries.curve(store, row.id).gaps.tolist() == [0, 1, 0, 1]


def test_infinities_come_back_as_they_are(store: Store, run: RunRow) -> None:
    values = [1.0, math.inf, -math.inf] + [0.0] * 100
    append(store, run, "x", range(len(values)), values)
    (row,) = queries.series(store, run.id)
    assert queries.points(store, row.id)[2].tolist() == values
    curve = queries.curve(store, row.id, pixels=5)
    assert (curve.lows.min(), curve.highs.max(), curve.gaps.sum()) == (-math.inf, math.inf, 0)


def test_a_reader_sees_the_tail_by_cursor(store: Store, run: RunRow) -> None:
    append(store, run, "x", [1, 2], [1.0, 2.0])
    (row,) = queries.series(store, run.id)
    with Store.open(store.url, read_only=True) as reader:
        cursor, seen = -1, []
        for more in ([3.0], [], [4.0, 5.0]):
            steps, times, values = queries.points(reader, row.id, cursor)
            assert len(steps) == len(times) == len(values)
            cursor += len(steps)
            seen += values.tolist()
            append(store, run, "x", [int(value) for value in more], more)
        assert seen == [1.0, 2.0, 3.0]
        assert queries.points(reader, row.id, cursor)[2].tolist() == [4.0, 5.0]


def test_a_cut_is_told_to_readers_and_touches_every_series(store: Store, run: RunRow) -> None:
    for key in ("x", "y"):
        append(store, run, key, range(100), range(100))
    assert commands.truncate_points(store, run.id, run.claim, 39) == 120
    assert commands.truncate_points(store, run.id, run.claim, 39) == 0
    for row in queries.series(store, run.id):
        assert (row.count, row.last_step, row.last_value, row.cuts) == (40, 39, 39.0, 1)
    assert commands.truncate_points(store, run.id, run.claim, -1) == 80
    assert [row.last_step for row in queries.series(store, run.id)] == [None, None]


def test_several_batches_of_one_series_follow_each_other(store: Store, run: RunRow) -> None:
    batches = [SeriesBatch("x", "s", "lower", [step], [0.0], [float(step)]) for step in (1, 2, 3)]
    commands.append_points(store, run.id, run.claim, batches)
    (row,) = queries.series(store, run.id)
    assert (row.count, row.unit, row.better, row.last_value) == (3, "s", "lower", 3.0)
    assert queries.points(store, row.id)[0].tolist() == [1, 2, 3]


def test_numpy_numbers_are_welcome(store: Store, run: RunRow) -> None:
    commands.append_points(store, run.id, run.claim, [SeriesBatch("x", "", "none", np.arange(3), np.ones(3), np.array([1, 2, 3], dtype=np.float32))])
    assert queries.points(store, queries.series(store, run.id)[0].id)[2].tolist() == [1.0, 2.0, 3.0]


def test_columns_of_different_length_are_refused_and_nothing_is_stored(store: Store, run: RunRow) -> None:
    good, bad = SeriesBatch("x", "", "none", [1], [1.0], [1.0]), SeriesBatch("y", "", "none", [1, 2], [1.0], [1.0])
    with pytest.raises(ValueError, match=r'"y" got 2 steps, 1 times and 1 values'):
        commands.append_points(store, run.id, run.claim, [good, bad])
    assert queries.series(store, run.id) == []
