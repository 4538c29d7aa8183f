"""Interleaved rounds: who takes part, in what order, when it ends, and what happens when a process dies or somebody says stop."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from engines import interleaving, programmes, stopwatches, timetable, timing, timinglock
from engines.comparison import compare
from engines.store import commands, queries
from engines.store.database import Store
from tests.engines.wire import Wire

pytestmark = pytest.mark.slow

FAKE = Path(__file__).with_name("obedient_stopwatch.py")


@pytest.fixture(autouse=True)
def obedient(monkeypatch, tmp_path):
    """Stopwatches are stand-ins, and the lock of the machine lies in the test's own folder."""
    popen = subprocess.Popen

    def start(command, **options):
        assert command[1:3] == ["-m", stopwatches.MODULE]
        return popen([command[0], str(FAKE), *command[3:]], **options)

    monkeypatch.setattr(stopwatches.subprocess, "Popen", start)
    monkeypatch.setattr(timinglock, "user_folder", lambda: tmp_path / "user")
    monkeypatch.setattr(timing, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(interleaving, "IDLE_SECONDS", 0.0)


@pytest.fixture
def store(store_url):
    opened = Store.open(store_url)
    yield opened
    opened.close()


def experiment(store, models, *, seeds=(0,), smoke=False, measure=None, targets=()):
    """A finished experiment whose variants are stand-in models; None: the variant's runs fail. The first is the baseline."""
    plan = {"measure": {"margin": 0.02, "rounds": 8, "seconds": 0.05} | (measure or {}), "targets": list(targets)}
    rows = [{"name": name, "plan": plan, "baseline": n == 0, "needs": []} for n, name in enumerate(models)]
    number = commands.submit(store, name="Which?", digest="", text="", document={}, folder="", variants=rows, seeds=list(seeds), smoke=smoke)
    supervisor = commands.register_supervisor(store, "host", 1, 1.0)
    while (run := commands.claim_run(store, supervisor)) is not None:
        figures = models[run.variant]
        if figures is not None:
            folder = Path(store.folder) / "runs" / str(run.id) / "model"
            folder.mkdir(parents=True)
            (folder / "plan.json").write_text("{}", encoding="utf-8")
            record = {"log": str(Path(store.folder) / "turns.log")} | figures
            (folder / "figures.json").write_text(json.dumps(record), encoding="utf-8")
        commands.finish_run(store, run.id, run.claim, "failed" if figures is None else "done")
    return number


def turns(store, training=False):
    """[process, run, repeats by work, target or teachers] of each turn of finished models (or of training) in order."""
    lines = [line.split(maxsplit=3) for line in (Path(store.folder) / "turns.log").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if (programmes.TRAIN in line[2]) == training]


def session(store, number, key="latency/p50_ms"):
    """The session of one quantity that is done."""
    (found,) = (row for row in queries.rounds(store, number) if row.quantity == key)
    return found


def test_every_process_has_one_turn_a_round_in_changing_order(store):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0, "noise": 0.5}, "slow": {"rate": 50.0}})
    assert timing.measure(store, number) == "done"
    for training in (False, True):
        made = turns(store, training)
        assert len(made) == 8 * 4
        rounds = [tuple(turn[0] for turn in made[n : n + 4]) for n in range(0, len(made), 4)]
        assert all(len(set(each)) == 4 for each in rounds)
        runs = [tuple(turn[1] for turn in made[n : n + 4]) for n in range(0, len(made), 4)]
        assert len(set(runs)) > 1
        # Launched anew four times, all at once: 2, 2, 2, 1 and 1 rounds.
        assert [len({frozenset(each) for each in rounds[a:b]}) for a, b in ((0, 2), (2, 4), (4, 6), (0, 8))] == [1, 1, 1, 5]
    facts = session(store, number).facts
    assert (facts["launches"], facts["rounds"], len(facts["states"])) == ([0, 2, 4, 6, 7], 8, 8)
    assert facts["allocator"]["kept"] == stopwatches.STEADY_ALLOCATOR
    # A window of 50 ms: 5 passes of 10 ms, 50 steps of 1 ms; half a window of training: 5 updates of 5 ms.
    assert {turn[2] for turn in turns(store)} == {'{"speed/infer_tokens_per_s":5,"steps":50}'}
    assert {turn[2] for turn in turns(store, training=True)} == {'{"speed/train_tokens_per_s":5}'}


