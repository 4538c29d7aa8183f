"""Training through the engine, every point stored in SQLite, against a bare torch loop of the same model, step for step.

Both train in this process in alternating stretches of about half a second (random order within a round). Points are stored by the recorder's own
thread twice a second, as in a run; what is left of them at the end of a stretch is stored between the stretches. A small model (bare step 5
to 10 ms) shows the cost a step, a large one (about 150 ms) the share.
"""

from __future__ import annotations

import random
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
from engines.statistics import paired_ratio
from engines.store import commands
from engines.store.database import Store
from engines.toolbox.batches import detach
from tests.engines.runtime import session as small

CASES = {
    "small": (40, 7, {"width": 64, "batch": 16, "sequence": 24}, 90),
    "large": (32, 150, {"width": 480, "batch": 28, "sequence": 35}, 4),
}
"""name: (rounds, wanted milliseconds a bare step, sizes, steps a stretch)"""


def main() -> None:
    torch.set_num_threads(1)
    for name, (rounds, wanted, sizes, steps) in CASES.items():
        bare_ms, added_ms, ratio, low, high = compare(rounds, sizes, steps)
        print(
            f"{name}: bare step {bare_ms:.2f} ms (wanted about {wanted}); through the engine {added_ms:+.3f} ms a step; "
            f"speed {ratio:.4f}x of bare [{low:.4f}, {high:.4f}], {rounds} rounds of {steps} steps"
        )


def compare(rounds: int, sizes: dict[str, int], steps: int) -> tuple[float, float, float, float, float]:
    """(bare ms a step, added ms a step, engine speed / bare speed, its interval)."""
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
        engine, bare = _engine(plan, recorder, Path(folder)), _bare(plan)
        arms: list[tuple[str, Callable[[], None]]] = [("engine", lambda: _stretch(engine, steps)), ("bare", lambda: _stretch(bare, steps))]
        for _, arm in arms:
            arm()
        seconds: dict[str, list[float]] = {"engine": [], "bare": []}
        order = random.Random(0)
        for _ in range(rounds):
            for name, arm in order.sample(arms, 2):
                start = time.perf_counter()
                arm()
                seconds[name].append(time.perf_counter() - start)
                recorder.flush()
        recorder.close()
        store.close()
    speed = paired_ratio(1 / np.array(seconds["engine"]), 1 / np.array(seconds["bare"]))
    added = float(np.median(np.array(seconds["engine"]) - np.array(seconds["bare"]))) / steps
    return 1000 * float(np.median(seconds["bare"])) / steps, 1000 * added, speed.value, speed.low, speed.high


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
    main()
