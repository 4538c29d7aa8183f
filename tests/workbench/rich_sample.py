"""Six finished variants in a store: figures over five seeds, interleaved rounds with an A/A control, a target with a limit, measured effects."""

from __future__ import annotations

from typing import Any

import numpy as np

from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import EffectRow, ResultRow, RoundRow, SeriesBatch

VARIANTS: dict[str, dict[str, Any]] = {
    "full softmax": {"perplexity": 1.0, "train": 1.0, "infer": 1.0, "latency": 1.0, "memory": 1.0, "size": 1.0},
    "adaptive": {"perplexity": 1.012, "train": 2.31, "infer": 3.9, "latency": 0.61, "memory": 0.78, "size": 0.64},
    "pruned 80%": {"perplexity": 1.034, "train": 0.97, "infer": 1.004, "latency": 1.0, "memory": 1.0, "size": 1.0},
    "int8": {"perplexity": 1.003, "train": 1.0, "infer": 1.14, "latency": 1.38, "memory": 0.95, "size": 0.29},
    "sliding window": {"perplexity": 1.06, "train": 1.22, "infer": 1.3, "latency": 0.88, "memory": 0.7, "size": 1.0},
    "distilled, small": {"perplexity": 1.09, "train": 0.55, "infer": 2.2, "latency": 0.45, "memory": 0.6, "size": 0.36},
}
"""Ratios to the first."""
WEIGHTS = 8_300_000
ZEROS = {
    "modules": 6, "parameters_before": WEIGHTS, "parameters_after": WEIGHTS, "nonzero_before": WEIGHTS, "nonzero_after": WEIGHTS // 5,
    "bytes_before": 4 * WEIGHTS, "bytes_after": 4 * WEIGHTS,
}  # fmt: skip
TECHNIQUES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "pruned 80%": ("pruning/magnitude", {"sparsity": 0.8}, "80% of the weights of 6 Linear layers are zero.", ZEROS),
    "int8": ("quantization/dynamic_int8", {}, "7 of 7 Linear layers hold int8 weights.", {"modules": 7, "bits": 8, "weights": WEIGHTS}),
    "distilled, small": ("distillation/soft_labels", {"temperature": 2.0}, "Trained on the output of r1, 33% of each batch's time.", {}),
}
TARGET = {"name": "one core", "device": "cpu", "threads": 1, "batch": 1, "runtime": "torch", "max_latency_ms": 0.9}
QUANTITIES = (
    ("speed/train_tokens_per_s", "train", 9_000.0, "tokens/s", "higher"), ("speed/infer_tokens_per_s", "infer", 13_600.0, "tokens/s", "higher"),
    ("latency/p50_ms", "latency", 0.74, "ms", "lower"),
)  # fmt: skip


def rich(
    store: Store, *, variants: int = 6, seeds: int = 5, rounds: int = 12, points: int = 0, name: str = "Which output layer for 33k words?"
) -> int:  # fmt: skip
    """Write it through the commands of supervisor and worker. More than six variants are repeated with a number behind their name.

    points: how many points of the training loss each run leaves, with ten looks at held-out text beside them where there are any.
    """
    chosen = [_numbered(place) for place in range(variants)]
    rows = [{"name": each, "plan": _plan(kind) | {"variant": each}, "baseline": place == 0, "needs": []} for place, (each, kind) in enumerate(chosen)]
    document = {"experiment": {"name": name}, "variant": [{"name": each} for each, _ in chosen]}
    experiment = commands.submit(
        store, name=name, digest="1" * 64, text="", document=document, folder="/", variants=rows, seeds=list(range(seeds)), smoke=False
    )
    machine = commands.put_machine(store, "desk", {"cpu": "8 cores", "versions": {"torch": "2.13.0"}, "gpus": []})
    supervisor = commands.register_supervisor(store, "desk", 1, 1.0, machine)
    order = np.random.default_rng(5)
    while (run := commands.claim_run(store, supervisor)) is not None:
        _finish(store, run, dict(chosen)[run.variant], order, points)
    _time(store, experiment, dict(chosen), rounds, order)
    return experiment


def _numbered(place: int) -> tuple[str, str]:
    kinds = list(VARIANTS)
    kind = kinds[place % len(kinds)]
    return (kind if place < len(kinds) else f"{kind} {place // len(kinds) + 1}"), kind


