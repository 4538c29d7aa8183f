"""Experiments with made-up figures in a real store, for tests of what is compared."""

from __future__ import annotations

import numpy as np

from engines.store import commands, queries
from engines.store.commands import EffectRow, ResultRow, RoundRow, SeriesBatch

PLAN = {
    "task": {"id": "tasks/language_model"}, "corpus": {"id": "corpora/text_files", "test": "/t.txt"}, "budget": {"tokens": 1000}, "device": "cpu",
    "threads": 1, "techniques": [{"id": "optimization/adam"}], "measure": {"margin": 0.02, "metrics": [], "held_out_tokens": 0}, "targets": [],
}  # fmt: skip
DETAIL = {"device": "cpu", "threads": 1}


def submit(store, variants=("full", "small"), seeds=(0, 1, 2, 3, 4), smoke=False, name="Which?", targets=()):
    plan = PLAN | {"targets": list(targets)}
    rows = [{"name": each, "plan": plan | {"variant": each}, "baseline": each == variants[0], "needs": []} for each in variants]
    text = f'[experiment]\nname = "{name}"\n'
    return commands.submit(store, name=name, digest="d" * 64, text=text, document={}, folder="/f", variants=rows, seeds=list(seeds), smoke=smoke)


def perplexity(run):
    return {"full": 180.0, "small": 200.0}.get(run.variant, 150.0) * (1 + 0.001 * np.sin(3.0 * run.seed + len(run.variant)))


def work(store, *, fail=(), machine="here", extra=None, digests=None, conditions=None, effects=None):
    """Claim and finish every queued run with figures that depend on variant and seed. fail: variants that fail.

    conditions: variant -> facts about the conditions of its runs. effects: further rows of a run.
    """
    machine_id = commands.put_machine(store, machine, {"cpu": "test", "versions": {"torch": "2"}, "gpus": []})
    supervisor = commands.register_supervisor(store, "host", 1, 1.0, machine_id)
    while (run := commands.claim_run(store, supervisor)) is not None:
        claim = run.claim
        commands.set_status(store, run.id, claim, "running")
        if run.variant in fail:
            commands.finish_run(store, run.id, claim, "failed", "It broke <b>badly</b>.", "Mend it.")
            continue
        scale = {"full": 1.0}.get(run.variant, 0.5)
        figures = {
            ("quality/test_perplexity", "", "lower"): perplexity(run), ("quality/test_unigram_perplexity", "", "none"): 700.0,
            ("speed/train_tokens_per_s", "tokens/s", "higher"): 5000 / scale + run.seed, ("size/model_mib", "MiB", "lower"): 30 * scale,
            ("speed/infer_tokens_per_s", "tokens/s", "higher"): 9000 / scale, ("cost/train_tokens", "tokens", "lower"): 1000.0,
        }  # fmt: skip
        rows = [ResultRow(key=key, value=value, unit=unit, better=better, detail=DETAIL) for (key, unit, better), value in figures.items()]
        commands.put_results(store, run.id, claim, [*rows, *(extra(run) if extra else [])])
        digest = (digests or {}).get(run.variant, run.variant)
        changed = [
            EffectRow("", "training", "10 updates.", {"loss_digest": digest}),
            EffectRow("pruning/magnitude", "finish", "Half are zero.", {"zeros": 5}),
        ]
        if run.variant in (conditions or {}):
            changed.append(EffectRow("", "conditions", "Text.", conditions[run.variant]))
        commands.put_effects(store, run.id, claim, [*changed, *(effects(run) if effects else [])])
        losses = SeriesBatch("train/loss", "nats/token", "lower", [1, 2, 3], [1.0, 2.0, 3.0], [5, float("nan"), 4])
        commands.append_points(store, run.id, claim, [losses])
        commands.finish_run(store, run.id, claim, "done")


def time_rounds(store, experiment, scale=0.5, count=10, control=1.0, status="done", target="", load=1.0):
    """A timing session whose machine wanders by half."""
    generator = np.random.default_rng(0)
    facts = {"unit": "tokens/s", "better": "higher", "load": {"machine_percent": load}}
    session = commands.open_timing(store, experiment, target, "speed/infer_tokens_per_s", facts)
    full, small = queries.variants(store, experiment)[:2]
    for n in range(count):
        drift = float(np.exp(generator.normal(0, 0.4)))
        rate = 9000 * drift
        measured = [RoundRow(full.id, n, 0, rate), RoundRow(small.id, n, 1, rate / scale), RoundRow(full.id, n, 2, rate * control, control=True)]
        commands.put_rounds(store, session, measured)
    commands.close_timing(store, session, status)
