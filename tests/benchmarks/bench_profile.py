"""The profile of 10 steps of a transformer with six layers: how long it takes, its process and loading torch included, and how large it is.

    python -m tests.benchmarks profile

Wanted: under 30 s and under 20 MB. The run that is profiled is an ordinary one, of a few steps.
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

from engines import notebook, profiling
from engines.store.database import Store

SECONDS, MEGABYTES, STEPS = 30.0, 20.0, 10
ROUNDS = 3
EXPERIMENT: dict[str, Any] = {
    "experiment": {
        "name": "Six layers", "task": "language_model", "corpus": {"id": "corpora/python_stdlib", "level": "word", "max_vocabulary": 5_000},
        "budget": {"steps": 12}, "seeds": [0], "device": "cpu", "threads": 1,
    },
    "model": {
        "embedding": {"id": "embeddings/lookup", "width": 256},
        "layers": [{"mixer": {"id": "attention/full", "heads": 8}, "feedforward": {"id": "feedforward/dense"}, "repeat": 6}],
        "head": {"id": "softmax/full", "tied": True},
    },
    "training": {"batch": 8, "sequence": 128, "techniques": [{"id": "optimization/adam"}, {"id": "optimization/clip_norm", "max_norm": 1.0}]},
    "measure": {"evaluations": 1, "held_out_tokens": 2_000, "rounds": 0},
    "variant": [{"name": "six layers"}],
}  # fmt: skip


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/store.sqlite"
        (run,) = notebook.run(EXPERIMENT, store=url, quiet=True).runs
        took = []
        with Store.open(url) as store:
            for _ in range(ROUNDS):
                began = time.perf_counter()
                made = profiling.profile(store, run, STEPS)
                took.append(time.perf_counter() - began)
        found = profiling.read(made)
        files = {path.name: path.stat().st_size / 1e6 for path in made.parent.iterdir()}
    step = found["step_ms"]["median"]
    print(
        f"Profile of {STEPS} steps of {step:.0f} ms: {', '.join(f'{each:.1f}' for each in took)} s; "
        + ", ".join(f"{name} {size:.2f} MB" for name, size in sorted(files.items()))
    )
    held = max(took) < SECONDS and sum(files.values()) < MEGABYTES
    print(f"Under {SECONDS:.0f} s and {MEGABYTES:.0f} MB ({max(took):.1f} s, {sum(files.values()):.1f} MB): {'holds' if held else 'FAILS'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
