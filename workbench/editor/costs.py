"""What a variant amounts to: figures of its model and of training it, in proportion to the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.predicting import memory_within, training_seconds
from workbench.widgets.text import duration, number, short

OWNED = ("embedding", "layers", "head")
"""Modules whose memory stands on blocks of the canvas, or on their layer."""


@dataclass(frozen=True)
class Known:
    """What was found out about a variant. shapes: the inspector's answer about its model; found: an answer of `engines.runtime.predict`, or
    `refused`, why there is none."""

    name: str = ""
    plan: Mapping[str, Any] | None = None
    shapes: Mapping[str, Any] | None = None
    found: Mapping[str, Any] | None = None
    refused: str = ""

    def figure(self, key: str) -> float | None:
        """A figure by its key in either answer, or "seconds" that the budget takes; None where it is not known."""
        if self.shapes is not None and self.shapes.get("fitted"):
            return None  # It is made from the training text at once: the parts that are there say nothing of what it will be.
        if key == "seconds":
            value: Any = None if self.plan is None or self.found is None else training_seconds(self.plan, self.found)
        else:
            answer = self.found if key in ("step_ms", "train_peak_mib") else self.shapes
            value = (answer or {}).get(key)
        return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class Cost:
    """A figure as it is read; ratio: to the baseline, empty where it is the same or not known. value is empty where nothing is known."""

    name: str
    value: str
    unit: str
    ratio: str
    tip: str


def costs(known: Known, base: Known | None) -> list[Cost]:
    """Parameters, bytes stored, operations of a token, time of a step, memory at the peak and time of the budget of a variant. base: what it
    is compared with, None where it is the baseline itself."""
    return [
        _cost("parameters", "Parameters", "", _parameters_tip(known), known, base),
        _cost("weights_mib", "Stored", "MiB", "Weights of the model as it is built; what techniques make of them is measured by a run", known, base),
        _cost("flops_per_token", "For a token", "FLOP", "Operations of scoring one token; a multiply-add is two", known, base),
        _cost("step_ms", "A training step", "ms", _least(known.found or {}), known, base),
        _cost("train_peak_mib", "Memory at the peak", "MiB", _memory_tip(known.found or {}), known, base),
        _cost("seconds", "The budget", "", _budget_tip(known.plan), known, base),
    ]


def details(known: Known, base: Known | None) -> list[Cost]:
    """What stands beside the costs: bytes moved, what of it is trained, tokens a second."""
    rows = [_cost("bytes_per_token", "Bytes moved", "B", "Bytes that scoring one token moves, in the training batch", known, base)]
    if known.figure("trainable") != known.figure("parameters"):
        rows.append(_cost("trainable", "Trainable", "", "Parameters that are trained", known, base))
    milliseconds = known.figure("step_ms")
    if milliseconds and known.plan is not None:
        training = known.plan["training"]
        speed = 1000 * training["batch"] * training["sequence"] / milliseconds
        rows.append(Cost("Training speed", short(speed), "tokens/s", "", "Tokens of a step by its time"))
    return [row for row in rows if row.value]


def _cost(key: str, name: str, unit: str, tip: str, known: Known, base: Known | None) -> Cost:
    value, other = known.figure(key), base.figure(key) if base else None
    if value is None:
        return Cost(name, "", unit, "", known.refused if key in ("step_ms", "train_peak_mib", "seconds") else "")
    shown = duration(value) if key == "seconds" else number(value, 3) if unit in ("MiB", "ms") else short(value)
    ratio = ""
    if base is not None and other:
        measure = f" {unit or 's'}" if unit or key == "seconds" else ""
        tip = f'{tip}\n{number(value)}{measure}; {number(other)}{measure} in "{base.name}"'
        ratio = f"{value / other:.2f}x" if value != other else ""
    return Cost(name, shown, unit, ratio, tip)


def _parameters_tip(known: Known) -> str:
    whole, trained = known.figure("parameters"), known.figure("trainable")
    if whole is None:
        return ""
    return f"{whole:,.0f}" + (f", of them {trained:,.0f} trained" if trained is not None and trained != whole else "")


def _memory_tip(found: Mapping[str, Any]) -> str:
    """How the peak is made up of what stands on the blocks."""
    tip = "What training holds at the highest point of a step"
    if "modules" not in found:
        return tip
    within = memory_within(found["modules"])
    blocks = sum(sum(within.get(name, {}).values()) for name in OWNED)
    rest, process = sum(within.get("", {}).values()) - blocks, found.get("memory_mib", {}).get("process", 0.0)
    parts = f"{number(blocks, 3)} in embedding, layers and head (what blocks share counts once), {number(rest, 3)} outside them"
    return f"{tip}: {parts}" + (f", {number(process, 3)} in the process itself" if process else "")


def _least(found: Mapping[str, Any]) -> str:
    if "roofline_ms" not in found:
        return "One update, tried out on this machine"
    bound = max(found["bounds"], key=lambda name: found["bounds"][name])
    what = {"compute": "operations", "memory": "moving bytes", "launch": "starting operators"}[bound]
    return f"By the machine's peaks {number(found['roofline_ms'], 3)} ms at least, most of it for {what}"


def _budget_tip(plan: Mapping[str, Any] | None) -> str:
    if plan is None:
        return ""
    ((unit, amount),) = plan["budget"].items()
    return f"{short(amount)} {unit}, without the looks at held-out text"