def _plan(kind: str) -> dict[str, Any]:
    techniques: list[dict[str, Any]] = [{"id": "optimization/adam", "lr": 4e-3}, {"id": "optimization/clip_norm", "max_norm": 1.0}]
    if kind in TECHNIQUES:
        techniques.append({"id": TECHNIQUES[kind][0], **TECHNIQUES[kind][1]})
    mixer = {"id": "attention/sliding_window", "window": 128} if kind == "sliding window" else {"id": "recurrent/lstm", "width": 200}
    head = {"id": "softmax/adaptive", "cutoffs": [2000, 10000]} if kind == "adaptive" else {"id": "softmax/full", "tied": True}
    width = 96 if kind.startswith("distilled") else 200
    return {
        "task": {"id": "tasks/language_model"}, "corpus": {"id": "corpora/python_stdlib"}, "budget": {"tokens": 2_000_000}, "device": "cpu",
        "threads": 1, "training": {"batch": 20, "sequence": 35}, "measure": {"margin": 0.02}, "targets": [TARGET], "techniques": techniques,
        "model": {"embedding": {"id": "embeddings/lookup", "width": width}, "layers": [{"mixer": mixer, "repeat": 2}], "head": head},
    }  # fmt: skip


def _finish(store: Store, run: Any, kind: str, order: np.random.Generator, points: int) -> None:
    own = VARIANTS[kind]
    spread = 1 + 0.004 * np.sin(2.1 * run.seed)
    noise = lambda scale: float(np.exp(order.normal(0, scale)))  # noqa: E731 - three words, used six times
    parameters = 3_100_000 if kind.startswith("distilled") else WEIGHTS
    figures = [
        ("quality/test_perplexity", 118.0 * own["perplexity"] * spread * noise(0.002), "", "lower"),
        ("quality/valid_perplexity", 121.0 * own["perplexity"] * spread * noise(0.002), "", "lower"),
        ("quality/test_unigram_perplexity", 740.0, "", "none"),
        ("memory/train_peak_host_mib", 512.0 * own["memory"] * noise(0.004), "MiB", "lower"),
        ("size/model_mib", 31.6 * own["size"], "MiB", "lower"), ("size/parameters", parameters, "", "lower"),
        ("size/nonzero_parameters", parameters / 5 if kind.startswith("pruned") else parameters, "", "lower"),
        ("compute/flops_per_token", 1.7e7 * own["size"] ** 0.7, "FLOPs", "lower"),
        ("cost/train_s", 410.0 / own["train"] * noise(0.05), "s", "lower"), ("cost/train_tokens", 2e6, "tokens", "lower"),
    ]  # fmt: skip
    detail = {"device": "cpu", "threads": 1}
    commands.set_status(store, run.id, run.claim, "running")
    steps = list(range(points))
    losses = SeriesBatch("train/loss", "nats/token", "lower", steps, [each / 100 for each in steps], (5 + order.normal(0, 1, points)).tolist())
    looks = list(range(points // 10, points + 1, points // 10)) if points >= 10 else []
    nowhen = [0.0] * len(looks)
    held_out = [121.0 * own["perplexity"] * spread * (1 + 3 / (1 + n)) for n in range(len(looks))]
    seconds = [41.0 / own["train"] * (n + 1) for n in range(len(looks))]
    judged = SeriesBatch("quality/valid_perplexity", "", "lower", looks, nowhen, held_out)
    clock = SeriesBatch("progress/seconds", "s", "none", looks, nowhen, seconds)
    commands.append_points(store, run.id, run.claim, [losses, judged, clock] if looks else [losses])
    commands.put_results(store, run.id, run.claim, [ResultRow(k, v, unit, better, detail=detail) for k, v, unit, better in figures])
    tail = ResultRow("latency/p95_ms", 0.81 * own["latency"] * noise(0.01), "ms", "lower", target=TARGET["name"], detail=detail)
    commands.put_results(store, run.id, run.claim, [tail])
    effects = [EffectRow("", "training", "3,000 updates.", {"loss_digest": f"{kind}{run.seed}"})]
    if kind in TECHNIQUES:
        effects.append(EffectRow(TECHNIQUES[kind][0], "finish", TECHNIQUES[kind][2], TECHNIQUES[kind][3]))
    commands.put_effects(store, run.id, run.claim, effects)
    commands.finish_run(store, run.id, run.claim, "done")


def _time(store: Store, experiment: int, kinds: dict[str, str], rounds: int, order: np.random.Generator) -> None:
    variants = queries.variants(store, experiment)
    for key, name, level, unit, better in QUANTITIES:
        facts = {"unit": unit, "better": better, "load": {"machine_percent": 4.0}}
        session = commands.open_timing(store, experiment, "", key, facts)
        rows = []
        for n in range(rounds):
            drift = float(np.exp(order.normal(0, 0.2)))
            values = [(each, level * drift * VARIANTS[kinds[each.name]][name] * float(np.exp(order.normal(0, 0.012)))) for each in variants]
            rows += [RoundRow(each.id, n, place, value) for place, (each, value) in enumerate(values)]
            rows.append(RoundRow(variants[0].id, n, len(values), level * drift * float(np.exp(order.normal(0, 0.012))), control=True))
        commands.put_rounds(store, session, rows)
        commands.close_timing(store, session, "done")
