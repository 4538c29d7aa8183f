"""Interleaved rounds: who takes part, in what order, on which target, when enough is known, and what reaches the comparison."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines import crew, interleaving, programmes, stopwatches, timetable, timing, timinglock
from engines.comparison import compare
from engines.store import commands, queries
from tests.engines.timing.finished import experiment, session, turns

pytestmark = pytest.mark.slow


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
    # As many as a verdict needs are made in any case.
    assert (facts["rounds"], facts["ended"]) == (6, "The 0 s of its rounds were spent (measure.limit).")
    results = compare(store, [hurried])["variants"]["shaky"]["results"]
    assert results["latency/p50_ms"]["ratio_low"] is not None


def test_loading_takes_nothing_from_the_rounds(store, monkeypatch):
    clock = {"now": 0.0}
    loaded, ask = stopwatches.Stopwatch.loaded, stopwatches.Stopwatch.ask

    def slow_to_load(watch):
        clock["now"] += 1000.0
        return loaded(watch)

    def slow_to_warm(watch, **asked):
        clock["now"] += 100.0 if "warm" in asked else 1.0
        return ask(watch, **asked)

    monkeypatch.setattr(crew, "time", SimpleNamespace(monotonic=lambda: clock["now"]))
    monkeypatch.setattr(stopwatches.Stopwatch, "loaded", slow_to_load)
    monkeypatch.setattr(stopwatches.Stopwatch, "ask", slow_to_warm)
    for room in (crew.MOST_ALIVE, 1):
        monkeypatch.setattr(crew, "MOST_ALIVE", room)
        number = experiment(store, {"full": {"rate": 100.0}, "shaky": {"rate": 90.0, "noise": 0.5}}, measure={"launches": 4, "limit": 100})
        assert timing.measure(store, number) == "done"
        facts = session(store, number).facts
        assert (facts["rounds"], facts["ended"]) == (8, interleaving.ALL_MADE)
        # Three processes (the baseline twice) in each of four launches, a turn each in eight rounds.
        assert facts["spent"] == {"loading_s": 12_000.0, "warm_up_s": 1200.0, "rounds_s": 24.0}


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
    with timing._machine_lock(lambda: "", lambda sentence: None, "experiment 7 of elsewhere.sqlite"):
        assert timinglock.is_timing()
        assert timinglock.who_times() == "experiment 7 of elsewhere.sqlite"
    assert not timinglock.is_timing()
    assert timinglock.who_times() == ""
    # Who died while it was timing has not taken its words back.
    timinglock.lock_path().with_suffix(".holder").write_text("the profile of run r3", encoding="utf-8")
    assert timinglock.who_times() == ""