def test_the_file_says_how_often_processes_are_launched_and_how_long_it_may_take(store):
    number = experiment(store, {"full": {"rate": 100.0}, "shaky": {"rate": 90.0, "noise": 0.5}}, measure={"launches": 2})
    assert timing.measure(store, number) == "done"
    facts = session(store, number).facts
    assert facts["launches"] == [0, 4]
    assert facts["ended"] == interleaving.ALL_MADE
    hurried = experiment(store, {"full": {"rate": 100.0}, "shaky": {"rate": 90.0, "noise": 0.5}}, measure={"limit": 1e-6})
    assert timing.measure(store, hurried) == "done"
    facts = session(store, hurried).facts
    assert (facts["rounds"], facts["ended"]) == (1, "0 s were spent (measure.limit).")


def test_further_batch_sizes_have_a_key_each(store):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}}, measure={"batches": [1, 16]})
    assert timing.measure(store, number) == "done"
    results = compare(store, [number])["variants"]["fast"]["results"]
    for size in (1, 16):
        assert results[f"speed/infer_tokens_per_s/batch_{size}"]["verdict"] == "better"
        assert f'"speed/infer_tokens_per_s/batch_{size}":13' in turns(store)[0][2]  # half a window of 50 ms, passes of 2 ms


def test_the_ratios_reach_the_comparison(store):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}, "same": {"rate": 100.5}})
    assert timing.measure(store, number) == "done"
    found = queries.rounds(store, number)
    assert {row.quantity for row in found} == {*programmes.INFERENCE, *programmes.TRAINING}
    assert all(row.control for row in found)
    assert found[0].facts["ended"] == "Every ratio is known as closely as the margin."
    compared = compare(store, [number])
    for key in ("speed/infer_tokens_per_s", "speed/generate_tokens_per_s", "speed/train_tokens_per_s"):
        verdicts = {name: variant["results"][key]["verdict"] for name, variant in compared["variants"].items() if name != "full"}
        assert verdicts == {"fast": "better", "same": "no practical difference"}
        assert compared["control"][key]["ratio"] == pytest.approx(1.0)
    assert compared["variants"]["fast"]["results"]["latency/p50_ms"]["ratio"] == pytest.approx(0.5)


def test_it_stops_early_only_when_every_ratio_is_close(store):
    close = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    timing.measure(store, close)
    assert queries.rounds(store, close)[0].facts["rounds"] == 6
    wide = experiment(store, {"full": {"rate": 100.0}, "noisy": {"rate": 200.0, "noise": 0.3}})
    timing.measure(store, wide)
    assert queries.rounds(store, wide)[0].facts["rounds"] == 8


def test_training_is_timed_with_the_seed_and_the_teachers_of_the_run(store):
    plan = {"measure": {"margin": 0.02, "rounds": 6, "seconds": 0.05}}
    rows = [{"name": name, "plan": plan, "baseline": name == "full", "needs": ["full"] if name == "student" else []} for name in ("full", "student")]
    number = commands.submit(store, name="", digest="", text="", document={}, folder="", variants=rows, seeds=[4], smoke=False)
    supervisor = commands.register_supervisor(store, "host", 1, 1.0)
    while (run := commands.claim_run(store, supervisor)) is not None:
        folder = Path(store.folder) / "runs" / str(run.id) / "model"
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text("{}", encoding="utf-8")
        (folder / "figures.json").write_text(json.dumps({"log": str(Path(store.folder) / "turns.log"), "rate": 1.0}), encoding="utf-8")
        commands.finish_run(store, run.id, run.claim, "done")
    full, student = queries.runs(store, number)
    assert [entrant.seed for entrant in timetable.entrants(store, number)] == [4, 4]
    timing.measure(store, number)
    teachers = {turn[1]: json.loads(turn[3]) for turn in turns(store, training=True)}
    assert teachers == {str(full.id): {}, str(student.id): {"full": str(Path(store.folder) / "runs" / str(full.id) / "model")}}


def test_the_lowest_seed_of_the_baseline_is_timed(store):
    number = experiment(store, {"full": {"rate": 1.0}, "fast": {"rate": 2.0}}, seeds=(5, 3, 4))
    seeds = {run.id: run.seed for run in queries.runs(store, number)}
    assert [seeds[int(each.folder.parent.name)] for each in timetable.entrants(store, number)] == [3, 3]


def test_each_target_has_its_own_session(store):
    targets = [{"name": "one core", "threads": 1}, {"name": "two cores", "threads": 2}]
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}}, targets=targets)
    assert timing.measure(store, number) == "done"
    found = {(row.target, row.quantity) for row in queries.rounds(store, number)}
    assert {target for target, quantity in found if quantity != programmes.TRAIN} == {"one core", "two cores"}
    assert [target for target, quantity in found if quantity == programmes.TRAIN] == [""]  # on the device of the runs, once
    assert {json.loads(turn[3])["threads"] for turn in turns(store)} == {1, 2}
    assert len(turns(store)) == 2 * len(turns(store, training=True))


