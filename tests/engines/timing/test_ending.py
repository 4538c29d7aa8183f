"""How a session ends before its time, when an experiment is due, and who may time at once."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from engines import programmes, timetable, timing
from engines.store import commands, queries
from tests.engines.timing.finished import FAKE, experiment, turns

pytestmark = pytest.mark.slow


def test_without_the_baseline_there_is_nothing(store):
    number = experiment(store, {"full": {"fails": "no"}, "fast": {"rate": 200.0}})
    assert timing.measure(store, number) == "failed"
    assert queries.rounds(store, number) == []
    assert "baseline" in queries.rounds(store, number, status="failed")[0].facts["reason"]
    lonely = experiment(store, {"full": {"rate": 1.0}, "broken": None})
    assert timing.measure(store, lonely) == "failed"


def test_stop_ends_it_as_cancelled_between_turns(store):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    heard = []
    answer = timing.measure(store, number, tell=heard.append, stop=lambda: "Enough." if "Round 2." in heard else "")
    assert answer == "cancelled"
    assert len(turns(store)) == 6
    assert turns(store, training=True) == []
    assert {row.facts["reason"] for row in queries.rounds(store, number, status="cancelled")} == {"Enough."}
    assert not timetable.is_due(store, number)


def test_postponed_it_is_made_anew_as_a_whole(store):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    # The finished models are timed, their training is not.
    assert timing.measure(store, number, stop=lambda: timetable.POSTPONED if queries.rounds(store, number) else "") == "cancelled"
    assert (len(turns(store)), turns(store, training=True)) == (18, [])
    assert {row.status for row in queries.rounds(store, number, status=None)} == {"lost"}
    assert timetable.is_due(store, number)
    assert timing.measure(store, number) == "done"
    assert sorted(row.quantity for row in queries.rounds(store, number)) == sorted((*programmes.INFERENCE, *programmes.TRAINING))


def test_one_session_at_a_time_on_a_machine(store, tmp_path):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    heard = []
    with timing._machine_lock(lambda: "", lambda sentence: None, "experiment 7 of elsewhere.sqlite"):
        answer = timing.measure(store, number, tell=heard.append, stop=lambda: "No longer wanted." if heard else "")
    assert answer == "cancelled"
    assert heard[-1] == "Cancelled. No longer wanted."
    assert heard[0] == "Another timing session runs on this machine; waiting for experiment 7 of elsewhere.sqlite."
    assert queries.rounds(store, number, status=None) == []
    assert timing.measure(store, number) == "done"


def test_an_experiment_is_due_once_when_all_runs_have_ended(store):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    assert timetable.is_due(store, number)
    timing.measure(store, number)
    assert not timetable.is_due(store, number)
    assert not timetable.is_due(store, experiment(store, {"full": {"rate": 100.0}, "broken": None}))
    assert not timetable.is_due(store, experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}}, smoke=True))
    unwanted = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}}, measure={"rounds": 0})
    assert not timetable.is_due(store, unwanted)
    rows = [{"name": name, "plan": {}, "baseline": name == "a", "needs": []} for name in "ab"]
    queued = commands.submit(store, name="", digest="", text="", document={}, folder="", variants=rows, seeds=[0], smoke=False)
    assert not timetable.is_due(store, queued)


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
def test_nothing_is_timed_after_a_run_was_cancelled_or_the_experiment_deleted(store, how):
    rows = [{"name": name, "plan": {}, "baseline": name == "a", "needs": []} for name in "abc"]
    number = commands.submit(store, name="", digest="", text="", document={}, folder="", variants=rows, seeds=[0], smoke=False)
    supervisor = commands.register_supervisor(store, "host", 1, 1.0)
    for _ in "ab":
        run = commands.claim_run(store, supervisor)
        folder = Path(store.folder) / "runs" / str(run.id) / "model"
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text("{}", encoding="utf-8")
        commands.finish_run(store, run.id, run.claim, "done")
    last = queries.runs(store, number)[-1]
    if how == "cancelled":
        commands.request_cancel(store, [last.id])
    else:
        run = commands.claim_run(store, supervisor)
        commands.finish_run(store, run.id, run.claim, "failed")
        assert timetable.is_due(store, number)
        commands.delete_experiment(store, number)
    assert not timetable.is_due(store, number)


def test_a_session_ends_when_its_experiment_is_deleted(store):
    number = experiment(store, {"full": {"rate": 100.0, "noise": 0.3}, "fast": {"rate": 200.0}})

    def tell(sentence):
        if sentence.startswith("Round 2"):
            commands.delete_experiment(store, number)

    assert timing.measure(store, number, tell=tell) == "cancelled"
    assert len(turns(store)) == 6


def test_a_session_is_called_off_through_the_store(store):
    number = experiment(store, {"full": {"rate": 100.0, "noise": 0.3}, "fast": {"rate": 200.0}}, targets=[{"name": "a"}, {"name": "b"}])

    def tell(sentence):
        if sentence.startswith("Round 2"):
            assert queries.rounds(store, number, status="running")
            timetable.cancel(store, number, "Enough.")

    assert timing.measure(store, number, tell=tell) == "cancelled"
    assert {turn[3] for turn in turns(store)} == {'{"name": "a"}'}
    assert {row.facts["reason"] for row in queries.rounds(store, number, status="cancelled")} == {"Enough."}
    assert not timetable.is_pending(store, number)


def test_what_is_called_off_before_it_began_does_not_begin(store):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    heard = []

    def call_off():
        if heard:
            timetable.cancel(store, number, "Enough.")
        return ""

    with ThreadPoolExecutor(1) as pool:
        with timing._machine_lock(lambda: "", lambda sentence: None, "experiment 7 of elsewhere.sqlite"):
            waiting = pool.submit(timing.measure, store, number, tell=heard.append, stop=call_off)
            while not queries.rounds(store, number, status="cancelled"):
                assert not waiting.done()
        assert waiting.result() == "cancelled"
    assert not (Path(store.folder) / "turns.log").exists()


def test_a_session_whose_process_died_is_lost_and_due_again(store):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    gone = {"host": platform.node(), "pid": 2**22 + 1, "started": 1.0}
    complete = commands.open_timing(store, number, "", "speed/infer_tokens_per_s", {"unit": "tokens/s", "better": "higher", "process": gone})
    commands.close_timing(store, complete, "done")
    commands.open_timing(store, number, "", "latency/p50_ms", {"unit": "ms", "better": "lower", "process": gone})
    assert not timetable.is_due(store, number)
    timetable.close_abandoned(store, number)
    assert len(queries.rounds(store, number, status="lost")) == 2
    assert timetable.is_due(store, number)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", ["terminated", "orphaned", "postponed"])
def test_a_process_that_has_to_go_says_so_and_leaves_no_child(store, store_url, tmp_path, monkeypatch, how):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}}, measure={"rounds": 100_000})
    code = (
        "import sys, subprocess, pathlib; from engines import interleaving, stopwatches, timing, timinglock; popen = subprocess.Popen\n"
        f"stopwatches.subprocess.Popen = lambda c, **o: popen([c[0], {str(FAKE)!r}, *c[3:]], **o)\n"
        f"timinglock.user_folder = lambda: pathlib.Path({str(tmp_path / 'user')!r}); interleaving.Session._is_known_closely = lambda self: False\n"
        f"sys.exit(timing.main(['--store', {store_url!r}, '--experiment', '{number}', '--attached']))\n"
    )
    monkeypatch.undo()
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "Round 1" not in process.stderr.readline():
        assert process.poll() is None
    if how == "terminated":
        os.kill(process.pid, signal.SIGTERM)
    else:
        if how == "postponed":
            process.stdin.write(f"{timetable.POSTPONED}\n")
        process.stdin.close()
    process.stderr.read()
    assert process.wait(30) == 130
    reason, status = {
        "terminated": ("Told to end (SIGTERM).", "cancelled"),
        "orphaned": (timetable.ORPHANED, "lost"),
        "postponed": (timetable.POSTPONED, "lost"),
    }[how]
    assert queries.rounds(store, number, status=status)[0].facts["reason"] == reason
    assert timetable.is_due(store, number) == (how != "terminated")
    assert not any(psutil.pid_exists(int(turn[0])) for turn in turns(store))
