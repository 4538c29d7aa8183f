"""Time to a stated quality: the training seconds, of needed runs too, after which the validation figure first reaches it.

Validation comes now and then, so the moment is known only to lie between two looks: that bracket is kept, and the value interpolated inside it.
A seed that never reached the quality has no time, and that is said. Where finishing changed the model (pruned, quantised), the looks during
training were at another model: then the time is that of the finished one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.evidence import Contestant
from engines.judging import Measured
from engines.report import labels
from engines.statistics import Direction
from engines.store import queries
from engines.store.database import Store

KEY = "speed/time_to_quality_s"
CLOCK = "progress/seconds"
"""Series of the training seconds at each validation."""
SAME = 1e-3
"""Relative difference up to which the finished model's figure is that of the last look in training."""

Look = tuple[float, float]
"""Training seconds and validation figure."""


@dataclass(frozen=True)
class Goal:
    """The quality to reach; stated: by the experiment file, else it is the worst of the baseline's final figures, which all its seeds reached."""

    key: str
    value: float
    better: Direction
    stated: bool

    def reached(self, value: float) -> bool:
        return value >= self.value if self.better == "higher" else value <= self.value


def goal_of(baseline: Contestant, metrics: Sequence[str]) -> Goal | None:
    """The quality of an experiment: `measure.quality`, on the validation figure of the first judging metric of quality; None without a figure."""
    judged = [key.replace("quality/test_", "quality/valid_") for key in metrics if key.startswith("quality/")]
    # The user's own functions judge finished models alone: there are no looks of theirs on the way.
    measured = [
        key for key, each in baseline.measured.items()
        if key.startswith("quality/valid_") and each.better != "none" and key not in baseline.own_judges
    ]  # fmt: skip
    key = next((key for key in (*judged, *measured) if key in measured), None)
    if key is None:
        return None
    figure, stated = baseline.measured[key], baseline.plan.get("measure", {}).get("quality")
    worst = min(figure.by_seed.values()) if figure.better == "higher" else max(figure.by_seed.values())
    return Goal(key, float(stated) if stated is not None else worst, figure.better, stated is not None)


def first_reached(looks: Sequence[Look], goal: Goal) -> tuple[float, float, float] | None:
    """(value, low, high) in seconds: interpolated between the look before and the one that reached it; None where none did.

    A first look that has reached it already bounds the moment from above alone: the value is that look's time, the bracket begins at zero.
    """
    before: Look | None = None
    for seconds, figure in looks:
        if not math.isfinite(figure):
            continue
        if goal.reached(figure):
            if before is None:
                return seconds, 0.0, seconds
            share = (before[1] - goal.value) / (before[1] - figure)
            return before[0] + share * (seconds - before[0]), before[0], seconds
        before = (seconds, figure)
    return None


def add_time_to_quality(store: Store, entrants: Sequence[Contestant], goal: Goal | None) -> dict[str, list[str]]:
    """Put the time to the quality among the figures of every variant; returns what has to be said: variant -> sentences."""
    runs = [run.id for each in entrants for run in each.done if not run.smoke]
    notes: dict[str, list[str]] = {}
    if goal is None or not runs:
        return notes
    looked = queries.marks(store, runs, (CLOCK, goal.key))
    for each in entrants:
        brackets, missed, once = _brackets(each, looked, goal)
        if brackets:
            bounds = {seed: list(found[1:]) for seed, found in brackets.items()}
            detail = {"goal": goal.value, "key": goal.key, "stated": goal.stated, "brackets": bounds}
            each.measured[KEY] = Measured("s", "lower", {seed: found[0] for seed, found in brackets.items()}, detail=detail)
        if missed and brackets:
            who = f"Seed{'s' if len(missed) > 1 else ''} {', '.join(map(str, missed))}"
            notes.setdefault(each.name, []).append(f"{who} did not reach {sentence(goal)}; the time to it is that of the other seeds.")
        elif missed:
            ends = [each.measured[goal.key].by_seed[seed] for seed in missed]
            best = max(ends) if goal.better == "higher" else min(ends)
            shown = labels.figure(best)
            short = f"missed it by {abs(best / goal.value - 1):.2%}" if shown == labels.figure(goal.value) else f"ended at {shown}"
            which = short if len(ends) == 1 else f"its best seed {short}"
            notes.setdefault(each.name, []).append(f"Did not reach {sentence(goal)} ({which}), so there is no time to it.")
        if once and brackets:
            told = "Changed after training: the time to a quality is that of the finished model, which was judged once."
            notes.setdefault(each.name, []).append(told)
    return notes


def _brackets(
    contestant: Contestant, looked: Mapping[int, Mapping[str, Mapping[int, float]]], goal: Goal
) -> tuple[dict[int, tuple[float, float, float]], list[int], bool]:
    """(seed -> value, low, high; seeds that did not reach it; whether finishing changed a model)."""
    final, total = (contestant.measured.get(key) for key in (goal.key, "cost/train_s"))
    found: dict[int, tuple[float, float, float]] = {}
    missed: list[int] = []
    once = False
    for run in contestant.done:
        series = looked.get(run.id, {})
        if final is None or total is None or run.seed not in final.by_seed or run.seed not in total.by_seed or CLOCK not in series:
            continue
        others = contestant.needed_seconds.get(run.seed, 0.0)
        looks = [(series[CLOCK][step], figure) for step, figure in series.get(goal.key, {}).items() if step in series[CLOCK]]
        end = final.by_seed[run.seed]
        if looks and math.isclose(looks[-1][1], end, rel_tol=SAME):
            reached = first_reached([*looks[:-1], (looks[-1][0], end)], goal)
            # Whenever training had stopped, this model would still have had to be finished.
            others += contestant.finishing_seconds.get(run.seed, 0.0)
        else:
            once = True
            spent = total.by_seed[run.seed] - others
            reached = (spent, spent, spent) if goal.reached(end) else None
        if reached is None:
            missed.append(run.seed)
        else:
            value, low, high = (seconds + others for seconds in reached)
            found[run.seed] = (value, low, high)
    return found, missed, once


def sentence(goal: Goal) -> str:
    """The quality in words."""
    whose = "" if goal.stated else ", the baseline's final figure"
    return f"a {labels.name(goal.key)} of {labels.figure(goal.value)}{whose}"


def stated(goal: Goal | None) -> dict[str, Any] | None:
    """The goal as the comparison's object shows it."""
    return None if goal is None else {"key": goal.key, "value": goal.value, "stated": goal.stated}
