"""The processes of a session: how many are alive at once, how they are warmed, and what happens when one dies."""

from __future__ import annotations

import pytest

from engines import crew, stopwatches, timetable, timing
from engines.comparison import compare
from engines.store import queries
from tests.engines.timing.finished import experiment, session, turns
from tests.engines.wire import Wire

pytestmark = pytest.mark.slow


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
    monkeypatch.setattr(crew.probes, "peak_resident_mib", lambda pid: next(sizes))
    monkeypatch.setattr(crew, "free_memory_mib", lambda: 2600.0)
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
