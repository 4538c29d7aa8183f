"""What timing sessions do to a comparison: rounds in place of separate timings, control, targets with their limits, what was left out."""

from __future__ import annotations

import pytest

from engines.comparison import compare
from engines.store import commands, queries
from engines.store.commands import ResultRow, RoundRow
from tests.engines.compared import submit, time_rounds, work


def test_interleaved_rounds_take_the_place_of_separate_timings(store):
    experiment = submit(store, seeds=(0,))
    work(store)
    time_rounds(store, experiment)
    found = compare(store, [experiment])
    speed = found["variants"]["small"]["results"]["speed/infer_tokens_per_s"]
    assert speed["interleaved"]
    assert (speed["n"], speed["verdict"]) == (10, "better")
    assert speed["ratio"] == pytest.approx(2.0)
    assert speed["points"] == {"0": 18000.0}
    assert found["control"]["speed/infer_tokens_per_s"]["ratio"] == pytest.approx(1.0)
    assert found["variants"]["small"]["results"]["speed/train_tokens_per_s"]["verdict"] == "not enough data"


def test_a_session_that_was_not_finished_is_not_judged(store):
    experiment = submit(store, seeds=(0,))
    work(store)
    time_rounds(store, experiment, status="cancelled")
    assert not compare(store, [experiment])["variants"]["small"]["results"]["speed/infer_tokens_per_s"]["interleaved"]


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
def test_what_a_session_left_out_is_noted_with_its_reason(store, status):
    experiment = submit(store, variants=("full", "small", "small: steps"), seeds=(0,))
    work(store)
    facts = {"unit": "ms", "better": "lower", "absent": {"small": "No graph.", "small: steps": "Too large.", "full: steps": "It grows."}}
    for quantity in ("latency/p50_ms", "latency/p95_ms"):
        commands.close_timing(store, commands.open_timing(store, experiment, "graph", quantity, facts), status)
    notes = {name: variant["notes"] for name, variant in compare(store, [experiment])["variants"].items()}
    if status == "cancelled":
        assert notes == {"full": [], "small": [], "small: steps": []}
    else:
        assert notes["full"] == ['Not timed on target "graph": steps. It grows.']
        assert 'Not timed on target "graph". No graph.' in notes["small"]
        assert notes["small: steps"] == ['Not timed on target "graph". Too large.']


def test_a_variant_that_dropped_out_midway_has_ended_and_is_not_called_untimed(store):
    experiment = submit(store, seeds=(0,))
    work(store)
    facts = {"unit": "ms", "better": "lower", "absent": {"small": "It ended with code 9."}}
    full, small = queries.variants(store, experiment)
    sessions = [commands.open_timing(store, experiment, "graph", quantity, facts) for quantity in ("latency/p50_ms", "speed/infer_tokens_per_s")]
    for n in range(6):  # the other quantity has none of its figures
        commands.put_rounds(store, sessions[0], [RoundRow(full.id, n, 0, 2.0), *([RoundRow(small.id, n, 1, 1.0)] if n < 4 else [])])
    for session in sessions:
        commands.close_timing(store, session, "done")
    found = compare(store, [experiment])["variants"]["small"]
    assert found["results"]["latency/p50_ms@graph"]["interleaved"]
    assert [note for note in found["notes"] if "imed" in note or "Timing" in note] == [
        'Timing on target "graph" ended after 4 rounds. It ended with code 9.'
    ]


def test_rounds_on_a_target_are_a_quantity_of_their_own(store):
    experiment = submit(store, seeds=(0,))
    work(store, extra=lambda run: [ResultRow(key="latency/p50_ms", value=2.0, unit="ms", better="lower", target="one core")])
    time_rounds(store, experiment, target="one core")
    results = compare(store, [experiment])["variants"]["small"]["results"]
    assert results["speed/infer_tokens_per_s@one core"]["interleaved"]
    assert not results["speed/infer_tokens_per_s"]["interleaved"]
    assert results["latency/p50_ms@one core"]["value"] == 2.0


def test_limits_of_targets_are_held_against_what_was_measured_there(store):
    def limited(run):
        return [ResultRow(key="latency/p95_ms", value=2.0 if run.variant == "full" else 3.0, unit="ms", better="lower", target="one core")]

    experiment = submit(store, seeds=(0,), targets=[{"name": "one core", "device": "cpu", "max_memory": 10.0, "max_latency_ms": 2.5}])
    assert compare(store, [experiment])["variants"]["full"]["notes"] == []  # nothing has run: nothing is missed
    work(store, extra=limited)
    variants = compare(store, [experiment])["variants"]
    assert variants["full"]["violations"] == []
    assert variants["small"]["violations"] == ['95th percentile of latency 3 ms is over max_latency_ms = 2.5 of target "one core".']
    assert variants["full"]["notes"] == ['max_memory = 10 of target "one core" is not checked: its peak memory was not measured.']


def test_a_control_that_differs_from_itself_widens_the_margin_and_is_said(store):
    experiment = submit(store, seeds=(0,))
    work(store)
    time_rounds(store, experiment, scale=1 / 1.05, control=1.1)
    found = compare(store, [experiment])
    assert any("beyond the margin of 2.0% (inference speed 1.100): this timing is unstable" in sentence for sentence in found["warnings"])
    warnings = compare(store, [experiment], margin=0.2)["warnings"]
    assert any("differs from itself (inference speed 1.100 to 1.100)" in sentence for sentence in warnings)
    # 5% slower clears the margin of 2%, but not the 10% that the baseline differs from itself.
    assert found["variants"]["small"]["results"]["speed/infer_tokens_per_s"]["verdict"] == "no practical difference"


def test_other_work_beside_the_timing_is_said(store):
    experiment = submit(store, seeds=(0,))
    work(store)
    time_rounds(store, experiment, load=60.0)
    assert any(sentence.startswith("Other work used up to 60% of the machine") for sentence in compare(store, [experiment])["warnings"])


def test_threads_that_differ_are_said(store):
    experiment = submit(store)
    work(store, extra=lambda run: [ResultRow(key="latency/p50_ms", value=1.0, better="lower", detail={"device": "cpu", "threads": len(run.variant)})])
    found = compare(store, [experiment])
    assert any("Other device or threads" in sentence for sentence in found["warnings"])
