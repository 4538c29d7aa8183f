"""What timing sessions measure: finished models on a target, and the training of every variant. Which quantities, in windows of what length."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import stopwatches

INFER = "speed/infer_tokens_per_s"
TRAIN = "speed/train_tokens_per_s"
STEPS = "steps"
"""The work of a window is named by the quantity it gives; next-token steps give three (as in `engines.runtime.turns`)."""
INFERENCE = {
    INFER: ("tokens/s", "higher"), "speed/generate_tokens_per_s": ("tokens/s", "higher"), "latency/p50_ms": ("ms", "lower"),
    "latency/p95_ms": ("ms", "lower"),
}  # fmt: skip
"""Key -> unit, and which direction is better."""
TRAINING = {TRAIN: ("tokens/s", "higher")}

FEWEST_STEPS, MOST_STEPS = 10, 100
"""Next-token steps in a turn: at least and at most, between them as many as fit the window."""
SHARE = 0.5
"""Of `measure.seconds`: the window of training, and of each further batch size. Steps of training scatter less than single scoring passes, and
a round with many quantities shall not take so long that the machine changes within it."""


@dataclass(frozen=True)
class Entrant:
    """A process to be timed: a variant, or the baseline once more (control).

    folder: of its finished model; seed and teachers (variant, folder of its finished model) of the run that made it.
    """

    name: str
    variant_id: int
    folder: Path
    control: bool = False
    seed: int = 0
    teachers: tuple[tuple[str, Path], ...] = ()


@dataclass(frozen=True)
class Programme:
    """What one session does in each of its processes.

    target: the table of the file, empty where there is none. quantities: key -> unit, better. windows: work -> seconds.
    arguments: of the process of an entrant.
    """

    what: str
    target: Mapping[str, Any]
    quantities: Mapping[str, tuple[str, str]]
    windows: Mapping[str, float]
    arguments: Callable[[Entrant], Sequence[str]]

    @property
    def name(self) -> str:
        """Of the target; empty where there is none."""
        return str(self.target.get("name", ""))

    def counts(self, seconds: Mapping[str, float]) -> dict[str, int]:
        """Repeats of each work in a turn. seconds: work -> how long one takes; works that are not in it are left out."""
        found = {work: max(1, math.ceil(self.windows[work] / max(one, 1e-6))) for work, one in seconds.items()}
        if STEPS in found:
            found[STEPS] = max(FEWEST_STEPS, min(MOST_STEPS, found[STEPS]))
        return found


def of_plan(plan: Mapping[str, Any]) -> list[Programme]:
    """The sessions of an experiment: one for each target (or the device of the runs), and one for training, on the device of the runs, where
    the experiment trains at all."""
    trains = 0 not in plan.get("budget", {}).values()
    return [*(_inference(plan, target) for target in plan.get("targets") or [{}]), *([_training(plan)] if trains else [])]


def _inference(plan: Mapping[str, Any], target: Mapping[str, Any]) -> Programme:
    measure = plan.get("measure", {})
    window, batches = _window(measure), list(measure.get("batches", []))
    keys = {f"{INFER}/batch_{size}": INFERENCE[INFER] for size in batches}
    windows = {INFER: window, STEPS: window} | dict.fromkeys(keys, SHARE * window)
    return Programme("finished models", target, INFERENCE | keys, windows, lambda entrant: stopwatches.of_model(entrant.folder, target, batches))


def _training(plan: Mapping[str, Any]) -> Programme:
    windows = {TRAIN: SHARE * _window(plan.get("measure", {}))}
    return Programme(
        "training", {}, TRAINING, windows, lambda entrant: stopwatches.of_training(entrant.folder, entrant.seed, dict(entrant.teachers))
    )


def _window(measure: Mapping[str, Any]) -> float:
    return float(measure.get("seconds", 1.0))
