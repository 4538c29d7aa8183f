"""Deaths of every kind, with real processes: what is stored stays, the truth is written, the queue goes on, nothing is left behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from engines import custody, launching, probes
from engines.launching import Presence, ensure_supervisor
from engines.store import commands, queries
from engines.store.database import Store
from tests.engines.processes import SCRIPTED, ended, loss_points, nothing_left, processes_of, queue, supervisor_gone, under_way, until

pytestmark = [pytest.mark.skipif(os.name != "posix", reason="signals"), pytest.mark.slow]


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with nothing_left(store_url):
        opened = Store.open(store_url)
        yield opened
        opened.close()


def freeze_between_writes(store: Store, pid: int) -> None:
    """Stop a process at a moment when it does not hold the store's write lock."""

    def frozen() -> bool:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the stop")
        probe = sqlite3.connect(store.path or "", timeout=1, isolation_level=None)
        try:
            probe.execute("BEGIN IMMEDIATE")
            probe.execute("ROLLBACK")
        except sqlite3.OperationalError:
            os.kill(pid, signal.SIGCONT)
            return False
        finally:
            probe.close()
        return True

    until(frozen, "a stop between two writes")


def serve(store: Store) -> launching.Holder:
    return ensure_supervisor(store.url, environment=SCRIPTED)


# --- The worker dies ------------------------------------------------------------------------------------------------------------------------


def test_a_killed_worker_is_named_its_points_stay_and_the_queue_goes_on(store: Store) -> None:
    victim, following = queue(store, [{"train": -1}], [{"train": 2}])
    serve(store)
    row = under_way(store, victim, points=20)
    os.kill(row.pid, signal.SIGKILL)
    dead = ended(store, victim, 5)
    assert dead.status == "failed"
    assert "signal 9 (SIGKILL)" in dead.reason
    assert dead.reason.endswith("by another process.")  # The advice follows it as a sentence.
    assert "out-of-memory" not in dead.reason
    assert dead.advice
    assert loss_points(store, victim) >= 20
    assert ended(store, following).status == "done"


