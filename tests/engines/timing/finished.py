"""A finished experiment of stand-in models, and what was measured of it."""

from __future__ import annotations

import json
from pathlib import Path

from engines import programmes
from engines.store import commands, queries

FAKE = Path(__file__).parent.with_name("obedient_stopwatch.py")


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
