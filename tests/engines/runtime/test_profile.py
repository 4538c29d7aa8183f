"""The profile of a rehearsal: names and sums of layers, work by module against formulas, phases, and a trace that loads."""

from __future__ import annotations

import gzip
import json
import time

import pytest
import torch
from torch import nn

from engines import peaks, probes
from engines.profiles import doubts
from engines.runtime import layertimes, stepwork
from engines.runtime.attribution import OUTSIDE
from engines.runtime.calls import Calls
from engines.runtime.phases import PHASES, Timed, time_steps
from engines.runtime.profile import measure
from engines.runtime.rehearsal import Rehearsal
from tests.engines.runtime import session as small

KINDS = ("TanhBackward0", "AddmmBackward0")
TRANSFORMER = {"mixer": {"id": "attention/full", "heads": 2}, "feedforward": {"id": "feedforward/dense"}, "repeat": 2, "residual": None, "norm": None}


def rehearsal(*techniques: str, layers=None) -> Rehearsal:
    plan = small.plan([{"id": "optimization/adam"}, *({"id": id} for id in techniques)])
    if layers:
        plan["model"]["layers"] = layers
    return Rehearsal(plan, text=small.text())


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    trace = tmp_path_factory.mktemp("profile") / "trace.json.gz"
    made = rehearsal(layers=[TRANSFORMER])
    return made, measure(made, 6, trace, time.perf_counter()), trace


# --- Which module an operation belongs to ------------------------------------------------------------------------------------------------------


def test_nodes_of_backward_belong_to_the_module_that_made_them():
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.Tanh()))
    calls = Calls(model)
    with calls.followed():
        y = model[0](torch.ones(1, 3))  # a call of a part alone
        z = model[1](y).relu()
    found = []
    node = z.grad_fn
    while node is not None:
        found.append(f"{node.name()} {calls.of_node(node._sequence_nr())}")
        node = next((before for before, _ in node.next_functions if before is not None and before.name() in KINDS), None)
    assert found == ["ReluBackward0 (outside)", "TanhBackward0 1.1", "AddmmBackward0 1.0", "AddmmBackward0 0"]
    assert calls.of_node(2**64 - 1) == OUTSIDE


def test_an_exception_leaves_no_module_at_work():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    model = nn.Sequential(nn.Linear(2, 2), Broken())
    calls = Calls(model)
    with calls.followed():
        with pytest.raises(ValueError):
            model(torch.ones(1, 2))
        assert calls.current == OUTSIDE


# --- Phases -----------------------------------------------------------------------------------------------------------------------------------


def test_phases_add_up_and_the_slow_one_is_found():
    made = rehearsal("memory/gradient_accumulation")
    for _ in range(3):
        made.step()
    update = made.pipeline.update

    def slow() -> None:
        time.sleep(0.05)
        update()

    made.pipeline.update = slow
    before = made.pipeline.loss_of
    found = time_steps(made, 5, 60.0)
    assert len(found.steps) == 5
    assert all(set(step) == set(PHASES) for step in found.steps)
    facts = found.facts()
    assert facts["each"] == pytest.approx([sum(step.values()) for step in found.steps])
    assert facts["median"] == sorted(facts["each"])[2]
    assert facts["optimizer"] >= 50
    assert all(facts[phase] > 0 for phase in PHASES)
    assert made.pipeline.loss_of is before


def test_a_step_that_is_preempted_in_one_phase_says_nothing_of_that_phase():
    """Every step but two is interrupted in a phase of its own: whichever is in the middle, its own interruption is not the typical one."""
    calm = {"data": 0.2, "forward": 4.0, "backward": 8.0, "optimizer": 2.0, "other": 0.3}
    steps = [dict(calm) for _ in range(7)]
    for step, (phase, late) in zip(steps, [("data", 10.0), ("forward", 9.0), ("backward", 20.0), ("optimizer", 30.0), ("other", 11.0)], strict=False):
        step[phase] += late
    assert sorted(map(sum, (step.values() for step in steps)))[3] == pytest.approx(sum(steps[0].values()))  # the middle step waited for data
    facts = Timed(steps).facts()
    assert {phase: facts[phase] for phase in PHASES} == calm
    assert facts["median"] == pytest.approx(24.5)
    assert facts["quartiles"]["data"] == [0.2, 0.2]
    assert facts["quartiles"]["step"] == pytest.approx([19.0, 30.0])
    assert doubts({"step_ms": facts}) == ["The middle half of the steps took from 19.0 to 30.0 ms."]


def test_slow_steps_are_fewer():
    made = rehearsal()
    made.step()
    assert len(time_steps(made, 50, 0.0).steps) == 3


# --- Work -------------------------------------------------------------------------------------------------------------------------------------


def test_work_by_module_is_the_formula_and_adds_up_to_the_whole():
    made = rehearsal(layers=[TRANSFORMER])
    for _ in range(3):
        made.step()
    found = stepwork.of_step(made)
    tokens, width, vocabulary = 8 * 12, 24, small.SIZE
    # forward 2 N D E, and twice that backward; a query's input has a gradient too
    assert found.modules["layers.0.mixer.query"].flops == 3 * 2 * tokens * width * width
    assert found.modules["head.output"].flops == 3 * 2 * tokens * width * vocabulary
    assert sum(work.flops for work in found.modules.values()) == found.whole.flops
    assert sum(work.bytes for work in found.modules.values()) == found.whole.bytes
    assert sum(work.flops for work in found.operators.values()) == found.whole.flops
    assert found.modules[OUTSIDE].flops == 0
    assert found.calls == sum(found.started.values()) > 100
    assert found.dtype == "float32"


def test_mixed_precision_is_seen_in_the_number_format():
    made = rehearsal("precision/mixed", layers=[TRANSFORMER])
    for _ in range(3):
        made.step()
    assert stepwork.of_step(made).dtype == "bfloat16"


