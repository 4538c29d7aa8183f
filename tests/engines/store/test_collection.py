"""Deleting is logical; collecting frees rows, files and the space in the file."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from engines.store import commands, queries
from engines.store.commands import EffectRow, ResultRow, RoundRow, SeriesBatch
from engines.store.database import Store
from engines.store.queries import RunRow
from engines.store.tables import metadata


def fill(store: Store, run: RunRow, points: int) -> None:
    """One row of everything, and a file."""
    commands.append_points(store, run.id, run.claim, [SeriesBatch("x", "", "none", range(points), [0.0] * points, [0.5] * points)])
    commands.put_results(store, run.id, run.claim, [ResultRow("quality/test_perplexity", 1.0)])
    commands.put_effects(store, run.id, run.claim, [EffectRow("a/b", "model", "")])
    commands.put_event(store, run.id, "info", "start", "")
    commands.put_artifact(store, run.id, run.claim, "model", "m", "/m")
    commands.put_note(store, run.experiment_id, "note", run.id)
    commands.set_tag(store, run.experiment_id, "star")
    session = commands.open_timing(store, run.experiment_id, "", "latency/p50_ms", {})
    commands.put_rounds(store, session, [RoundRow(run.variant_id, 0, 0, 1.0)])
    folder = store.folder / run.folder / "model"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * 1000)


def test_a_deleted_experiment_is_gone_from_lists_but_can_come_back(store: Store, run: RunRow, supervisor: int, submit: Callable[..., int]) -> None:
    other = submit({"a": [], "b": []})
    commands.delete_experiment(store, other)
    assert [row.id for row in queries.experiments(store)] == [run.experiment_id]
    assert [row.id for row in queries.experiments(store, deleted=True)] == [other]
    assert [row.id for row in queries.runs(store)] == [run.id]
    assert [row.status for row in queries.runs(store, other)] == ["cancelled", "cancelled"]
    assert commands.claim_run(store, supervisor) is None
    commands.restore_experiment(store, other)
    assert len(queries.experiments(store)) == 2


def test_collecting_frees_what_was_deleted_and_nothing_else(store: Store, run: RunRow, submit: Callable[..., int], supervisor: int) -> None:
    submit({"kept": []})
    kept = commands.claim_run(store, supervisor)
    assert kept is not None
    fill(store, run, 30_000)
    fill(store, kept, 100)
    commands.delete_experiment(store, run.experiment_id)
    first = commands.gc(store)
    assert (first.experiments, first.kept) == (0, 1), "a worker is still at it"
    assert queries.run(store, run.id).request == "cancel"
    commands.finish_run(store, run.id, run.claim, "cancelled")
    freed = commands.gc(store)
    assert (freed.experiments, freed.runs, freed.points, freed.kept) == (1, 1, 30_000, 0)
    assert freed.bytes > (500_000 if store.path else 999)
    assert not (store.folder / run.folder).exists()
    assert (store.folder / kept.folder / "model" / "weights").exists()
    assert queries.experiments(store, deleted=True) == []
    with store.reading() as connection:
        for table in metadata.sorted_tables:
            ids = {column.name for column in table.columns} & {"run_id", "experiment_id"}
            for name in ids:
                gone = run.id if name == "run_id" else run.experiment_id
                assert connection.execute(table.select().where(table.c[name] == gone)).all() == [], table.name
    (row,) = queries.series(store, kept.id)
    assert len(queries.points(store, row.id)[0]) == 100
    assert commands.gc(store).experiments == 0


def test_the_file_gets_smaller(store: Store, run: RunRow) -> None:
    fill(store, run, 30_000)
    commands.finish_run(store, run.id, run.claim, "done")
    store.close()
    if store.path is None:
        pytest.skip("PostgreSQL keeps its files to itself")
    before = os.path.getsize(store.path)
    with Store.open(store.url) as again:
        commands.delete_experiment(again, run.experiment_id)
        commands.gc(again)
    assert os.path.getsize(store.path) < before / 2


def test_ids_of_collected_rows_are_not_given_again(store: Store, run: RunRow, submit: Callable[..., int]) -> None:
    commands.finish_run(store, run.id, run.claim, "done")
    commands.delete_experiment(store, run.experiment_id)
    commands.gc(store)
    experiment = submit({"full": []})
    assert experiment > run.experiment_id
    assert queries.runs(store)[0].id > run.id


def test_collecting_goes_on_where_a_crash_left_off(store: Store, run: RunRow) -> None:
    """Files are removed before rows: without its folder a run is collected all the same."""
    commands.finish_run(store, run.id, run.claim, "done")
    commands.delete_experiment(store, run.experiment_id)
    assert not (store.folder / run.folder).exists()
    assert commands.gc(store).runs == 1
