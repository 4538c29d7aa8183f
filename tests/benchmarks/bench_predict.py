"""What training will take, told before it, against what it took: memory at the peak and the time of a step, over different models.

    python -m tests.benchmarks predict [NAME OF A MODEL ...]

Reach: memory within 15%, the time of a step within 2x. Operations of scoring a token are shown beside them; where they depend on which words
come (tails of a vocabulary, lengths of texts) they are those of random words. Every model is an ordinary run of its own, which is predicted by an
ordinary process beside its start, as in `workbench run`; nothing here knows how. On a busy machine the time of a step says little: it is measured
while other work runs, and predicted from processor time.
"""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from engines import notebook
from engines.store import queries
from engines.store.database import Store

MEMORY, TIME = 0.15, 2.0
"""Reach: relative error of the memory, factor of the time."""
ADAM = [{"id": "optimization/adam", "lr": 2e-3}, {"id": "optimization/clip_norm", "max_norm": 1.0}]
WORDS = {"id": "corpora/python_stdlib", "level": "word", "max_vocabulary": 5_000}
LSTM = {"mixer": {"id": "recurrent/lstm", "width": 128}}
DENSE = {"id": "feedforward/dense"}
ATTENTION = {"id": "attention/full", "heads": 4}
TIED = {"id": "softmax/full", "tied": True}

Tree = dict[str, Any]


def _words(layers: Sequence[Tree], head: Tree | None = None, *, batch: int = 8, sequence: int = 64, more: Sequence[Tree] = ()) -> Tree:
    """A language model, and what is added to its recipe."""
    model = {"embedding": {"id": "embeddings/lookup", "width": 128}, "layers": list(layers), "head": head or TIED}
    return {"model": model, "training": {"batch": batch, "sequence": sequence, "techniques": [*ADAM, *more]}}


MODELS: Mapping[str, Tree] = {
    "LSTM": _words([LSTM | {"repeat": 2}]),
    "LSTM, adaptive head": _words([LSTM], {"id": "softmax/adaptive", "cutoffs": [500, 2000]}),
    "LSTM, large batch": _words([LSTM], batch=64),  # two cuts of it are tried
    "LSTM, sampled head": _words([LSTM], {"id": "softmax/importance_sampled"}),
    "transformer": _words([{"mixer": ATTENTION, "feedforward": DENSE, "repeat": 3}]),
    "transformer, large batch": _words([{"mixer": ATTENTION, "feedforward": DENSE, "repeat": 2}], batch=32, sequence=128),
    "sliding window": _words(
        [{"mixer": {"id": "attention/sliding_window", "window": 32, "heads": 4}, "feedforward": DENSE, "repeat": 2}], batch=4, sequence=256
    ),
    "experts": _words([{"mixer": ATTENTION, "feedforward": {"id": "experts/switch", "experts": 4}, "repeat": 2}]),
    "checkpointing": _words([{"mixer": ATTENTION, "feedforward": DENSE, "repeat": 3}], batch=16, more=[{"id": "memory/gradient_checkpointing"}]),
    "accumulation, weight drop": _words([LSTM], batch=16, more=[{"id": "memory/gradient_accumulation"}, {"id": "regularization/weight_drop"}]),
    "classifier": {
        "task": "text_classification",
        "model": {
            "embedding": {"id": "embeddings/lookup", "width": 64}, "layers": [{"mixer": {"id": "recurrent/lstm", "width": 64}}],
            "head": {"id": "softmax/full"},
        },
        "training": {"batch": 32, "sequence": 24, "techniques": ADAM},
    },
}  # fmt: skip
STEPS = 40


def main(wanted: Sequence[str]) -> int:
    if unknown := set(wanted) - set(MODELS):
        print(f"No model named {', '.join(sorted(unknown))}; there are: {', '.join(MODELS)}.", file=sys.stderr)
        return 2
    print(f"{psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    print(f"{'':27}{'a step, ms':>30}{'peak, MiB':>32}{'operations':>12}")
    print(f"{'model':27}{'predicted':>11}{'measured':>11}{'factor':>8}{'predicted':>13}{'measured':>11}{'error':>8}{'error':>12}")
    within = {"time": 0, "memory": 0}
    asked = wanted or list(MODELS)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        labelled = _labelled(Path(folder))
        for name in asked:
            found = _one(name, MODELS[name], f"sqlite:///{folder}/store.sqlite", labelled)
            if not found:
                print(f"{name:27}no prediction")
                continue
            step, peak = found["step_ms"], found["train_peak_mib"]
            factor, error = step["predicted"] / step["measured"], peak["error"]
            within["time"] += 1 / TIME <= factor <= TIME
            within["memory"] += abs(error) <= MEMORY
            print(
                f"{name:27}{step['predicted']:>11.2f}{step['measured']:>11.2f}{factor:>7.2f}x{peak['predicted']:>13.1f}{peak['measured']:>11.1f}"
                f"{error:>+8.1%}{found['flops_per_token']['error']:>+12.1%}",
                flush=True,
            )
    print(
        f"Within reach of {len(asked)}: memory within {MEMORY:.0%} {within['memory']}, a step within {TIME:g}x {within['time']}; "
        f"{time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f} at the end"
    )
    return 0 if all(count == len(asked) for count in within.values()) else 1


def _one(name: str, tables: Tree, url: str, labelled: Path) -> Mapping[str, Mapping[str, float]]:
    """What a run of this model was predicted to take, and took; empty where nothing was predicted."""
    corpus = {"id": "corpora/labelled_files", "train": str(labelled), "level": "word"} if tables.get("task") else WORDS
    experiment = {
        "experiment": {
            "name": name, "task": tables.get("task", "language_model"), "corpus": corpus, "budget": {"steps": STEPS}, "seeds": [0], "device": "cpu",
            "threads": 1,
        },
        "model": tables["model"], "training": tables["training"],
        "measure": {"evaluations": 1, "held_out_tokens": 2_000, "rounds": 0}, "variant": [{"name": name}],
    }  # fmt: skip
    handle = notebook.run(experiment, store=url, quiet=True)
    with Store.open(url) as store:
        (run,) = queries.runs(store, handle.id)
        if run.status != "done":
            raise SystemExit(f"{name}: {run.status}: {run.reason}")
        return next((effect.facts for effect in queries.effects(store, [run.id]) if effect.hook == "prediction"), {})


def _labelled(folder: Path) -> Path:
    """Lines of Python source, and whether they are comments, strings or code that names an attribute."""
    path = folder / "lines.txt"
    source = "\n".join(inspect.getsource(module) for module in (textwrap, inspect, tempfile))
    lines = [line.strip() for line in source.splitlines() if len(line.split()) > 2]
    path.write_text("".join(f"{'attribute' if '.' in line else 'none'}\t{line}\n" for line in lines), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
