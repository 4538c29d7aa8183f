"""What the foundation has to reach, in one place, and what became of it.

A benchmark calls `tell` with each figure that has a reach, beside the sentences that it prints. `python -m tests.benchmarks` runs the benchmarks
of `FOUNDATION` and ends with `summary`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = "WORKBENCH_BENCHMARK_FIGURES"
"""Environment: the file that told figures are appended to; without it telling does nothing."""


@dataclass(frozen=True)
class Reach:
    """key: of the figure that is told. bound: at most so much, or at least where `least`."""

    key: str
    what: str
    bound: float
    unit: str
    least: bool = False


@dataclass(frozen=True)
class Figure:
    """One told value, with the interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


FOUNDATION: Mapping[tuple[str, ...], Sequence[Reach]] = {
    ("training",): [
        Reach("small/memory kept/added_ms", "added to a bare step of 5 to 10 ms, allocator keeps its memory", 0.10, "ms"),
        Reach("small/memory kept/ratio", "speed of that step, engine / bare", 0.98, "x", least=True),
        Reach("small/allocator as it is/ratio", "the same, allocator as it is", 0.98, "x", least=True),
        Reach("large/memory kept/ratio", "speed of a bare step of about 150 ms, engine / bare", 0.995, "x", least=True),
        Reach("large/allocator as it is/ratio", "the same, allocator as it is", 0.995, "x", least=True),
    ],
    ("watching",): [
        Reach("watched/1", "speed of a run, window live / closed, one torch thread", 0.98, "x", least=True),
        Reach("watched/2", "the same, two torch threads", 0.93, "x", least=True),
    ],
    ("window", "click"): [Reach("click_s", "from the click to the first stored training point", 3.0, "s")],
    ("start",): [
        Reach("run_s", "from `workbench run FILE` to the first stored training point", 6.0, "s"),
        Reach("supervisor_mib", "supervisor beside a live run: resident memory", 120, "MiB"),
        Reach("supervisor_percent", "supervisor beside a live run: share of a core", 2.0, "%"),
    ],
    ("window", "start"): [
        Reach("paint", "first paint of the window / of a bare PySide6 and pyqtgraph window", 1.3, "x"),
        Reach("usable", "window usable / first paint of the bare one", 2.0, "x"),
    ],
    ("store",): [
        Reach("recorder", "points stored by the recorder", 100_000, "a second", least=True),
        Reach("recorder/mlflow", "recorder / MLflow's log_batch", 10, "x", least=True),
        Reach("zoom_store_ms", "a window of 1,000,000 stored points read, worst of 200", 30, "ms"),
    ],
    ("drawing",): [
        Reach("whole_ms", "first drawing of a stored curve of 1,000,000 points", 100, "ms"),
        Reach("zoom_ms", "zoom drawn from what is there, worst of 30", 30, "ms"),
        Reach("detail_ms", "zoom drawn with the detail of the store, worst of 30", 30, "ms"),
        Reach("redraw_ms", "8 live curves of 100,000 points: window's thread a redraw, median", 16, "ms"),
        Reach("stall_ms", "longest stall beside them", 50, "ms"),
    ],
}
"""Words of a benchmark: what its figures have to reach. The large step's added time has no row of its own: its ratio bounds it more tightly than a
difference of that size can be measured."""


def tell(key: str, value: float, low: float | None = None, high: float | None = None) -> None:
    """Hand a figure to whoever runs the benchmarks together."""
    place = os.environ.get(FILE)
    if place:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "value": value, "low": low, "high": high}) + "\n")


def told(place: Path) -> dict[str, Figure]:
    """The figures in a file that `tell` wrote; none where there is no file."""
    lines = place.read_text(encoding="utf-8").splitlines() if place.exists() else []
    rows = [json.loads(line) for line in lines]
    return {row.pop("key"): Figure(**row) for row in rows}


def verdict(reach: Reach, figure: Figure | None) -> str:
    """`reached` or `missed`; `unclear` where the interval holds the bound; `not measured`."""
    if figure is None:
        return "not measured"
    low, high = (figure.value if limit is None else limit for limit in (figure.low, figure.high))
    if reach.least:
        low, high, bound = -high, -low, -reach.bound
    else:
        bound = reach.bound
    if high <= bound:
        return "reached"
    return "missed" if low > bound else "unclear"


def summary(figures: Mapping[str, Figure]) -> str:
    """A line for every reach of the foundation: verdict, figure, reach, what it is."""
    lines = []
    for reaches in FOUNDATION.values():
        for reach in reaches:
            figure = figures.get(reach.key)
            bound = f"{'>=' if reach.least else '<='} {reach.bound:,g} {reach.unit}"
            lines.append(f"{verdict(reach, figure):<12}  {_words(figure):<26}  {bound:<20}  {reach.what}")
    return "\n".join(lines)


def _words(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    interval = "" if figure.low is None or figure.high is None else f" [{_number(figure.low)}, {_number(figure.high)}]"
    return _number(figure.value) + interval


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