def test_each_process_is_told_the_runtime_of_its_target(store):
    targets = [{"name": "graph", "runtime": "onnxruntime"}, {"name": "plain", "runtime": "torch"}]
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}}, targets=targets)
    assert timing.measure(store, number) == "done"
    assert {row.target for row in queries.rounds(store, number) if row.quantity != programmes.TRAIN} == {"graph", "plain"}
    told = [json.loads(turn[3]) for turn in turns(store)]
    assert {(target["name"], target["runtime"]) for target in told} == {("graph", "onnxruntime"), ("plain", "torch")}


def test_what_cannot_run_on_the_target_is_left_out_with_its_sentence(store):
    number = experiment(store, {"full": {"rate": 100.0}, "gpu": {"fails": "torch finds no such device here"}, "fast": {"rate": 200.0}})
    assert timing.measure(store, number) == "done"
    found = queries.rounds(store, number)[0]
    assert found.facts["absent"] == {"gpu": "torch finds no such device here"}
    assert compare(store, [number])["variants"]["gpu"]["notes"] == [
        "Not timed. torch finds no such device here", "Training is not timed in interleaved rounds. torch finds no such device here",
    ]  # fmt: skip
    assert len(found.values) == 2


def test_the_state_of_the_machine_is_recorded_before_each_round(store, monkeypatch):
    seen = iter(range(1000))
    monkeypatch.setattr(interleaving.Observer, "state", lambda self, seconds, own: {"machine_percent": float(next(seen))})
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0, "noise": 0.5}})
    assert timing.measure(store, number) == "done"
    assert session(store, number).facts["states"] == [{"round": n, "machine_percent": float(n)} for n in range(8)]
    found = compare(store, [number])
    assert found["conditions"]["load"]["machine_percent"] == [0.0, 8.0, 15.0]
    assert any("Other work used up to 15% of the machine" in sentence for sentence in found["warnings"])


def many(count, **figures):
    return {"full": {"rate": 100.0}} | {f"v{n}": {"rate": 100.0 * n} | figures for n in range(1, count + 1)}


def test_many_variants_are_timed_in_blocks_with_the_baseline_and_its_control(store):
    number = experiment(store, many(6))
    assert timing.measure(store, number) == "done"
    found = session(store, number)
    control = "full (again)"
    assert found.facts["blocks"] == [["full", control, "v1", "v2", "v3"], ["full", control, "v4", "v5", "v6"]]
    assert found.facts["launches"] == [0, 2, 4, 6, 8, 10]  # three launches a block, since every ratio is known closely
    rows = {name: sorted(found.values[variant.id]) for variant in queries.variants(store, number) for name in [variant.name]}
    assert rows["full"] == sorted(found.control) == list(range(12))
    assert (rows["v1"], rows["v6"]) == (list(range(6)), list(range(6, 12)))
    results = {name: variant["results"]["latency/p50_ms"] for name, variant in compare(store, [number])["variants"].items()}
    assert [results[f"v{n}"]["ratio"] for n in range(1, 7)] == pytest.approx([1 / n for n in range(1, 7)])
    assert all(results[f"v{n}"]["pairs"] == 6 for n in range(1, 7))


def test_fewer_are_alive_where_memory_is_short(store, monkeypatch):
    sizes = iter([1000.0] * 100)
    monkeypatch.setattr(interleaving.probes, "peak_resident_mib", lambda pid: next(sizes))
    monkeypatch.setattr(interleaving, "free_memory_mib", lambda: 2600.0)
    number = experiment(store, many(3))
    assert timing.measure(store, number) == "done"
    found = session(store, number).facts
    assert found["blocks"] == [["full", "full (again)", name] for name in ("v1", "v2", "v3")]
    assert found["memory"] == {"process_mib": 1000.0, "free_mib": 2600.0}
    assert max(len({turn[0] for turn in turns(store)[n : n + 3]}) for n in range(0, 18, 3)) == 3


@pytest.mark.parametrize("most", [1, 2, 3])
def test_where_memory_runs_out_on_loading_fewer_are_loaded_together(store, most):
    number = experiment(store, many(2, most_alive=most) | {"full": {"rate": 100.0, "most_alive": most}})
    assert timing.measure(store, number) == "done"
    found = session(store, number).facts
    alive = {1: [["full", "full (again)", "v1", "v2"]], 2: [["full", "full (again)"], ["full", "v1"], ["full", "v2"]]}
    assert found["blocks"] == alive.get(most, [["full", "full (again)", "v1"], ["full", "full (again)", "v2"]])
    assert ("alternated" in found) == (most == 1)
    assert found["absent"] == {}
    compared = compare(store, [number])
    assert compared["variants"]["v2"]["results"]["latency/p50_ms"]["ratio"] == pytest.approx(0.5)
    assert compared["control"]["latency/p50_ms"]["ratio"] == pytest.approx(1.0)
    assert compared["control"]["latency/p50_ms"]["n"] >= 6
    assert any("loaded one at a time" in sentence for sentence in compared["warnings"]) == (most == 1)


