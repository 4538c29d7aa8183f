"""What one turn of a timing session consists of: a finished model that scores text and continues it, or a recipe that trains.

Inside a timed window nothing is written, logged, sampled or collected, and no loss is read.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from engines.runtime.clock import uncollected, wait_for
from engines.runtime.evaluate import held_out_batch
from engines.runtime.failures import first_line
from engines.runtime.finished import Finished, FinishedError, load_finished
from engines.runtime.graphs import NotExportable
from engines.runtime.plan import threads_of
from engines.runtime.rehearsal import Rehearsal
from engines.runtime.runners import Work, device_for, runner_of

WARM_UP_PASSES = 3
WARM_UP_STEPS = 5
"""Before the first turn; at the start of each further window one pass or step brings caches and clocks back."""
INFER = "speed/infer_tokens_per_s"
TRAIN = "speed/train_tokens_per_s"
STEPS = "steps"
"""The work of a window is named by the quantity it gives; next-token steps give three."""


class Subject(Protocol):
    """What a process times on request."""

    def warm(self) -> dict[str, Any]:
        """Warm up, and tell how long each work takes ({"seconds": {work: seconds of one}}), so that turns can be planned."""

    def turn(self, counts: Mapping[str, int]) -> dict[str, float]:
        """One timed window for each work of so many repeats; key -> figure."""


class Inference:
    """A finished model on a target. Scoring: judging a batch of held-out text exactly. Step: one next token with carried state, top 1.

    batches: sizes at which scoring is timed beside the target's own, each under a key of its own.
    """

    def __init__(self, folder: Path, target: Mapping[str, Any], batches: Sequence[int] = ()) -> None:
        finished = load_finished(folder)
        training = finished.plan["training"]
        self.device = device_for(target, finished.plan["device"])
        self.threads = threads_of(target.get("threads") or finished.plan.get("threads"))
        torch.set_num_threads(self.threads)
        finished.model.to(self.device)
        self._runner = runner_of(target, finished.model, self.threads)
        self.batch, self.length = int(target.get("batch") or training["batch"]), int(training["sequence"])
        self._finished: Finished = finished
        self._sizes = {f"{INFER}/batch_{size}": size for size in batches}
        self._works: dict[str, Work] = {}
        self._targets: dict[str, int] = {}
        """Targets in one scoring pass."""
        self._begin: Callable[[], Work] | None = None

    def warm(self) -> dict[str, Any]:
        """As `Subject.warm`. `absent`: what does not run here, and why. Raises NotExportable where nothing does."""
        absent: dict[str, str] = {}
        seconds: dict[str, float] = {}
        for key, size in {INFER: self.batch, **self._sizes}.items():
            if key != INFER and size == self.batch:
                continue
            try:
                inputs, targets = held_out_batch(self._finished, size, self.length)
                self._targets[key] = targets.numel()
                self._works[key] = self._runner.scoring(inputs, targets)
                seconds[key] = self._warm_scoring(key)
            except NotExportable as reason:
                absent[key] = str(reason)
            except (RuntimeError, MemoryError) as error:
                # Memory that is enough for the target's own batch; the other quantities still count.
                if key == INFER:
                    raise
                self._works.pop(key, None)
                absent[key] = first_line(error)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
        try:
            self._begin = self._runner.stepping(self._prompt())
            seconds[STEPS] = statistics.median(self._steps(WARM_UP_STEPS))
        except NotExportable as reason:
            absent[STEPS] = str(reason)
        if not seconds:
            raise NotExportable(" ".join(dict.fromkeys(absent.values())))
        return {
            "seconds": seconds, "absent": absent, "tokens_a_pass": self._targets[INFER], "batch": self.batch, "length": self.length,
            "device": str(self.device), "threads": self.threads, "torch": torch.__version__, "warm_up": WARM_UP_PASSES, **self._runner.facts,
        }  # fmt: skip

    def _prompt(self) -> torch.Tensor:
        """The text that next-token steps follow. Raises NotExportable where the task has no such steps."""
        if self._finished.task.no_steps:
            raise NotExportable(self._finished.task.no_steps)
        return held_out_batch(self._finished, 1, self.length)[0]

    def turn(self, counts: Mapping[str, int]) -> dict[str, float]:
        figures: dict[str, float] = {}
        for key, passes in counts.items():
            if key == STEPS:
                figures |= self._generate(passes)
                continue
            self._passes(key, 1)
            with uncollected():
                figures[key] = passes * self._targets[key] / self._passes(key, passes)
        for key, size in self._sizes.items():
            if size == self.batch and INFER in figures:
                figures[key] = figures[INFER]
        return figures

    def _generate(self, steps: int) -> dict[str, float]:
        self._steps(1)
        with uncollected():
            latencies = sorted(self._steps(steps))
        return {
            "speed/generate_tokens_per_s": len(latencies) / sum(latencies),
            "latency/p50_ms": 1000 * statistics.median(latencies),
            "latency/p95_ms": 1000 * latencies[math.ceil(0.95 * len(latencies)) - 1],
        }

    def _warm_scoring(self, key: str) -> float:
        self._passes(key, WARM_UP_PASSES)
        return self._passes(key, 1)

    def _passes(self, key: str, count: int) -> float:
        """Seconds of `count` passes over a batch, as one window."""
        work = self._works[key]
        wait_for(self.device)
        start = time.perf_counter()
        for _ in range(count):
            work()
        wait_for(self.device)
        return time.perf_counter() - start

    def _steps(self, count: int) -> list[float]:
        """Seconds of each of `count` steps that follow a prompt of one segment."""
        assert self._begin is not None
        seconds = [0.0] * count
        step = self._begin()
        for number in range(count):
            wait_for(self.device)
            start = time.perf_counter()
            step()
            wait_for(self.device)
            seconds[number] = time.perf_counter() - start
        return seconds


class Training:
    """The training of a variant's recipe from its first weights, on the device and threads of its runs.

    What a technique costs may depend on how far training is (a pruning schedule). Here it is always at its start: after each turn the session
    stands again where it stood after the warm-up, while weights and optimiser state go on.
    teachers: variant -> folder of its finished model. Raises what Rehearsal raises, FinishedError where the folder has no plan.
    """

    def __init__(self, folder: Path, seed: int, teachers: Mapping[str, Path]) -> None:
        try:
            plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise FinishedError(f"There is no plan to train in {folder}: {error}.") from error
        self._rehearsal = Rehearsal(plan, seed, teachers=teachers, runs=folder.parent.parent)
        self._start = (0, 0, 0.0)

    def warm(self) -> dict[str, Any]:
        self._steps(WARM_UP_STEPS)
        _, seconds = self._steps(WARM_UP_STEPS)
        session = self._rehearsal.session
        self._start = (session.step, session.tokens, session.seconds)
        training = self._rehearsal.plan["training"]
        return {
            "seconds": {TRAIN: seconds / WARM_UP_STEPS}, "absent": {}, "batch": training["batch"], "length": training["sequence"],
            "device": str(self._rehearsal.device), "threads": self._rehearsal.threads, "torch": torch.__version__, "warm_up": 2 * WARM_UP_STEPS,
            "trained_share": session.progress, "state": "start of training",
        }  # fmt: skip

    def turn(self, counts: Mapping[str, int]) -> dict[str, float]:
        session = self._rehearsal.session
        session.step, session.tokens, session.seconds = self._start
        self._steps(1)
        with uncollected():
            tokens, seconds = self._steps(counts[TRAIN])
        return {TRAIN: tokens / seconds}

    def _steps(self, count: int) -> tuple[int, float]:
        """(tokens, seconds) of `count` updates, as one window; after it their losses are read. Raises Diverged."""
        tokens, step = 0, self._rehearsal.step
        self._rehearsal.wait()
        start = time.perf_counter()
        for _ in range(count):
            tokens += step()
        self._rehearsal.wait()
        seconds = time.perf_counter() - start
        self._rehearsal.check()
        return tokens, seconds
