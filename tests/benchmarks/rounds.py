"""What benchmarks share: calls timed in interleaved rounds, ratios in words, whether a reach is reached, and tables of that."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.statistics import Interval

SECONDS = 60.0
"""Rounds end after so long, with those that there are by then."""


def interleaved(steps: Mapping[str, Callable[[], Any]], rounds: int, seconds: float = SECONDS, *, warm: bool = True) -> dict[str, list[float]]:
    """Seconds of one call of each in every round, after a round that is not counted (warm = False: they were called before)."""
    for step in steps.values() if warm else ():
        step()
    taken: dict[str, list[float]] = {name: [] for name in steps}
    order, start = random.Random(0), time.perf_counter()
    for _ in range(rounds):
        for name in order.sample(list(steps), len(steps)):
            before = time.perf_counter()
            steps[name]()
            taken[name].append(time.perf_counter() - before)
        if time.perf_counter() - start > seconds:
            break
    return taken


def words(found: Interval) -> str:
    return f"{found.value:.3g}x [{found.low:.3g}, {found.high:.3g}]" if found.known else f"{found.value:.3g}x (n = {found.n}: no interval)"


def held(found: Interval, reach: float | None, *, below: bool = False) -> str:
    """The reach, and whether the interval clears it."""
    return "reported" if reach is None else f"{'<=' if below else '>='} {reach:g}: {cleared(found, reach, below=below)}"


def cleared(found: Interval, reach: float, *, below: bool = False) -> str:
    """Whether the whole interval lies on the right side of the reach."""
    if not found.known:
        return "undecided"
    surely, never = (found.high <= reach, found.low > reach) if below else (found.low >= reach, found.high < reach)
    return "holds" if surely else "does not hold" if never else "undecided"


@dataclass(frozen=True)
class Line:
    """A line of the table. verdict: holds, does not hold, undecided, reported, or not measured."""

    what: str
    reach: str
    reached: str
    verdict: str


def line(what: str, found: Interval, reach: float | None, *, below: bool = False) -> Line:
    """Of a ratio."""
    if reach is None:
        return Line(what, "report", words(found), "reported")
    return Line(what, f"{'<=' if below else '>='} {reach:g}x", words(found), cleared(found, reach, below=below))


def exactly(value: float) -> Interval:
    """Of bytes, which one look tells."""
    return Interval(value, value, value, 1)


def table(lines: Sequence[Line]) -> str:
    """In Markdown."""
    rows = [f"| {each.what} | {each.reach} | {each.reached} | {each.verdict} |" for each in lines]
    return "\n".join(("| what (against the full softmax) | reach | reached | |", "|---|---|---|---|", *rows))
