"""Several processes and threads on one store: each run claimed once, nothing lost, no "database is locked"."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engines.store import commands, failures, queries
from engines.store.commands import SeriesBatch
from engines.store.database import Store, StoreError
from engines.store.queries import RunRow
from tests.engines.store import contender

pytestmark = pytest.mark.slow

CONTENDER = Path(contender.__file__)
ROOT = CONTENDER.parents[3]


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(CONTENDER), *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def finish(process: subprocess.Popen[str]) -> list[int]:
    output, errors = process.communicate("go\n", timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    return [int(line) for line in output.split()]


def test_processes_that_claim_at_once_share_the_runs(store: Store, submit: Callable[..., int]) -> None:
    experiment = submit({"a": [], "b": [], "c": []}, seeds=list(range(5)))
    found: dict[int, list[int]] = {}
    processes = [start(store.url, f"host{n}") for n in range(4)]
    threads = [threading.Thread(target=lambda n=n, p=p: found.update({n: finish(p)})) for n, p in enumerate(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    rows = queries.runs(store, experiment)
    assert sorted(run for runs in found.values() for run in runs) == [row.id for row in rows]
    assert {(row.status, row.attempt) for row in rows} == {("done", 1)}
    for row in rows:
        (series,) = queries.series(store, row.id)
        np.testing.assert_array_equal(queries.points(store, series.id)[2], np.arange(contender.POINTS))


def test_processes_that_open_a_new_store_at_once_make_it_once(store_url: str) -> None:
    processes = [start(store_url, f"host{n}") for n in range(3)]
    threads = [threading.Thread(target=finish, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.returncode for process in processes] == [0] * 3
    with Store.open(store_url) as store:
        assert sorted(row.host for row in queries.supervisors(store)) == [f"host{n}" for n in range(3)]


def test_threads_write_and_read_one_store(store: Store, run: RunRow) -> None:
    errors: list[BaseException] = []

    def write(key: str) -> None:
        try:
            for step in range(40):
                commands.append_points(store, run.id, run.claim, [SeriesBatch(key, "", "none", [step], [0.0], [1.0])])
                assert next(row for row in queries.series(store, run.id) if row.key == key).count == step + 1
                store.changed()
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=write, args=(key,)) for key in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [row.count for row in queries.series(store, run.id)] == [40] * 4


def test_readers_do_not_wait_for_a_writer(store: Store, run: RunRow) -> None:
    assert store.path is not None
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE run SET phase = 'model'")
    assert queries.run(store, run.id).phase == "starting"
    with Store.open(store.url) as again:
        assert queries.run(again, run.id).phase == "starting"
    other.execute("COMMIT")
    assert queries.run(store, run.id).phase == "model"
    other.close()


def test_a_write_that_never_gets_its_turn_ends_in_a_sentence(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "BUSY_SECONDS", 0.05)
    with Store.open(store_url) as store:
        assert store.path is not None
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"Another process has been writing to the store .*store\.sqlite for over"):
            commands.put_machine(store, "m", {})
        other.execute("COMMIT")
        other.close()
        assert commands.put_machine(store, "m", {}) == 1, "the store goes on"
