"""A store with an experiment in it, written through the same commands as the worker and the supervisor use."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import EffectRow, ResultRow, RunRow, SeriesBatch

KEYS = (("train/loss", "nats/token", "lower"), ("speed/train_tokens_per_s", "tokens/s", "higher"), ("memory/host_mib", "MiB", "lower"))


def submit(store: Store, *, variants: tuple[str, ...] = ("full", "adaptive"), seeds: tuple[int, ...] = (0,), name: str = "Which head?") -> int:
    """An experiment with queued runs; the first variant is the baseline."""
    plan: dict[str, Any] = {"techniques": [], "measure": {"margin": 0.02}, "corpus": {"id": "corpora/python_stdlib"}, "model": {}, "training": {}}
    rows = [{"name": each, "plan": plan | {"variant": each}, "baseline": each == variants[0], "needs": []} for each in variants]
    document = {"experiment": {"name": name}, "variant": [{"name": each} for each in variants]}
    return commands.submit(store, name=name, digest="0" * 64, text="", document=document, folder="/", variants=rows, seeds=list(seeds), smoke=False)


def start(store: Store) -> RunRow:
    """Claim the next queued run and say that it runs."""
    supervisor = commands.register_supervisor(store, "test", 1, 1.0)
    run = commands.claim_run(store, supervisor)
    assert run is not None
    commands.set_status(store, run.id, run.claim, "running")
    commands.set_phase(store, run.id, run.claim, "training")
    return run


def write(store: Store, run: RunRow, first: int, count: int, *, keys: tuple[tuple[str, str, str], ...] = KEYS, gaps: bool = False) -> None:
    """Append points to each series."""
    steps = np.arange(first, first + count)
    values = 5.0 + np.sin(steps / 50) + 0.1 * np.random.default_rng(run.id).normal(size=count)
    if gaps:
        values[count // 2] = np.nan
    now = time.time()
    batches = [SeriesBatch(key, unit, better, steps.tolist(), [now] * count, values.tolist()) for key, unit, better in keys]
    commands.append_points(store, run.id, run.claim, batches)
    progress = {"fraction": 0.5, "loss": float(values[-1]) if np.isfinite(values[-1]) else None, "tokens_per_s": 5000.0, "remaining_s": 12.0}
    commands.set_progress(store, run.id, run.claim, progress)


def finish(store: Store, run: RunRow, *, perplexity: float, speed: float, memory: float) -> None:
    """Final figures, an effect, and the end of a run."""
    rows = [
        ResultRow("quality/test_perplexity", perplexity, "", "lower"),
        ResultRow("speed/train_tokens_per_s", speed, "tokens/s", "higher"),
        ResultRow("memory/train_peak_host_mib", memory, "MiB", "lower"),
        ResultRow("size/model_mib", 4.0, "MiB", "lower"),
    ]
    commands.put_results(store, run.id, run.claim, rows)
    commands.put_effects(store, run.id, run.claim, [EffectRow("pruning/magnitude", "finish", "80% of the weights are zero.", {})])
    commands.finish_run(store, run.id, run.claim, "done")


def finished(store: Store, **options: Any) -> int:
    """An experiment whose runs are all done, with points and figures."""
    experiment = submit(store, **options)
    for number in range(len(queries.runs(store, experiment))):
        run = start(store)
        write(store, run, 0, 300)
        finish(store, run, perplexity=100.0 + 10 * number, speed=5000.0 + 500 * number, memory=400.0 - 20 * number)
    return experiment