def test_rounds_of_two_experiments_are_no_pairs(store):
    first = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    second = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0}})
    for number in (first, second):
        timing.measure(store, number)
    variants = compare(store, [first, second])["variants"]
    own, other = (variants[name]["results"]["latency/p50_ms"] for name in ("fast (Which? #1)", "fast (Which? #2)"))
    assert (own["verdict"], other["verdict"]) == ("better", "not enough data")


def test_a_session_is_seen_from_elsewhere_while_it_lasts(store):
    assert not timinglock.is_timing()
    with timing._machine_lock(lambda: "", lambda sentence: None):
        assert timinglock.is_timing()
    assert not timinglock.is_timing()


def test_a_process_that_dies_leaves_the_others(store):
    number = experiment(store, {"full": {"rate": 100.0}, "mortal": {"rate": 100.0, "dies_at_turn": 2}, "fast": {"rate": 200.0}})
    assert timing.measure(store, number) == "done"
    found = queries.rounds(store, number)[0]
    assert "ended with code 9" in found.facts["absent"]["mortal"]
    assert sorted(len(values) for values in found.values.values()) == [1, 6, 6]


def test_all_are_loaded_before_one_is_warmed_and_the_control_has_the_windows_of_the_baseline(store, monkeypatch):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0, "noise": 0.5}}, measure={"rounds": 5})

    def change(wire, watch, request, answer):
        for work in answer.get("seconds", {}):
            answer["seconds"][work] /= len(wire.events)

    wire = Wire(monkeypatch, change)
    assert timing.measure(store, number) == "done"
    said = [what for what in wire.events if what != "turn"]
    # The very first baseline is alone: its memory tells how many fit.
    first, later = ["loaded", "warm", "loaded", "loaded", "warm", "warm"], ["loaded"] * 3 + ["warm"] * 3
    assert said == (first + later * 4) * 2
    plans = session(store, number).facts["plans"]
    assert plans["full"]["seconds"] != plans["full (again)"]["seconds"]
    assert plans["full"]["counts"] == plans["full (again)"]["counts"] != plans["fast"]["counts"]


def test_a_work_that_does_not_warm_in_a_later_launch_is_not_asked_of_it(store, monkeypatch):
    number = experiment(store, {"full": {"rate": 100.0}, "fast": {"rate": 200.0, "noise": 0.5}}, measure={"batches": [16], "rounds": 5})
    large = "speed/infer_tokens_per_s/batch_16"

    def change(wire, watch, request, answer):
        if large in answer.get("seconds", {}) and len(wire.watches) > 3:
            del answer["seconds"][large]
            answer["absent"] = {large: "Not enough memory."}

    Wire(monkeypatch, change)
    heard = []
    assert timing.measure(store, number, tell=heard.append) == "done"
    assert [large in turn[2] for turn in turns(store)] == [True] * 3 + [False] * 12
    assert sorted(session(store, number, large).control) == [0]
    assert sorted(session(store, number).control) == list(range(5))
    assert f"fast: {large} is not timed in this launch. Not enough memory." in heard


def test_who_is_left_out_is_gone_before_the_next_turn(store, monkeypatch):
    number = experiment(store, {"full": {"rate": 100.0}, "stuck": {"rate": 100.0}, "fast": {"rate": 200.0}})
    folder = next(each.folder for each in timetable.entrants(store, number) if each.name == "stuck")
    stuck, beside = [], []

    def change(wire, watch, request, answer):
        beside.extend(other._process.poll() for other in stuck)
        if "turn" in request and str(folder) in watch._process.args and "--model" in watch._process.args and not stuck:
            stuck.append(watch)
            raise stopwatches.StopwatchError("It gave no answer.")

    Wire(monkeypatch, change)
    assert timing.measure(store, number) == "done"
    assert session(store, number).facts["absent"] == {"stuck": "It gave no answer."}
    assert set(beside) == {0}


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
    with timing._machine_lock(lambda: "", lambda sentence: None):
        answer = timing.measure(store, number, tell=heard.append, stop=lambda: "No longer wanted." if heard else "")
    assert answer == "cancelled"
    assert heard[-1] == "Cancelled. No longer wanted."
    assert heard[0].startswith("Another timing session runs on this machine; waiting for")
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
        with timing._machine_lock(lambda: "", lambda sentence: None):
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
