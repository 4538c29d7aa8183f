"""Experiments are timed once, after their runs, one at a time; who stops one, and what a dead process or supervisor left."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from engines import probes, timekeeping, timetable
from engines.console import running
from engines.following import Interruption
from engines.store import commands, queries
from tests.engines.processes import until

WAITS = "import sys; sys.stdin.read()"
DIES = "import os; os._exit(9)"


@pytest.fixture
def started(monkeypatch):
    """What was started, as experiment numbers; `code` says what the stand-in for the timing process does."""
    popen, found = subprocess.Popen, []

    class Stand(list):
        code = WAITS

    found = Stand()

    def start(command, **options):
        found.append(int(command[command.index("--experiment") + 1]))
        return popen([sys.executable, "-c", found.code], **options)

    monkeypatch.setattr(timekeeping.subprocess, "Popen", start)
    return found


@pytest.fixture
def keeper(store):
    made = timekeeping.Timekeeper(store)
    yield made
    made.close()


def experiment(store, *, finish=True):
    rows = [{"name": name, "plan": {}, "baseline": name == "a", "needs": []} for name in "ab"]
    number = commands.submit(store, name="", digest="", text="", document={}, folder="", variants=rows, seeds=[0], smoke=False)
    supervisor = commands.register_supervisor(store, platform.node(), os.getpid(), probes.started(os.getpid()))
    while finish and (run := commands.claim_run(store, supervisor)) is not None:
        model = Path(store.folder) / "runs" / str(run.id) / "model"
        model.mkdir(parents=True)
        (model / "plan.json").write_text("{}", encoding="utf-8")
        commands.finish_run(store, run.id, run.claim, "done")
    return number


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(keeper):
    """Wait for the end of the process in hand."""
    keeper._process.wait(10)
    assert not keeper.busy


def test_one_session_at_a_time_the_newest_experiment_first(store, keeper, started):
    first, second = experiment(store), experiment(store)
    waiting = experiment(store, finish=False)
    for each in (first, second, waiting, first):
        keeper.consider(each)
    assert keeper.pending
    keeper.start_next()
    keeper.start_next()
    assert started == [second]
    assert keeper.busy
    keeper._close_pipe()
    gone(keeper)
    keeper.start_next()
    assert started == [second, first]
    keeper._close_pipe()
    gone(keeper)
    keeper.start_next()
    assert started == [second, first]
    assert not keeper.pending


def test_nobody_waits_for_a_process_that_died_without_a_word(store, keeper, started):
    started.code = DIES
    number = experiment(store)
    keeper.consider(number)
    keeper.start_next()
    gone(keeper)
    assert not timetable.is_pending(store, number)
    assert "ended with code 9" in queries.rounds(store, number, status="cancelled")[0].facts["reason"]


def test_a_new_supervisor_closes_what_was_left_and_times_nothing_that_it_did_not_run(store, keeper, started):
    untouched, number = experiment(store), experiment(store)
    process = {"host": platform.node(), "pid": 2**22 + 1, "started": 1.0}
    commands.open_timing(store, number, "", "latency/p50_ms", {"unit": "ms", "better": "lower", "process": process})
    keeper.take_over()
    assert not keeper.pending
    assert queries.rounds(store, number, status="lost")
    assert timetable.is_due(store, untouched)
    for row in queries.supervisors(store):
        commands.end_supervisor(store, row.id)
    heard = []
    assert timekeeping.wait_until_timed(store, untouched, Interruption(), tell=heard.append)
    assert "not timed" in heard[0]


def test_new_runs_postpone_a_session_which_is_then_made_anew(store, keeper, started):
    number = experiment(store)
    keeper.consider(number)
    keeper.start_next()
    keeper.postpone()
    gone(keeper)
    assert keeper.pending
    keeper.start_next()
    assert started == [number, number]
    assert keeper.busy


@pytest.mark.parametrize("how", ["end", "postpone"])
def test_a_session_that_does_not_stop_is_killed_with_its_models(store, keeper, started, monkeypatch, tmp_path, how):
    monkeypatch.setattr(timekeeping, "LEAVE_SECONDS", 0.0)
    started.code = (
        "import subprocess, sys, time, pathlib; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(tmp_path / 'draft')!r}).write_text(str(child.pid)); pathlib.Path({str(tmp_path / 'draft')!r})"
        f".rename({str(tmp_path / 'child')!r}); time.sleep(600)"
    )
    number = experiment(store)
    keeper.consider(number)
    keeper.start_next()
    commands.open_timing(store, number, "", "latency/p50_ms", {"unit": "ms", "better": "lower"})
    until((tmp_path / "child").exists, "its model")
    assert keeper.busy
    getattr(keeper, how)()
    until(lambda: not keeper.busy, "its end", 10)
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    until(lambda: not alive(child), "the end of its model", 10)
    assert queries.rounds(store, number, status="lost")
    assert keeper.pending == (how == "postpone")


def test_a_process_that_cannot_be_started_is_said(store, keeper, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no more processes")

    monkeypatch.setattr(timekeeping.subprocess, "Popen", refuse)
    number = experiment(store)
    keeper.consider(number)
    keeper.start_next()
    assert not keeper.pending
    assert "no more processes" in queries.rounds(store, number, status="cancelled")[0].facts["reason"]


class Client:
    """An interruption that is pressed after so many waits, and does something at each."""

    def __init__(self, press_after=10**9, act=lambda: None):
        self.left, self.act, self.count = press_after, act, 0

    def wait(self, seconds):
        self.act()
        self.left -= 1
        self.count = int(self.left <= 0)


@pytest.fixture(autouse=True)
def served(monkeypatch):
    """A supervisor is there."""
    monkeypatch.setattr(timekeeping, "holder", lambda url: object())


def test_a_client_waits_until_the_session_is_over(store):
    number = experiment(store)
    heard = []

    def act():
        if not queries.rounds(store, number, status=None):
            commands.open_timing(store, number, "", "latency/p50_ms", {"unit": "ms", "better": "lower"})
        else:
            timetable.close(store, number, "done", "")

    assert timekeeping.wait_until_timed(store, number, Client(act=act), tell=heard.append)
    assert len(heard) == 1
    assert timekeeping.wait_until_timed(store, number, Interruption(), tell=heard.append)
    assert len(heard) == 1


def test_a_client_says_what_is_timed_before_its_own_session(store, monkeypatch):
    number = experiment(store)
    other = "experiment 7 of elsewhere.sqlite"
    timed = [other, other, "", timetable.named(store, number)]
    monkeypatch.setattr(timekeeping, "who_times", lambda: timed.pop(0))
    heard = []

    def act():
        if len(timed) == 1:
            commands.open_timing(store, number, "", "latency/p50_ms", {"unit": "ms", "better": "lower"})
        elif not timed:
            timetable.close(store, number, "done", "")

    assert timekeeping.wait_until_timed(store, number, Client(act=act), tell=heard.append)
    assert [sentence for sentence in heard if "Waits for" in sentence] == [f"Waits for {other}, which is being timed on this machine."]


def test_an_interruption_calls_the_session_off(store):
    number = experiment(store)
    assert not timekeeping.wait_until_timed(store, number, Client(press_after=2))
    assert not timetable.is_due(store, number)
    assert timekeeping.wait_until_timed(store, number, Interruption())


def test_ctrl_c_that_comes_with_the_end_of_the_last_run_leaves_the_timing_out(store, monkeypatch):
    number = experiment(store)
    rows = queries.runs(store, number)

    def follow(store, runs, interruption, *arguments, **options):
        interruption.press()
        return rows

    monkeypatch.setattr(running, "follow", follow)
    assert running.watch(store, [row.id for row in rows], quiet=True, jobs=None) == running.INTERRUPTED
    assert not timetable.is_due(store, number)


def test_a_supervisor_that_died_is_replaced(store, monkeypatch):
    number = experiment(store)
    monkeypatch.setattr(timekeeping, "holder", lambda url: None)
    replaced = []
    monkeypatch.setattr(timekeeping, "ensure_supervisor", lambda url, jobs: replaced.append(jobs))
    timekeeping.wait_until_timed(store, number, Client(press_after=2), jobs=3)
    assert replaced == [3]
