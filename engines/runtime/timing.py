"""One finished model in a process of its own, timed on request: the far end of `engines.timing`.

    python -m engines.runtime.timing --model FOLDER --target JSON

It loads the model and says so in one JSON line, {"loaded": true}. Then each line it is sent is answered by one: {"warm": true} by how long
things take, {"passes": n, "steps": m} by the figures of one turn. Between two lines it waits and uses no processor; inside a timed window
nothing is written, logged, sampled or collected. It opens no store. It ends when its standard input ends.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engines.api import CorpusError
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.runtime.evaluate import held_out_batch, score
from engines.runtime.finished import FinishedError, load_finished
from engines.runtime.plan import PlanError, device_of, threads_of

if TYPE_CHECKING:
    from collections.abc import Iterator

WARM_UP_PASSES = 3
WARM_UP_STEPS = 5
"""Before the first turn; at the start of each further turn one pass and one step bring caches and clocks back."""


class Stopwatch:
    """A finished model on a target. Scoring: judging a batch of held-out text exactly. Step: one next token with carried state, top 1."""

    def __init__(self, folder: Path, target: Mapping[str, Any]) -> None:
        finished = load_finished(folder)
        training = finished.plan["training"]
        self.device = device_of(target.get("device") or finished.plan["device"])
        self.threads = threads_of(target.get("threads") or finished.plan.get("threads"))
        torch.set_num_threads(self.threads)
        self.model: Any = finished.model.to(self.device)
        self.batch, self.length = int(target.get("batch") or training["batch"]), int(training["sequence"])
        self.inputs_BT, self.targets_BT = held_out_batch(finished, self.batch, self.length)

    def warm(self) -> dict[str, Any]:
        """Warm up, and tell how long things take, so that turns can be planned."""
        self._passes(WARM_UP_PASSES)
        pass_seconds = self._passes(1)
        step_seconds = statistics.median(self._steps(WARM_UP_STEPS))
        return {
            "pass_seconds": pass_seconds, "step_seconds": step_seconds, "tokens_a_pass": self.targets_BT.numel(), "batch": self.batch,
            "length": self.length, "device": str(self.device), "threads": self.threads, "torch": torch.__version__,
        }  # fmt: skip

    def turn(self, passes: int, steps: int) -> dict[str, float]:
        """One timed window of scoring and one of next-token steps, after a short warm-up of each."""
        self._passes(1)
        with _uncollected():
            seconds = self._passes(passes)
        self._steps(1)
        with _uncollected():
            latencies = sorted(self._steps(steps))
        return {
            "speed/infer_tokens_per_s": passes * self.targets_BT.numel() / seconds,
            "latency/p50_ms": 1000 * statistics.median(latencies),
            "latency/p95_ms": 1000 * latencies[math.ceil(0.95 * len(latencies)) - 1],
        }

    def _passes(self, count: int) -> float:
        """Seconds of `count` passes over the batch, as one window."""
        self._wait()
        start = time.perf_counter()
        for _ in range(count):
            score(self.model, self.inputs_BT, self.targets_BT)
        self._wait()
        return time.perf_counter() - start

    def _steps(self, count: int) -> list[float]:
        """Seconds of each of `count` steps that follow a prompt of one segment."""
        seconds = [0.0] * count
        with torch.no_grad():
            hidden_1TD, state, _ = self.model.hidden(self.inputs_BT[:1], None)
            token_11 = self.model.head.topk(hidden_1TD[:, -1], 1)[1]
            for step in range(count):
                self._wait()
                start = time.perf_counter()
                hidden_11D, state, _ = self.model.hidden(token_11, state)
                token_11 = self.model.head.topk(hidden_11D[:, -1], 1)[1]
                self._wait()
                seconds[step] = time.perf_counter() - start
        return seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection inside."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.timing")
    parser.add_argument("--model", type=Path, required=True, help="folder of a finished model")
    parser.add_argument("--target", default="{}", help="device, threads and batch as JSON; what is left out is the model's own")
    arguments = parser.parse_args(argv)
    try:
        stopwatch = Stopwatch(arguments.model, json.loads(arguments.target))
        _answer({"loaded": True})
        for line in sys.stdin:
            asked = json.loads(line)
            _answer(stopwatch.warm() if "warm" in asked else stopwatch.turn(asked["passes"], asked["steps"]))
    except (CorpusError, PlanError, FinishedError, UnknownPlugin, BrokenPlugin, NotImplementedError, RuntimeError) as error:
        # RuntimeError is what torch raises where a kernel does not exist on a device, or memory runs out.
        _answer({"error": str(error).splitlines()[0] if str(error) else type(error).__name__})
        return 1
    return 0


def _answer(figures: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
