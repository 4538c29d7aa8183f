"""The queue: runs start in the order a person gives them, and none while it is paused, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from engines.store import commands, queries, schema, tables
from engines.store.database import Store
from tests.engines.store.test_contention import finish, start

pytestmark = pytest.mark.slow

Submit = Callable[..., int]


def order(store: Store) -> list[int]:
    return [row.id for row in queries.queue(store)]


def test_runs_are_moved_and_keep_their_order_among_themselves(store: Store, submit: Submit, supervisor: int) -> None:
    submit({"a": [], "b": [], "c": [], "d": []})
    a, b, c, d = order(store)
    assert commands.move_runs(store, [c, d], "first") == [c, d, a, b] == order(store)
    assert commands.move_runs(store, [c], "down") == [d, c, a, b]
    assert commands.move_runs(store, [a, b], "up") == [d, a, b, c]
    assert commands.move_runs(store, [d], "up") == [d, a, b, c], "the first stays the first"
    assert commands.move_runs(store, [d, 999], "last") == [a, b, c, d] == order(store)
    commands.move_runs(store, [d], "first")
    first = commands.claim_run(store, supervisor)
    assert first is not None
    assert first.id == d
    assert commands.move_runs(store, [d], "last") == [a, b, c], "a run that has begun is not in the queue"
    with pytest.raises(ValueError, match='"sideways"'):
        commands.move_runs(store, [a], "sideways")  # type: ignore[arg-type]


def test_what_is_queued_later_comes_behind_what_was_moved(store: Store, submit: Submit, supervisor: int) -> None:
    submit({"a": [], "b": []})
    a, b = order(store)
    commands.move_runs(store, [b], "first")
    submit({"c": []})
    c = order(store)[-1]
    commands.request_cancel(store, [b])
    assert commands.requeue(store, [b]) == [b]
    assert order(store) == [a, c, b]
    taken = [commands.claim_run(store, supervisor) for _ in range(3)]
    assert [row.id for row in taken if row] == [a, c, b]


def test_nothing_is_claimed_while_the_queue_is_paused(store: Store, submit: Submit, supervisor: int) -> None:
    submit({"a": [], "b": []})
    assert queries.paused(store) is None
    begun = commands.claim_run(store, supervisor)
    assert begun is not None
    commands.set_paused(store, True)
    since = queries.paused(store)
    assert since is not None
    commands.set_paused(store, True)
    assert queries.paused(store) == since, "paused since the first time"
    assert commands.claim_run(store, supervisor) is None
    commands.set_status(store, begun.id, begun.claim, "running")  # What has begun goes on.
    commands.set_paused(store, False)
    assert queries.paused(store) is None
    assert commands.claim_run(store, supervisor) is not None


def test_processes_that_claim_and_one_that_moves_lose_no_run(store: Store, submit: Submit) -> None:
    submit({name: [] for name in "abcdef"}, seeds=[0, 1])
    queued = order(store)
    claimers = [start(store.url, f"host{n}") for n in range(2)]
    for process in claimers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    while left := order(store):
        commands.move_runs(store, [left[-1]], "first")
    found = [run for process in claimers for run in finish(process)]
    assert sorted(found) == queued
    assert {row.attempt for row in queries.runs(store)} == {1}


def test_an_older_store_keeps_the_order_in_which_its_runs_were_queued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "second.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with monkeypatch.context() as earlier, engine.begin() as connection:
        earlier.setattr(tables, "VERSION", "0002")
        schema.upgrade(connection)
        connection.exec_driver_sql("INSERT INTO experiment (id, document, created) VALUES (1, '{}', 0)")
        connection.exec_driver_sql("INSERT INTO variant (id, experiment_id, position, plan, baseline) VALUES (1, 1, 0, '{}', 1)")
        for number, queued in ((1, 30.0), (2, 10.0), (3, 20.0), (4, 20.0)):
            connection.exec_driver_sql(
                "INSERT INTO run (id, experiment_id, variant_id, seed, status, smoke, attempt, needs, queued, progress) "
                f"VALUES ({number}, 1, 1, 0, 'queued', 0, 1, '[]', {queued}, '{{}}')"
            )
    engine.dispose()
    with Store.open(str(path)) as store:
        assert [row.id for row in queries.queue(store)] == [2, 3, 4, 1]
        assert queries.paused(store) is None
