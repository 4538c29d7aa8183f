"""The worker as a process: what it writes, and how it ends when the loss, the plan or the disk fails."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.runtime import worker
from engines.store import commands, queries
from engines.store.database import Store
from tests.engines.runtime import session as small

ADAM = {"id": "optimization/adam", "lr": 0.01}


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, Any]:
    """A text file of real words as a corpus."""
    words = " ".join((torch.__doc__ or "").split() + (np.__doc__ or "").split() + (subprocess.__doc__ or "").split())
    path = tmp_path / "words.txt"
    path.write_text("\n".join(f"{words} {i}" for i in range(40)), encoding="utf-8")
    return {"id": "corpora/text_files", "train": str(path), "level": "word", "max_vocabulary": 300}


def work(url: str, plan: dict[str, Any], limit: Callable[[], None] | None = None) -> tuple[Store, int, subprocess.CompletedProcess[str]]:
    """Submit one run of a plan, claim it and let a worker process do it."""
    store = Store.open(url)
    variants = [{"name": "v", "plan": plan, "baseline": True, "needs": []}]
    commands.submit(store, name="one", digest="", text="", document={}, folder="", variants=variants, seeds=[0])
    claimed = commands.claim_run(store, commands.register_supervisor(store, host="here", pid=1, pid_started=0.0))
    assert claimed is not None
    command = [sys.executable, "-m", "engines.runtime.worker", "--store", url, "--run", str(claimed.id), "--claim", claimed.claim]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit
    ) as process:  # the pipe stays open until the worker has ended
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
        process.wait(120)
    return store, claimed.id, subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.slow
def test_a_run_leaves_points_figures_effects_and_its_model(store_url: str, corpus: dict[str, Any]) -> None:
    store, run, ended = work(store_url, small.plan([ADAM, {"id": "quantization/dynamic_int8"}], corpus=corpus))
    assert ended.returncode == 0, ended.stderr
    assert queries.run(store, run).status == "done"
    loss = next(series for series in queries.series(store, run) if series.key == "train/loss")
    steps, _, values = queries.points(store, loss.id)
    assert steps.tolist() == list(range(1, 41))
    assert values[-1] < values[0]
    results = {row.key: row.value for row in queries.results(store, run)}
    assert {"quality/valid_perplexity", "quality/test_perplexity", "quality/test_bits_per_char", "speed/train_tokens_per_s",
            "speed/infer_tokens_per_s", "latency/p50_ms", "latency/p95_ms", "memory/infer_peak_host_mib", "size/parameters",
            "size/nonzero_parameters", "size/model_mib", "compute/flops_per_token", "cost/train_s", "cost/train_tokens",
            "cost/train_flops", "compute/executed_flops_per_token", "compute/bytes_per_token"} <= set(results)  # fmt: skip
    assert results["cost/train_tokens"] == 40 * 8 * 12
    assert any(effect.technique == "quantization/dynamic_int8" for effect in queries.effects(store, run))
    told = [event.text for event in queries.events(store, run) if event.kind == "energy"]
    assert bool(told) != ("energy/joules_per_token" in results)  # a figure, or a reason, never both or neither
    observer = next(effect.facts for effect in queries.effects(store, run) if not effect.technique and effect.hook == "observer")
    price = next(row.detail for row in queries.results(store, run) if row.key == "cost/train_s")
    assert price["fine_tuning_s"] == 0 < price["finishing_s"]  # packing into int8 takes time and trains nothing
    assert observer["training_s"] == pytest.approx(results["cost/train_s"] - price["finishing_s"])
    assert 0 < observer["share_of_training"] < 1
    assert observer["training_thread_s"] == pytest.approx(observer["share_of_training"] * observer["training_s"])
    assert observer["validation_s"] > 0
    assert observer["checkpoint_s"] > 0
    assert "supervisor_cpu_s" not in observer  # none watched
    done = next(effect for effect in queries.effects(store, run) if effect.hook == "work").facts
    assert done["per_token"]["forward_flops"] == results["compute/flops_per_token"]
    assert done["per_token"]["training_flops"] == pytest.approx(3 * done["per_token"]["forward_flops"], rel=0.05)
    assert done["per_token"]["training_bytes"] > 2 * done["per_token"]["forward_bytes"]
    foreseen = next(effect for effect in queries.effects(store, run) if effect.hook == "prediction").facts
    assert foreseen["flops_per_token"]["error"] == 0
    assert foreseen["step_ms"]["predicted"] > 0
    if "memory/train_peak_host_mib" in results:
        assert foreseen["train_peak_mib"]["measured"] == results["memory/train_peak_host_mib"]
        assert abs(foreseen["train_peak_mib"]["error"]) < 0.3
    assert [artifact.name for artifact in queries.artifacts(store, run)] == ["finished model"]
    store.close()


@pytest.mark.slow
def test_a_diverging_run_fails_with_its_step_and_keeps_its_points(store_url: str, corpus: dict[str, Any]) -> None:
    store, run, ended = work(store_url, small.plan([{"id": "optimization/sgd", "lr": 1e38}], corpus=corpus))
    row = queries.run(store, run)
    assert (ended.returncode, row.status) == (1, "failed")
    assert row.reason.startswith("The loss became ")
    assert "learning rate" in row.advice
    loss = next(series for series in queries.series(store, run) if series.key == "train/loss")
    values = queries.points(store, loss.id)[2]
    assert np.isfinite(values[0])
    assert not np.isfinite(values[-1])
    store.close()


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_loses_nothing_stored(store_url: str, corpus: dict[str, Any]) -> None:
    def full_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    store, run, ended = work(store_url, small.plan([ADAM], corpus=corpus, budget={"steps": 10**6}), full_disk)
    assert ended.returncode != 0
    said = ended.stderr.strip().splitlines()[-1]
    assert "full" in said or "no space" in said.lower() or "too large" in said.lower(), ended.stderr
    assert queries.run(store, run).status in {"running", "failed"}
    store.close()


def test_memory_that_is_not_there_is_named_with_what_to_change() -> None:
    reason, advice = worker._explain(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."))
    assert reason.startswith("CUDA out of memory")
    assert "smaller batch" in advice
    reason, advice = worker._explain(RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 9 bytes"))
    assert reason.startswith("Out of host memory")
    assert "gradient_checkpointing" in advice


def test_an_exception_of_a_plugin_names_its_place() -> None:
    try:
        raise KeyError("width")
    except KeyError as error:
        reason, _ = worker._explain(error)
    assert reason.startswith("KeyError at test_worker.py:")
