"""A prediction asked for and, after the run, held against what was measured. No torch: the answer comes from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from engines.hearing import ended, last_said
from engines.launching import process_environment

MODULE = "engines.runtime.predict"
LOOK_SECONDS = 0.25
LIMIT_SECONDS = 120.0


class PredictionError(RuntimeError):
    """Nothing could be predicted; the message is a sentence for the user."""


class Predictor:
    """Works on one plan from the start of the block; leaving the block ends it. It runs beside its caller until `answer` waits for it.

    teachers: variant -> folder of its finished model. prepared: the corpus is known to be prepared. runs: folder of the runs of the store.
    """

    def __init__(
        self, plan: Mapping[str, Any], teachers: Mapping[str, Path] | None = None, *, prepared: bool = False, runs: Path | None = None
    ) -> None:
        self._asked = {"plan": plan, "teachers": {name: str(folder) for name, folder in (teachers or {}).items()}, "prepared": prepared}
        if runs is not None:
            self._asked["runs"] = str(runs)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Predictor:
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
            env=process_environment(),
        )  # fmt: skip
        assert self._process.stdin is not None
        # One line: the process begins with it, while its input stays open. One that died at once says so when it is waited for.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(self._asked) + "\n")
            self._process.stdin.flush()
        return self

    def answer(self, stopped: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """What is predicted. Raises PredictionError with the reason where there is nothing, also where `stopped` says so first."""
        process = self._process
        assert process is not None
        waited = 0.0
        while True:
            try:
                out, words = process.communicate(timeout=LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                waited += LOOK_SECONDS
                if stopped() or waited > LIMIT_SECONDS:
                    raise PredictionError("It was stopped." if stopped() else f"It took longer than {LIMIT_SECONDS:.0f} s.") from None
        told = last_said(out)
        if process.returncode or not told:
            raise PredictionError(words.strip().splitlines()[-1] if words.strip() else f"Its process ended with exit code {process.returncode}.")
        if "error" in told:
            raise PredictionError(str(told["error"]))
        answer: dict[str, Any] = told["answer"]
        return answer

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        process, self._process = self._process, None
        ended(process)


def training_seconds(plan: Mapping[str, Any], predicted: Mapping[str, Any]) -> float | None:
    """What the budget of a plan takes, looks at held-out text not counted; None where the time of a step or the number of steps is not known."""
    tokens = plan["training"]["batch"] * plan["training"]["sequence"]
    ((unit, amount),) = plan["budget"].items()
    if unit == "seconds":
        return float(amount)
    steps = {"steps": amount, "tokens": amount / tokens}.get(unit)
    milliseconds = predicted.get("step_ms")
    return None if steps is None or milliseconds is None else float(steps * milliseconds / 1000)


def memory_within(modules: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """MiB by owner of every module with those inside it: "layers.0" holds "layers.0.mixer". modules: of a prediction; "" is all of them."""
    found: dict[str, dict[str, float]] = {}
    for row in modules:
        parts = row["name"].split(".")
        for name in ("", *(".".join(parts[: depth + 1]) for depth in range(len(parts)))):
            own = found.setdefault(name, {})
            for owner, mib in row["owners_mib"].items():
                own[owner] = own.get(owner, 0.0) + mib
    return found


def held_against(predicted: Mapping[str, Any], measured: Mapping[str, float | None]) -> dict[str, dict[str, float]]:
    """{figure: {"predicted", "measured", "error"}} of figures that are known on both sides; error: relative, above zero where too much was
    predicted."""
    found = {}
    for name, value in measured.items():
        guess = predicted.get(name)
        if guess is not None and value:
            found[name] = {"predicted": float(guess), "measured": float(value), "error": float(guess) / float(value) - 1}
    return found


def verdict(facts: Mapping[str, Mapping[str, float]]) -> str:
    """One sentence on how far the prediction lay from what was measured."""
    parts = [
        f"{label} {facts[name]['predicted']:,.4g} {unit} ({100 * facts[name]['error']:+.0f}%)"
        for name, label, unit in (("step_ms", "a step of", "ms"), ("train_peak_mib", "a peak of", "MiB"))
        if name in facts
    ]
    return f"Predicted from the plan alone: {', '.join(parts)}." if parts else "Predicted from the plan alone: counts only."