@pytest.mark.parametrize(("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGABRT, "SIGABRT"), (signal.SIGTERM, "SIGTERM")])
def test_signals_are_named(store: Store, number: int, name: str) -> None:
    (run,) = queue(store, [{"train": 1}, {"signal": int(number)}])
    serve(store)
    row = ended(store, run)
    assert row.status == "failed"
    assert name in row.reason


def test_a_worker_that_ends_without_a_word_is_failed_with_its_last_words(store: Store) -> None:
    (run,) = queue(store, [{"say": "ImportError: no module named thing"}, {"exit": 3}])
    serve(store)
    row = ended(store, run)
    assert row.status == "failed"
    assert "exit code 3" in row.reason
    assert "no module named thing" in row.reason


def test_the_kernels_memory_killer_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter of the kernel rises between start and death; the counter is the only thing that is not real here."""
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(custody, "process_environment", lambda: dict(os.environ))
    monkeypatch.setattr(custody.subprocess, "Popen", _starting([sys.executable, "-c", script], custody.subprocess.Popen))
    kept = custody.Custody(store.url, 1, "claim", store.folder / "runs" / "1")
    until(lambda: kept.exit_code is not None, "its death")
    before = kept.memory_kills_before
    monkeypatch.setattr(probes, "out_of_memory_kills", lambda: before + 1)
    reason, advice = custody.explain_death(kept, kept.exit_code or 0)
    assert reason.startswith("killed by signal 9 (SIGKILL); the kernel's out-of-memory killer did it")
    assert "smaller batch" in advice


def _starting(command: list[str], popen: type[subprocess.Popen[bytes]]):  # type: ignore[no-untyped-def]
    return lambda ignored, **options: popen(command, **options)


# --- The supervisor dies --------------------------------------------------------------------------------------------------------------------


def test_a_killed_supervisor_takes_its_worker_along_and_the_next_one_goes_on(store: Store) -> None:
    first, second = queue(store, [{"train": -1}], [{"train": 2}])
    killed = serve(store)
    row = under_way(store, first)
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: not probes.is_alive(row.pid, row.pid_started), "the worker's end at the end of its pipe", 5)
    stored = loss_points(store, first)
    assert queries.run(store, first).status == "running"
    successor = serve(store)
    assert successor.pid != killed.pid
    lost = ended(store, first)
    assert lost.status == "lost"
    assert lost.reason
    assert loss_points(store, first) == stored
    assert ended(store, second).status == "done"


def test_a_worker_that_survives_its_supervisor_is_ended_before_anything_else(store: Store) -> None:
    """SIGSTOP keeps the worker from seeing the end of its pipe, maybe in the middle of a write: the next supervisor has to kill it first."""
    first, second = queue(store, [{"train": -1}], [{"train": 2}])
    killed = serve(store)
    row = under_way(store, first)
    os.kill(row.pid, signal.SIGSTOP)
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: supervisor_gone(store.url), "the supervisor's death")
    serve(store)
    assert ended(store, first).status == "lost"
    assert not probes.is_alive(row.pid, row.pid_started)
    assert ended(store, second).status == "done"


def test_a_stranger_with_the_recorded_pid_is_left_alone() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not custody.end_leftover(stranger.pid, probes.started(stranger.pid) - 100, grace=0.1)
        assert stranger.poll() is None
        began = probes.started(stranger.pid)
        assert custody.end_leftover(stranger.pid, began, grace=0.1)
        assert not probes.is_alive(stranger.pid, began)
    finally:
        stranger.kill()
        stranger.communicate()


def test_a_requeued_run_is_not_written_by_its_former_worker(store: Store) -> None:
    """Two supervisors in turn, the old worker still frozen: its claim is worth nothing when it wakes."""
    (run,) = queue(store, [{"train": -1}])
    killed = serve(store)
    old = under_way(store, run)
    freeze_between_writes(store, old.pid)
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: supervisor_gone(store.url), "the supervisor's death")
    commands.mark_lost(store, run, "by hand")
    commands.requeue(store, [run])
    serve(store)
    new = under_way(store, run)
    assert new.claim != old.claim
    os.kill(old.pid, signal.SIGCONT)
    until(lambda: not probes.is_alive(old.pid, old.pid_started), "the end of the former worker", 10)
    assert queries.run(store, run).claim == new.claim
    assert probes.is_alive(new.pid, new.pid_started)
    commands.request_cancel(store, [run])
    assert ended(store, run).status == "cancelled"


# --- Clients die ----------------------------------------------------------------------------------------------------------------------------


def test_a_killed_client_changes_nothing_for_the_run(store: Store) -> None:
    (run,) = queue(store, [{"train": 100}])
    client = subprocess.Popen([sys.executable, "-c", _CLIENT, store.url], env=os.environ | SCRIPTED)
    under_way(store, run)
    assert launching.clients(store.url) == 1
    client.kill()
    client.wait()
    assert ended(store, run).status == "done"
    assert loss_points(store, run) == 100
    until(lambda: not processes_of(store.url), "the leaving of all", 15)


_CLIENT = """
import sys, time
from engines.launching import Presence, ensure_supervisor
with Presence(sys.argv[1]):
    ensure_supervisor(sys.argv[1])
    time.sleep(600)
"""


def test_a_supervisor_holds_no_pipe_of_its_starter(store_url: str) -> None:
    """A pipeline such as `workbench run | cat` ends with the client, not with the supervisor."""
    Store.open(store_url).close()
    code = "import sys; from engines.launching import ensure_supervisor; print(ensure_supervisor(sys.argv[1]).pid)"
    with nothing_left(store_url), Presence(store_url):
        done = subprocess.run([sys.executable, "-c", code, store_url], capture_output=True, text=True, timeout=20)
        assert probes.is_alive(int(done.stdout), probes.started(int(done.stdout)))


# --- One store, several processes -----------------------------------------------------------------------------------------------------------


def test_two_processes_write_one_store_without_hindering_each_other(store: Store) -> None:
    runs = queue(store, [{"train": 40}], [{"train": 40}])
    ensure_supervisor(store.url, jobs=2, environment=SCRIPTED)
    others = queue(store, *[[{"train": 1}] for _ in range(10)])
    for run in [*runs, *others]:
        assert ended(store, run, 60).status == "done"
    for run in runs:
        assert loss_points(store, run) == 40
    assert "locked" not in launching.log_path(store.url).read_text()