def test_what_a_checkpoint_computes_again_is_work_of_its_module():
    plain, again = (rehearsal(*techniques, layers=[TRANSFORMER]) for techniques in ((), ("memory/gradient_checkpointing",)))
    for made in (plain, again):
        for _ in range(3):
            made.step()
    once, twice = stepwork.of_step(plain).modules, stepwork.of_step(again).modules
    inner = "layers.1.feedforward.network.inner"
    assert twice[inner].flops * 3 == once[inner].flops * 4
    assert twice["head.output"].flops == once["head.output"].flops


# --- The profile ------------------------------------------------------------------------------------------------------------------------------


def test_layers_are_the_modules_and_add_up_with_the_rest_to_the_step(measured):
    made, found, _ = measured
    names = [row["name"] for row in found["layers"]]
    known = [name for name, _ in made.session.model.named_modules()]
    assert names == [name for name in known if name in names]
    for wanted in ("embedding", "layers.0.mixer.query", "layers.1.mixer", "layers.1.feedforward.network.inner", "final_norm", "head", "head.output"):
        row = found["layers"][names.index(wanted)]
        assert row["forward_ms"] > 0, wanted
        assert row["backward_ms"] > 0, wanted
        assert row["calls"] == 1, wanted
    assert sum(row["parameters"] for row in found["layers"]) == sum(p.numel() for p in made.session.model.parameters())
    step, in_layers = found["flame"]["ms"], found["profiled"]["layers_ms"]
    assert sum(row["forward_ms"] + row["backward_ms"] for row in found["layers"]) == pytest.approx(in_layers)
    assert in_layers + sum(found["profiled"]["rest_ms"].values()) == pytest.approx(step)
    # The profiler's events cover the steps that a clock saw, but for the loop around them.
    assert 0.5 * found["profiled"]["step_ms"] < step <= found["profiled"]["step_ms"]


def test_operators_and_their_work(measured):
    _, found, _ = measured
    rows = {row["name"]: row for row in found["operators"]}
    products = rows["aten::mm"]
    assert products["calls"] >= 20
    assert products["flops"] > 0
    assert all(0 <= row["self_ms"] <= row["total_ms"] + 1e-9 for row in found["operators"])
    assert not any(name.startswith(("module: ", "phase: ", "step", "autograd::engine::evaluate")) for name in rows)


@pytest.mark.slow
def test_the_roofline_has_every_layer_and_bounds_where_peaks_are_known(measured, tmp_path, monkeypatch):
    made, found, _ = measured
    assert found["roofline"]["peaks"] is None
    assert [row["name"] for row in found["roofline"]["layers"]] == [row["name"] for row in found["layers"]]
    assert not any("bound" in row for row in found["roofline"]["layers"])
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))
    machine = {"device": "cpu", "threads": 1, "flops_per_s": {"float32": 1e9}, "bytes_per_s": 1e12, "launch_us": 1e-3}
    peaks.keep(probes.fingerprint(probes.machine_facts()), machine)
    again = measure(made, 2, tmp_path / "trace.json.gz", time.perf_counter())
    rows = {row["name"]: row for row in again["roofline"]["layers"]}
    assert again["roofline"]["peaks"] == machine
    assert rows["head.output"]["bound"] == "compute"  # on a machine that calculates so slowly
    assert rows["head.output"]["attainable_share"] > 0


def test_the_flame_graph_nests_as_the_model_does(measured):
    _, found, _ = measured

    def check(bar) -> None:
        assert bar["ms"] >= sum(child["ms"] for child in bar["children"]) - 1e-9
        for child in bar["children"]:
            check(child)

    check(found["flame"])
    phases = {bar["name"]: bar for bar in found["flame"]["children"]}
    assert list(phases) == [phase for phase in PHASES if phase in phases]
    for phase in ("forward", "backward"):
        bar = phases[phase]
        for name in ("layers.1", "layers.1.feedforward", "layers.1.feedforward.network", "layers.1.feedforward.network.inner"):
            bar = next(child for child in bar["children"] if child["name"] == name)


def test_memory_is_in_the_profile(measured):
    made, found, _ = measured
    peak, timeline = found["memory"]["peak"], found["memory"]["timeline"]
    assert peak["total_mib"] == pytest.approx(sum(peak["owners"].values()))
    assert max(sum(value for key, value in point.items() if key != "ms") for point in timeline) == pytest.approx(peak["total_mib"])
    assert peak["owners"]["parameters"] == pytest.approx(sum(p.numel() for p in made.session.model.parameters()) * 4 / 2**20)
    assert peak["unseen_mib"] < 0.1 * peak["total_mib"]


def test_what_lstm_kernels_hold_inside_is_told(tmp_path):
    found = measure(rehearsal(), 3, tmp_path / "trace.json.gz", time.perf_counter())
    assert found["memory"]["peak"]["unseen_mib"] >= 0
    names = {row["name"]: row for row in found["layers"]}
    lstm = names["layers.0.mixer.lstm"]
    assert lstm["backward_ms"] > 0
    assert lstm["flops"] == 3 * 2 * 8 * 12 * 4 * 24 * (24 + 24)


def test_the_trace_loads_and_is_small(measured):
    _, found, trace = measured
    assert found["cost"]["bytes"] == trace.stat().st_size < 1_000_000
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    names = {event.get("name") for event in events}
    assert {"step", "phase: forward", "module: layers.0.mixer", "aten::mm"} <= names
    json.dumps(found, allow_nan=False)


def test_nothing_stays_behind(measured):
    made, _, _ = measured
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.session.model.modules())
    before = layertimes.layers(layertimes.Spent(), made.session.model, 1)
    assert before == []
    made.step()
