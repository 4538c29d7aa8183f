"""The supervisor with scripted workers: order, cancelling, samples, its own cost. Real processes; deaths are in test_failures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from engines import launching, probes, timinglock
from engines.launching import Presence, ensure_supervisor
from engines.store import commands, queries
from engines.store.database import Store, StoreError
from engines.store.rows import RunRow
from engines.supervisor import Supervisor
from tests.engines.processes import SCRIPTED, ended, loss_points, nothing_left, processes_of, queue, supervisor_gone, under_way, until

pytestmark = pytest.mark.slow


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with nothing_left(store_url):
        opened = Store.open(store_url)
        yield opened
        opened.close()


def serve(store: Store, *, jobs: int = 1) -> launching.Holder:
    return ensure_supervisor(store.url, jobs=jobs, environment=SCRIPTED)


def test_runs_are_done_in_order_and_the_supervisor_leaves(store: Store) -> None:
    first, second = queue(store, [{"train": 3}], [{"train": 3}])
    serve(store)
    assert ended(store, first).status == "done"
    assert ended(store, second).status == "done"
    assert queries.run(store, first).ended <= queries.run(store, second).started + 0.5
    assert loss_points(store, first) == 3
    until(lambda: supervisor_gone(store.url), "its leaving", 15)
    assert all(row.ended for row in queries.supervisors(store))


def test_a_needed_run_comes_first_and_its_failure_is_passed_on(store: Store) -> None:
    pupil, teacher = queue(store, [{"train": 1}], [{"train": 1}], needs={0: [1]})
    lost_pupil, broken = queue(store, [{"train": 1}], [{"raise": "no luck"}], needs={0: [1]})
    serve(store)
    assert ended(store, pupil).status == "done"
    assert queries.run(store, teacher).ended <= queries.run(store, pupil).started
    assert ended(store, broken).reason == "no luck"
    assert ended(store, lost_pupil).status == "failed"


def test_jobs_run_side_by_side(store: Store) -> None:
    first, second = queue(store, [{"train": -1}], [{"train": -1}])
    serve(store, jobs=2)
    under_way(store, first)
    under_way(store, second)
    commands.request_cancel(store, [first, second])
    assert {ended(store, run).status for run in (first, second)} == {"cancelled"}


def spares(url: str) -> list[int]:
    return [process.pid for process in processes_of(url) if "--spare" in process.cmdline() and "engines.serving" not in process.cmdline()]


def test_a_spare_worker_takes_the_first_run_and_another_waits_when_all_is_done(store: Store) -> None:
    with Presence(store.url):
        ensure_supervisor(store.url, environment=SCRIPTED, spare=True)
        until(lambda: spares(store.url), "a spare worker")
        (waiting,) = spares(store.url)
        first, second = queue(store, [{"train": 3}], [{"train": 3}, {"exit": 3}])
        ended(store, first)
        assert queries.run(store, first).pid == waiting
        assert ended(store, second).status == "failed"
        assert "exit code 3" in queries.run(store, second).reason
        assert queries.run(store, second).pid != waiting
        until(lambda: spares(store.url), "another spare worker")
        # One that died is no loss.
        psutil.Process(spares(store.url)[0]).kill()
        (third,) = queue(store, [{"train": 3}])
        assert ended(store, third).status == "done"
    until(lambda: supervisor_gone(store.url), "its leaving", 15)
    assert not processes_of(store.url)


def test_no_spare_worker_waits_beside_what_is_timed_or_without_a_client(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Supervisor(store, module=SCRIPTED["WORKBENCH_WORKER_MODULE"], spare=True)
    try:
        made._keep_spare()
        assert made.spares.waiting is None  # no client
        with Presence(store.url):
            made._keep_spare()
            assert made.spares.waiting is not None
            assert made.spares.waiting.waits
            monkeypatch.setattr("engines.supervisor.is_timing", lambda: True)
            made._keep_spare()
            assert made.spares.waiting is None
            monkeypatch.undo()
            monkeypatch.setattr("engines.spares.NEEDS_MIB", 1e12)
            made._keep_spare()
            assert made.spares.waiting is None
    finally:
        made.spares.close()


def test_cancelling_a_queued_and_a_running_run(store: Store) -> None:
    running, waiting = queue(store, [{"train": -1}], [{"train": -1}])
    serve(store)
    under_way(store, running)
    commands.request_cancel(store, [waiting])
    assert queries.run(store, waiting).status == "cancelled"
    commands.request_cancel(store, [running])
    row = ended(store, running, 5)
    assert (row.status, row.reason) == ("cancelled", "Stopped on request.")


def test_a_worker_that_does_not_listen_is_terminated_and_one_that_resists_is_killed(store: Store) -> None:
    deaf, stubborn = queue(store, [{"deaf": True}, {"train": -1}], [{"deaf": True, "stubborn": True}, {"train": -1}])
    serve(store, jobs=2)
    under_way(store, deaf)
    under_way(store, stubborn)
    commands.request_cancel(store, [deaf, stubborn])
    first = ended(store, deaf, 9)
    assert first.status == "cancelled"
    assert "SIGTERM" in first.reason
    second = ended(store, stubborn, 15)
    assert second.status == "cancelled"
    assert "SIGKILL" in second.reason


def test_memory_and_load_are_sampled_from_outside(store: Store) -> None:
    (run,) = queue(store, [{"train": -1}])
    serve(store)
    under_way(store, run)

    def sampled() -> bool:
        return any(row.key == "memory/host_mib" and row.count >= 4 for row in queries.series(store, run))

    until(sampled, "four samples of memory")
    found = {row.key: row for row in queries.series(store, run)}
    assert {"memory/host_mib", "load/cpu_percent", "load/machine_percent"} <= set(found)
    steps, times, values = queries.points(store, found["memory/host_mib"].id)
    pid = queries.run(store, run).pid
    assert abs(values[-1] - probes.resident_mib(pid)) < 30
    assert np.all(np.diff(times) > 0.2)
    assert np.all(np.abs(times - time.time()) < 60)
    assert np.all(np.diff(steps) >= 0)
    until(lambda: queries.run(store, run).progress.get("supervisor_cpu_s", 0) > 0, "the supervisor's own processor time")
    assert queries.run(store, run).progress["supervisor_cpu_s"] < 5
    commands.request_cancel(store, [run])
    ended(store, run)


def test_the_machine_is_recorded_with_the_run(store: Store) -> None:
    (run,) = queue(store, [{"train": 1}])
    serve(store)
    row = ended(store, run)
    assert row.machine_id is not None
    facts = queries.machine(store, row.machine_id).facts
    assert facts["cores"] == probes.usable_cores()
    assert "torch" in facts["versions"]


def test_words_of_a_worker_are_in_its_log(store: Store) -> None:
    (run,) = queue(store, [{"say": "hello from the worker"}])
    serve(store)
    ended(store, run)
    assert "hello from the worker" in (store.folder / "runs" / str(run) / "worker.log").read_text()


def test_it_is_small_and_idle_while_a_run_is_live(store: Store) -> None:
    (run,) = queue(store, [{"train": -1}])
    with Presence(store.url):
        supervisor = psutil.Process(serve(store).pid)
        under_way(store, run)
        before, began = supervisor.cpu_times(), time.monotonic()
        until(lambda: time.monotonic() - began > 4, "4 s of work")
        after, seconds = supervisor.cpu_times(), time.monotonic() - began
        used = (after.user + after.system) - (before.user + before.system)
        commands.request_cancel(store, [run])
        assert supervisor.memory_info().rss / probes.MIB < 120
        # On a quiet machine it takes less than 0.02 of a core (a benchmark tells); a busy one makes the same work take longer.
        assert used / seconds < 0.1
        ended(store, run)


@pytest.fixture
def supervisor(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """One in this process, whose ticks the test makes."""
    for name, value in SCRIPTED.items():
        monkeypatch.setenv(name, value)
    made = Supervisor(store, module=SCRIPTED["WORKBENCH_WORKER_MODULE"])
    yield made
    for watch in made.watches:
        watch.custody.kill()
        watch.custody.wait(10)
    made.timekeeper.close()


def ticks_until(supervisor: Supervisor, store: Store, run: int) -> RunRow:
    def over() -> bool:
        supervisor._next_heartbeat = 0.0
        with suppress(StoreError):
            supervisor._tick()
        return queries.run(store, run).over

    until(over, f"the end of run {run}")
    return queries.run(store, run)


def refusing_once(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:
    real, calls = getattr(module, name), []

    def refuse(*arguments: object, **options: object) -> object:
        calls.append(name)
        if len(calls) == 1:
            raise StoreError("The disk is full.")
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, refuse)


def test_a_run_whose_failure_to_start_could_not_be_written_ends_at_the_next_tick(
    store: Store, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = queue(store, [{"train": 1}])

    def fail(*arguments: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr("engines.supervisor.Custody", fail)
    refusing_once(monkeypatch, commands, "finish_run")
    with pytest.raises(StoreError):
        supervisor._tick()
    assert queries.run(store, run).status == "starting"
    row = ticks_until(supervisor, store, run)
    assert row.status == "failed"
    assert "could not be started" in row.reason


def test_a_store_that_refuses_the_plan_leaves_no_run_behind(store: Store, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = queue(store, [{"train": 1}], [{"train": 1}])
    refusing_once(monkeypatch, queries, "plan")
    assert ticks_until(supervisor, store, first).status == "failed"
    assert ticks_until(supervisor, store, second).status == "done"


def test_no_run_starts_beside_the_timing_session_of_another_store(
    store: Store, supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timinglock, "user_folder", lambda: tmp_path / "user")
    (run,) = queue(store, [{"train": 1}])
    with timinglock.machine_to_ourselves(1.0, pytest.fail, "experiment 7 of elsewhere.sqlite"):
        for _ in range(3):
            supervisor._tick()
        assert queries.run(store, run).status == "queued"
        assert [event.text for event in queries.events(store, run)] == [
            "It waits for experiment 7 of elsewhere.sqlite, which is being timed on this machine."
        ]
    assert ticks_until(supervisor, store, run).status == "done"


def test_a_queued_run_postpones_the_timing_session(store: Store, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    busy = type(supervisor.timekeeper).busy
    monkeypatch.setattr(type(supervisor.timekeeper), "busy", property(lambda self: not asked))
    monkeypatch.setattr(supervisor.timekeeper, "postpone", lambda: asked.append("postpone"))
    supervisor._tick()
    assert asked == []
    (run,) = queue(store, [{"train": 1}])
    supervisor._tick()
    assert asked == ["postpone"]
    monkeypatch.setattr(type(supervisor.timekeeper), "busy", busy)
    assert ticks_until(supervisor, store, run).status == "done"


def test_a_worker_that_cannot_be_looked_at_is_ended_and_its_run_failed(store: Store, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = queue(store, [{"train": -1}])
    pids = []

    def gone(pid: int) -> psutil.Process:
        pids.append(pid)
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr("engines.custody.psutil.Process", gone)
    supervisor._tick()
    row = queries.run(store, run)
    assert (row.status, supervisor.watches) == ("failed", [])
    assert "cannot be looked at" in row.reason
    assert not psutil.pid_exists(pids[0])


def test_told_to_end_it_stops_its_workers_cleanly(store: Store) -> None:
    (run,) = queue(store, [{"train": -1}])
    found = serve(store)
    under_way(store, run)
    psutil.Process(found.pid).terminate()
    assert ended(store, run, 10).status == "cancelled"
    until(lambda: supervisor_gone(store.url), "its leaving", 10)


def test_a_paused_queue_starts_nothing_and_needs_nobody_until_it_goes_on(store: Store) -> None:
    first, second = queue(store, [{"train": -1}], [{"train": 3}])
    serve(store)
    under_way(store, first)
    commands.set_paused(store, True)
    commands.request_cancel(store, [first])
    assert ended(store, first).status == "cancelled"
    until(lambda: supervisor_gone(store.url), "its leaving", 15)
    assert queries.run(store, second).status == "queued"
    commands.set_paused(store, False)
    serve(store)
    assert ended(store, second).status == "done"
