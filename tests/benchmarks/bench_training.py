"""Training through the engine, every point stored in SQLite, against a bare torch loop of the same model, step for step.

Both train in one process in alternating stretches of about half a second (random order within a round). Points are stored by the recorder's own
thread twice a second, as in a run; what is left of them at the end of a stretch is stored between the stretches. A small model (bare step 5
to 10 ms) shows the cost a step, a large one (about 150 ms) the share; the batch is chosen so that the bare step takes that long here.

Where a process happens to lay its tensors moves a step by 5 to 10% for good, whichever loop it is, because the C library gives memory back and
takes it anew in every step or does not. So every case is measured in several processes, the interval is over processes, and all of it
twice: with an allocator that keeps its memory, which shows the engine's own cost, and with the allocator as it is.

    python -m tests.benchmarks.bench_training [CASE]
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines.runtime.context import Budget, Session
from engines.runtime.pipeline import Pipeline
from engines.runtime.plan import Parts, block
from engines.runtime.recorder import Recorder
from engines.runtime.train import Control, Trainer
from engines.statistics import paired_ratio, student_interval
from engines.stopwatches import STEADY_ALLOCATOR
from engines.store import commands
from engines.store.database import Store
from engines.toolbox.batches import detach
from tests.benchmarks.reaches import tell
from tests.engines.runtime import session as small

CASES = {
    "small": (12, 7, {"width": 64, "batch": 16, "sequence": 24}, 70),
    "large": (8, 150, {"width": 480, "batch": 28, "sequence": 35}, 4),
}
"""name: (rounds a process, wanted milliseconds a bare step, sizes to begin with, steps a stretch)"""
PROCESSES = 6
ALLOCATORS = {"memory kept": STEADY_ALLOCATOR, "allocator as it is": {}}


def main(wanted: list[str]) -> None:
    for name in CASES:
        for allocator, environment in ALLOCATORS.items():
            if not wanted or name in wanted:
                _case(name, allocator, environment)


def _case(name: str, allocator: str, environment: dict[str, str]) -> None:
    rounds, milliseconds, _, steps = CASES[name]
    bare, added, ratios = [], [], []
    for number in range(PROCESSES):
        command = [sys.executable, "-m", "tests.benchmarks.bench_training", "--process", name, str(number)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment).stdout)
        bare.append(found["bare_ms"])
        added.append(found["added_ms"])
        ratios.append(found["ratio"])
    speed, cost = paired_ratio(ratios, [1.0] * len(ratios)), student_interval(added)
    print(
        f"{name}, {allocator}: bare step {np.median(bare):.2f} ms (wanted about {milliseconds}); through the engine {cost.value:+.3f} ms a step "
        f"[{cost.low:+.3f}, {cost.high:+.3f}]; speed {speed.value:.4f}x of bare [{speed.low:.4f}, {speed.high:.4f}]; "
        f"{PROCESSES} processes of {rounds} rounds of {steps} steps, each {', '.join(f'{ratio:.3f}' for ratio in sorted(ratios))}",
        flush=True,
    )
    tell(f"{name}/{allocator}/added_ms", cost.value, cost.low, cost.high)
    tell(f"{name}/{allocator}/ratio", speed.value, speed.low, speed.high)


def one_process(name: str, number: int) -> None:
    torch.set_num_threads(1)
    rounds, wanted, sizes, steps = CASES[name]
    bare_ms, added_ms, ratio = compare(rounds, _sized(sizes, wanted), steps, number)
    print(json.dumps({"bare_ms": bare_ms, "added_ms": added_ms, "ratio": ratio}))


def _sized(sizes: dict[str, int], wanted: float) -> dict[str, int]:
    """The sizes with the batch at which a bare step takes about the wanted milliseconds on this machine."""
    for _ in range(3):
        bare = _bare(_plan(sizes))
        _stretch(bare, 3)
        start = time.perf_counter()
        _stretch(bare, 8)
        took = (time.perf_counter() - start) / 8 * 1000
        sizes = sizes | {"batch": max(4, round(sizes["batch"] * wanted / took))}
    return sizes


def compare(rounds: int, sizes: dict[str, int], steps: int, seed: int) -> tuple[float, float, float]:
    """(bare ms a step, added ms a step, engine speed / bare speed)."""
    plan = _plan(sizes)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/store.sqlite")
        commands.submit(
            store, name="bench", digest="", text="", document={}, folder="", variants=[{"name": "v", "plan": plan, "baseline": True, "needs": []}],
            seeds=[0],
        )  # fmt: skip
        supervisor = commands.register_supervisor(store, host="bench", pid=1, pid_started=0.0)
        run = commands.claim_run(store, supervisor)
        assert run is not None
        recorder = Recorder(store, run.id, run.claim)
        # Which is made first decides where its tensors lie.
        makers: dict[str, Callable[[], Iterator[None]]] = {"engine": lambda: _engine(plan, recorder, Path(folder)), "bare": lambda: _bare(plan)}
        made = {name: makers[name]() for name in random.Random(seed).sample(sorted(makers), 2)}
        engine, bare = made["engine"], made["bare"]
        arms: list[tuple[str, Callable[[], None]]] = [("engine", lambda: _stretch(engine, steps)), ("bare", lambda: _stretch(bare, steps))]
        for _, arm in arms:
            arm()
        seconds: dict[str, list[float]] = {"engine": [], "bare": []}
        order = random.Random(seed)
        for _ in range(rounds):
            for name, arm in order.sample(arms, 2):
                start = time.perf_counter()
                arm()
                seconds[name].append(time.perf_counter() - start)
                recorder.flush()
        recorder.close()
        store.close()
    engine_s, bare_s = np.array(seconds["engine"]), np.array(seconds["bare"])
    added = float(np.median(engine_s - bare_s)) / steps
    return 1000 * float(np.median(bare_s)) / steps, 1000 * added, float(np.median(bare_s / engine_s))


def _stretch(turns: Iterator[None], steps: int) -> None:
    for _ in range(steps):
        next(turns)


def _plan(sizes: dict[str, int]) -> dict[str, Any]:
    width = sizes["width"]
    return small.plan([{"id": "optimization/sgd", "lr": 0.1}], budget={"steps": 10**6}) | {
        "model": {
            "embedding": {"id": "embeddings/lookup", "width": width},
            "layers": [{"mixer": {"id": "recurrent/lstm", "width": width}, "feedforward": None, "repeat": 1, "residual": None, "norm": None}],
            "head": {"id": "softmax/full"},
        },
        "training": {"batch": sizes["batch"], "sequence": sizes["sequence"]},
    }


def _engine(plan: dict[str, Any], recorder: Recorder, folder: Path) -> Iterator[None]:
    parts, text = Parts.of(plan), small.text()
    torch.manual_seed(0)
    training = plan["training"]
    session = Session(
        plan=plan, task=parts.task, text=text, device=torch.device("cpu"), dtype=torch.float32, seed=0, budget=Budget.of(plan["budget"]),
        model=parts.task.assemble(plan["model"], block, text, training["sequence"]),
        stream=parts.task.batches(text, training["batch"], training["sequence"], 0),
        log=lambda key, value, unit: None, held_out=list, teacher=lambda reference: session.model, fine_tune=lambda tokens, scale: None,
    )  # fmt: skip
    pipeline = Pipeline(parts.techniques, session)
    pipeline.shape_model()
    pipeline.assemble()
    return Trainer(session, pipeline, recorder, Control(), folder).steps(lambda batch: pipeline.multiplier(session.progress) * batch.lr_scale)


def _bare(plan: dict[str, Any]) -> Iterator[None]:
    parts, text = Parts.of(plan), small.text()
    torch.manual_seed(0)
    training = plan["training"]
    model = parts.task.assemble(plan["model"], block, text, training["sequence"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    state = None
    for batch in parts.task.batches(text, training["batch"], training["sequence"], 0):
        loss, count, state, _ = model(batch, state)
        optimizer.zero_grad(set_to_none=True)
        (loss / count).backward()
        optimizer.step()
        state = detach(state)
        yield


if __name__ == "__main__":
    if sys.argv[1:2] == ["--process"]:
        one_process(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1:])
