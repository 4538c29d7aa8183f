"""Perplexity of output layers after equal tokens, through the engine as a user runs it: one experiment a seed, in a store of its own.

What was found is kept beside the store, so that it goes on where it was stopped. Nothing is timed: the machine may be busy.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from math import nan
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from engines import notebook
from engines.statistics import FEWEST_SEEDS, Interval, paired_ratio
from tests.benchmarks.output_layers import ADAPTIVE, BATCH, CORPUS, FULL, LENGTH, NCE, SAMPLED, WIDTH
from tests.benchmarks.rounds import Line, line

REACHES = {"adaptive": (ADAPTIVE, 1.03), "sampled": (SAMPLED, 1.10), "nce": (NCE, 1.15)}
"""Head, and how many times the full softmax's perplexity it may have."""
HEADS = {"full": FULL} | {name: head for name, (head, _) in REACHES.items()}


def quality(seeds: int, tokens: int, store: str, jobs: int) -> list[Line]:
    """What is not kept yet is run, `jobs` at a time (0: nothing is), each in a store of its own beside `store`."""
    arms = ["full", *REACHES]
    print(f"quality: {tokens:,} tokens, V = 10,000, {seeds} seeds, kept beside {store}")
    wanted = [(name, seed, kept_at(store, tokens, name, seed)) for seed in range(seeds) for name in arms]
    if jobs:
        stores: SimpleQueue[str] = SimpleQueue()
        for job in range(jobs):
            stores.put(f"{store.removesuffix('.sqlite')}.{job}.sqlite")

        def run(name: str, seed: int, kept: Path) -> None:
            own = stores.get()
            command = [sys.executable, "-m", "tests.benchmarks.perplexities", name, str(seed), str(tokens), own, str(kept)]
            subprocess.run(command, check=True)
            stores.put(own)

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda each: run(*each), [each for each in wanted if not each[2].exists()]))
    found: dict[str, dict[int, float]] = {name: {} for name in arms}
    for name, seed, kept in wanted:
        if kept.exists():
            found[name][seed] = json.loads(kept.read_text(encoding="utf-8"))["perplexity"]
    if found["full"]:
        print(f"  full {np.mean(list(found['full'].values())):.2f} ({len(found['full'])} seeds)")
    return [_line(name, reach, found[name], found["full"], tokens) for name, (_, reach) in REACHES.items()]


def _line(name: str, reach: float, mine: Mapping[int, float], full: Mapping[int, float], tokens: int) -> Line:
    both = sorted(mine.keys() & full.keys())
    if not both:
        return Line(f"perplexity: {name}", f"<= {reach:g}x", "`python -m tests.benchmarks heads quality`", "not measured")
    ratio = paired_ratio([mine[seed] for seed in both], [full[seed] for seed in both])
    if len(both) < FEWEST_SEEDS:
        ratio = Interval(ratio.value, nan, nan, ratio.n)
    what = f"perplexity after {tokens:,} tokens, V = 10,000: {name} (adam, untied, dense; {len(both)} seeds)"
    made = line(what, ratio, reach, below=True)
    print(f"  {name} {np.mean([mine[seed] for seed in both]):.2f}, {made.reached} of full, {made.reach}: {made.verdict}")
    return made


def kept_at(store: str, tokens: int, name: str, seed: int) -> Path:
    """The file of one figure."""
    return Path(store.removeprefix("sqlite:///")).with_suffix(f".{tokens}.{name}.{seed}.json")


def one(name: str, seed: int, tokens: int, store: str, kept: Path) -> None:
    """Run and keep one."""
    start = time.perf_counter()
    handle = notebook.run(quality_experiment(name, HEADS[name], seed, tokens), store=store, quiet=True)
    found = handle.comparison()["variants"][name]["results"]["quality/test_perplexity"]["value"]
    seconds = time.perf_counter() - start
    kept.write_text(json.dumps({"perplexity": found, "seconds": seconds}), encoding="utf-8")
    print(f"  seed {seed}, {name}: perplexity {found:.2f} ({seconds:.0f} s)", flush=True)


def quality_experiment(name: str, head: Mapping[str, Any], seed: int, tokens: int) -> dict[str, Any]:
    return {
        "experiment": {
            "name": f"heads: quality of {name}, seed {seed}", "task": "language_model", "corpus": CORPUS | {"max_vocabulary": 10_000},
            "budget": {"tokens": tokens}, "seeds": [seed], "device": "cpu", "threads": 1, "baseline": name,
        },
        "model": {
            "embedding": {"id": "embeddings/lookup", "width": WIDTH},
            "layers": [{"mixer": {"id": "recurrent/lstm", "width": WIDTH}, "repeat": 2}], "head": dict(head),
        },
        "training": {
            "batch": BATCH, "sequence": LENGTH,
            "techniques": [{"id": "optimization/adam", "lr": 2e-3}, {"id": "optimization/clip_norm", "max_norm": 1.0}, {"id": "optimization/cosine"}],
        },
        "measure": {"rounds": 0, "evaluations": 1, "held_out_tokens": 40_000}, "variant": [{"name": name}],
    }  # fmt: skip


if __name__ == "__main__":
    one(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], Path(sys.argv[5]))
