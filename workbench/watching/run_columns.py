"""What stands in the columns of the table of runs: as text, and as what a column is sorted by."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from workbench.widgets.text import duration, number, short

if TYPE_CHECKING:
    from engines.store.rows import RunRow

COLUMNS = (
    ("Variant", "Click the square to hide or show the curves"),
    ("Seed", "Random seed of the run"),
    ("State", "queued, starting, running, done, failed, cancelled or lost"),
    ("Progress", "Share of the training budget that is spent; of a run that failed or was stopped, where it ended"),
    ("Loss", "Latest training loss, nats a token"),
    ("Tokens/s", "Latest training throughput"),
    ("Host MiB", "Resident memory of the worker process, MiB"),
    ("GPU MiB", "Memory on the device, MiB"),
    ("Time", "How long a finished run took; what is left of a running one, estimated from its pace"),
)
VARIANT, SEED, STATE, PROGRESS, LOSS, RATE, HOST, DEVICE, TIME = range(len(COLUMNS))
STATES = ("running", "starting", "queued", "done", "failed", "cancelled", "lost")
"""In the order in which they are told and sorted."""
KINDS = {"running": "accent", "starting": "accent", "done": "ok", "failed": "danger", "lost": "danger", "cancelled": "muted", "queued": "muted"}
_FIGURES = {
    LOSS: ("loss", "train/loss"), RATE: ("tokens_per_s", "speed/train_tokens_per_s"), HOST: ("host_mib", "memory/host_mib"),
    DEVICE: ("device_mib", "memory/device_mib"),
}  # fmt: skip
"""By column: the figure in a run's own report, and the series whose last point stands for it."""
Latest = Mapping[tuple[int, str], float | None]
"""Last values of series by run and key."""
Rank = float | tuple[object, ...]
"""What values of one column are compared by."""


def text(run: RunRow, column: int, latest: Latest) -> str:
    """The text of a cell."""
    if column == VARIANT:
        return run.variant
    if column == SEED:
        return str(run.seed)
    if column == STATE:
        return state_word(run)
    if column == PROGRESS:
        return f"{'at ' if broken_off(run) else ''}{fraction(run):.0%}"
    if column == LOSS:
        return _narrow(figure(run, column, latest))
    if column == RATE:
        return short(figure(run, column, latest))
    if column in (HOST, DEVICE):
        return number(figure(run, column, latest), 3)
    if run.over:
        return duration(run.ended - run.started) if run.ended and run.started else "–"
    # Behind the training stand evaluation and finishing, of which the pace of training tells nothing.
    if run.started and run.status == "running" and run.progress.get("remaining_s") and fraction(run) < 1:
        return duration(run.progress["remaining_s"]) + " left"
    return duration(time.time() - run.started) + " so far" if run.started and run.active else "–"


def ranks(runs: Sequence[RunRow], column: int, latest: Latest) -> list[Rank | None]:
    """What a column sorts each run by; None where it has no such figure (yet). Times are those of runs that have ended."""
    if column == VARIANT:
        return [_natural(run.variant) for run in runs]
    if column == SEED:
        return [run.seed for run in runs]
    if column == STATE:
        return [STATES.index(run.status) for run in runs]
    if column == PROGRESS:
        return [fraction(run) for run in runs]
    if column == TIME:
        return [run.ended - run.started if run.over and run.ended and run.started else None for run in runs]
    values = [figure(run, column, latest) for run in runs]
    return [None if value is None or math.isnan(value) else value for value in values]


def searched(run: RunRow) -> str:
    """What a search looks through: the variant and the state of a run, in small letters."""
    return f"{run.variant} {run.status} {state_word(run)}".casefold()


def marked(run: RunRow) -> tuple[str, str]:
    """The number of a run and its seed as a search finds them, whole or not at all: ("r107", "#3")."""
    return f"r{run.id}", f"#{run.seed}"


def figure(run: RunRow, column: int, latest: Latest) -> float | None:
    """The latest figure of a run: its own report, else the last point of a series."""
    progress, key = _FIGURES[column]
    value = run.progress.get(progress)
    return value if isinstance(value, int | float) else latest.get((run.id, key))


def fraction(run: RunRow) -> float:
    """The share of the budget that is spent."""
    return 1.0 if run.status == "done" else float(run.progress.get("fraction") or 0.0)


def broken_off(run: RunRow) -> bool:
    """Whether it ended, and not as it should."""
    return run.over and run.status != "done"


def observed(run: RunRow) -> str:
    """A line about what recording has cost a run so far; empty where that is not known."""
    share = run.progress.get("recording_share")
    return "" if share is None else f"\nRecording took {share:.2%} of its training time."


def state_word(run: RunRow) -> str:
    """What a run is doing, in a word or two."""
    if run.request == "cancel" and not run.over:
        return "stopping"
    if run.status == "queued":
        return "waiting" if run.waits else "queued"
    if run.status == "running" and run.phase:
        return run.phase
    return run.status


def _narrow(value: float | None) -> str:
    """A figure that fits its column, also where a run has diverged."""
    return f"{value:.2e}" if value is not None and 1e6 <= abs(value) < float("inf") else number(value)


@lru_cache(maxsize=4096)
def _natural(name: str) -> tuple[object, ...]:
    """Text and numbers in turns, so that "variant 10" comes after "variant 9"."""
    return tuple(int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", name.casefold())))
