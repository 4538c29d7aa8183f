"""Studies in the store: begun, ended once, listed, deleted."""

from __future__ import annotations

import pytest

from engines.store import commands, queries
from engines.store.database import Store, StoreError


@pytest.fixture
def number(store: Store) -> int:
    machine = commands.put_machine(store, "f00", {"cpu": "one"})
    return commands.begin_study(store, "studies/matmul", {"step": 16}, machine, "here", 4711, 1.5)


def test_a_study_begins_and_ends_with_its_result(store: Store, number: int) -> None:
    row = queries.study(store, number)
    assert (row.study, row.parameters, row.status, row.result, row.ended) == ("studies/matmul", {"step": 16}, "running", {}, None)
    assert (row.host, row.pid, row.pid_started) == ("here", 4711, 1.5)
    assert commands.finish_study(store, number, "done", result={"findings": ["So it is."], "low": float("nan")})
    row = queries.study(store, number)
    assert (row.status, row.reason, row.result) == ("done", "", {"findings": ["So it is."], "low": None})
    assert row.ended is not None
    assert row.ended >= row.created


def test_the_first_ending_stands(store: Store, number: int) -> None:
    assert commands.finish_study(store, number, "cancelled", reason="Interrupted.")
    assert not commands.finish_study(store, number, "done", result={"findings": []})
    row = queries.study(store, number)
    assert (row.status, row.reason, row.result) == ("cancelled", "Interrupted.", {})
    with pytest.raises(ValueError, match='cannot end as "running"'):
        commands.finish_study(store, number, "running")


def test_listing_leaves_results_out(store: Store, number: int) -> None:
    other = commands.begin_study(store, "studies/threads", {}, None, "here", 1, 1.0)
    commands.finish_study(store, number, "done", result={"findings": ["x"]})
    assert [(row.id, row.study, row.result) for row in queries.studies(store)] == [(number, "studies/matmul", {}), (other, "studies/threads", {})]
    assert [row.id for row in queries.studies(store, "studies/threads")] == [other]


def test_only_what_has_ended_is_deleted(store: Store, number: int) -> None:
    with pytest.raises(StoreError, match="stop it first"):
        commands.delete_study(store, number)
    commands.finish_study(store, number, "failed", reason="It broke.")
    commands.delete_study(store, number)
    assert queries.studies(store) == []
    with pytest.raises(StoreError, match=f"no study {number}"):
        queries.study(store, number)
    again = commands.begin_study(store, "studies/matmul", {}, None, "here", 1, 1.0)
    assert again > number, "numbers are not given twice"
