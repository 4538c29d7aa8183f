"""Memory by owner in a run: what is logged and told, that the run trains the same, and how much of it is watched."""

from __future__ import annotations

import subprocess
import sys
import weakref
from types import SimpleNamespace

import pytest
import torch

from engines.runtime.attribution import read
from engines.runtime.memorylog import FIRST_STEP, MemoryLog
from tests.engines.runtime import session as small


def trained(folder, techniques, layers=None, **changes):
    plan = small.plan([{"id": "optimization/adam"}, *techniques], budget={"steps": 8}, **changes)
    if layers:
        plan["model"]["layers"] = layers
    made = small.trainer(folder, plan)
    made.train()
    return made


def test_checkpointing_lowers_activations_and_nothing_else(tmp_path):
    options = {"layers": [small.TRANSFORMER], "training": {"batch": 8, "sequence": 64}}
    plain = trained(tmp_path / "a", [], **options).memory.highest
    less = trained(tmp_path / "b", [{"id": "memory/gradient_checkpointing"}], **options).memory.highest
    assert max(less.owners["activations"]) < 0.6 * max(plain.owners["activations"])
    for owner in ("parameters", "optimizer"):
        assert less.owners_mib[owner] == plain.owners_mib[owner]
    assert max(less.owners["gradients"]) == max(plain.owners["gradients"])


def test_a_run_logs_its_owners_and_trains_the_same(tmp_path, monkeypatch):
    made = trained(tmp_path / "a", [])
    monkeypatch.setattr("engines.runtime.memorylog.FIRST_STEP", 10**9)
    unwatched = trained(tmp_path / "b", [])
    assert unwatched.memory.highest is None
    assert made.losses.digest == unwatched.losses.digest
    points = made.recorder.points
    assert [step for step, _ in points["memory/owner/activations_mib"]] == [4]
    sentence, facts = made.memory.effect({"process_mib": 100.0})
    assert "MiB at the peak" in sentence
    assert facts["peak_mib"] == pytest.approx(sum(facts["owners_mib"].values()))
    assert facts["peak_mib"] == pytest.approx(sum(row["mib"] for row in facts["modules"]))
    assert facts["resident_peak_mib"] - facts["peak_mib"] - 100 == pytest.approx(facts["unexplained_mib"])
    assert "held 100.0 MiB before it had a model" in sentence
    assert f"at most {facts['resident_peak_mib']:,.1f} MiB in the step" in sentence
    assert "context_mib" not in facts
    modules = {row["name"] for row in facts["modules"]}
    assert {"embedding", "layers.0.mixer.lstm", "head", "head.output"} <= modules
    assert not made.session.model.layers[0]._forward_hooks  # nothing is left behind
    assert "loss" not in vars(made.session.model.head)


def test_the_watch_enters_no_peak_and_keeps_nothing_alive(tmp_path, monkeypatch):
    made = small.trainer(tmp_path, small.plan([{"id": "optimization/adam"}]))
    made.session.step = FIRST_STEP
    done = []
    monkeypatch.setattr("engines.probes.peak_resident_mib", lambda: done.append("peak") or 1e6)
    monkeypatch.setattr("engines.runtime.memory.read", lambda *found: done.append("read") or read(*found))
    peaks = SimpleNamespace(note=lambda: done.append("noted"), forget=lambda: done.append("forgotten") or True)
    log = MemoryLog(made.session, peaks, lambda *point: None)
    carried = [torch.zeros(3)]
    gone = weakref.ref(carried[0])
    step = log.around_step(lambda: [carried.pop()])
    with step as enter:
        enter("forward")
        assert gone() is None
    assert done == ["noted", "forgotten", "peak", "read", "forgotten"]
    assert log.effect({})[1]["resident_peak_mib"] == 1e6


def test_on_a_gpu_what_the_allocator_counts_beyond_the_step_is_told(tmp_path):
    made = trained(tmp_path / "a", [])
    made.memory._facts = {"step": 4, "allocated_peak_mib": made.memory.highest.peak_mib + 8, "reserved_mib": 1234.0}
    sentence, facts = made.memory.effect({"process_mib": 100.0, "context_mib": 300.0})
    assert facts["unexplained_mib"] == pytest.approx(8)
    assert facts["context_mib"] == 300
    assert "the rest for what the step never touched. It had taken 1,234.0 MiB from the GPU for it." in sentence
    assert sentence.endswith("The CUDA context takes 300.0 MiB more.")


@pytest.mark.gpu
def test_the_cuda_context_is_measured_before_anything_uses_the_device():
    code = (
        "import torch; from engines.runtime.memorylog import before_model; device = torch.device('cuda');"
        "print(before_model(device)['context_mib'], 'context_mib' in before_model(device))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, again = done.stdout.split()
    assert 50 < float(first) < 2000
    assert again == "False"


@pytest.mark.parametrize(("share", "watched_steps"), [(1e9, 11), (1e-9, 1)])
def test_long_runs_are_watched_again_as_far_as_their_share_allows(tmp_path, monkeypatch, share, watched_steps):
    monkeypatch.setattr("engines.runtime.memorylog.SHARE", share)
    made = small.trainer(tmp_path, small.plan([{"id": "optimization/adam"}], budget={"steps": 14}))
    made.train()
    assert made.memory.steps == made.bookkeeping.watched_steps == watched_steps
    assert [step for step, _ in made.recorder.points["memory/owner/parameters_mib"]] == list(range(4, 4 + watched_steps))
    # Steps that are watched are in no figure of speed.
    speed = made.tokens_per_second()
    assert speed is None if share > 1 else speed[1] == 14 - 5
