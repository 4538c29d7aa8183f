"""What a study's times say: curves with intervals, exponents, paired speed-ups, steps, findings. One object, the result that is stored.

    {"title", "x": axis, "y": axis,
     "curves": [{"name", "points": [{"x", "value", "low", "high", "n", "seconds", "memory_bytes", "setting", "facts": {name: figure}}],
                 "exponent": {"value", "low", "high", "first", "last"} | null, "memory_exponent": the same, "note"}],
     "speedups": [{"name", "over", "points": [{"x", "value", "low", "high", "n"}]}],      of the same rounds; over: the first curve of the group
     "lines": [{"name", "value"}],                                                        level on the y axis: measured peaks
     "steps": [{"name", "value", "low", "high", "unit", "n",                              the first step has no ratios
                "ratio", "ratio_low", "ratio_high",                                       times faster than the first step
                "gain", "gain_low", "gain_high"}],                                        times faster than the step before
     "steps_title", "findings": [sentence],
     "expectation": {"sentence", "outcome": "met" | "refuted" | "not decided", "reason"},
     "not_shown": [sentence], "machine": {...}, "settings": {...}}

axis: {"name", "unit", "log", "better"}. `seconds` and exponents are of one call, whatever y is. Limits are null where there are too few rounds.
`memory_...`, of the peak memory of one call, are there only where the study measures it.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from engines import fitting, peaks
from engines.api import Axis, Cell, Conclusion, Estimate, Exponent, Study
from engines.runtime.rounds import Left, Times
from engines.statistics import Interval, median_interval, median_ratio

Peaks = Callable[[str, int], Mapping[str, Any] | None]
"""(device, threads) -> the peaks of this machine that were measured, as engines.peaks stores them."""


class Figures:
    """The times of a study, read (`engines.api.Measured`)."""

    def __init__(self, times: Sequence[Times], stored: Peaks = lambda device, threads: None, axis: Axis | None = None) -> None:
        """axis: that of x, which may say that a fact of each cell is its x."""
        self._at: dict[tuple[str, float | None], tuple[Times, Cell]] = {}
        self._fact = axis.fact if axis else ""
        self._x: dict[tuple[int, str], float | None] = {}
        for group in times:
            for cell in group.group.cells:
                if cell.curve in group.seconds:
                    self._place(group, cell)
        self._peaks = stored
        self.unmeasured: dict[tuple[str, int], None] = {}
        """Devices and thread counts whose peaks were asked for, and never measured here."""
        self._estimates: dict[Any, Estimate] = {}
        self.curves = tuple(dict.fromkeys(curve for curve, x in self._at if x is not None))

    def _place(self, times: Times, cell: Cell) -> None:
        x = times.facts[cell.curve][self._fact] if self._fact else times.group.x
        self._x[id(times), cell.curve] = x
        # Facts may coincide: a cell that is only read stands behind the shown one, and shown ones next to each other, closer than can be seen.
        while self._fact and x is not None and (cell.curve, x) in self._at:
            if not cell.shown:
                return
            x = self._x[id(times), cell.curve] = math.nextafter(x, -math.inf)
        self._at[cell.curve, x] = times, cell

    def x_of(self, times: Times, curve: str) -> float | None:
        """Where a cell of a group stands."""
        return self._x[id(times), curve]

    def xs(self, curve: str) -> tuple[float, ...]:
        return tuple(sorted(x for name, x in self._at if name == curve and x is not None))

    def seconds(self, curve: str, x: float | None) -> Estimate | None:
        found = self._at.get((curve, x))
        if found is None:
            return None
        values = found[0].seconds[curve]
        return self._once((curve, x), lambda: median_interval([math.log(value) for value in values]).exponential())

    def setting(self, curve: str, x: float | None) -> str:
        return self._at[curve, x][1].setting

    def facts(self, curve: str, x: float | None) -> Mapping[str, float]:
        return self._at[curve, x][0].facts.get(curve, {})

    def rate(self, curve: str, x: float | None) -> Estimate | None:
        found, seconds = self._at.get((curve, x)), self.seconds(curve, x)
        if found is None or seconds is None or not found[1].work:
            return None
        work = found[1].work
        return Estimate(work / seconds.value, seconds.high and work / seconds.high, seconds.low and work / seconds.low, seconds.n)

    def speedup(self, curve: str, over: str, x: float | None) -> Estimate | None:
        mine = self._at.get((curve, x))
        if mine is None or over not in mine[0].seconds:
            return None
        times = mine[0]
        rounds = min(len(times.seconds[curve]), len(times.seconds[over]))
        return self._once((curve, over, x), lambda: median_ratio(times.seconds[over][:rounds], times.seconds[curve][:rounds]))

    def memory(self, curve: str, x: float | None) -> float | None:
        found = self._at.get((curve, x))
        held = None if found is None else found[0].memory.get(curve)
        return None if held is None else float(held)

    def exponent(self, curve: str, quantity: Literal["seconds", "memory"] = "seconds") -> Exponent | None:
        xs = [] if self._fact else [x for x in self.xs(curve) if x > 0]
        took = {x: found.value for x in xs if (found := self.seconds(curve, x))}
        known = took if quantity == "seconds" else {x: held for x in xs if (held := self.memory(curve, x))}
        fitted = fitting.power_law(list(known), list(known.values()))
        return Exponent(fitted.exponent, fitted.low, fitted.high, fitted.first, fitted.last) if fitted else None

    def peak(self, quantity: str, *, dtype: str = "", device: str = "cpu", threads: int = 0) -> float | None:
        entry = self._peaks(device, threads)
        if entry is None:
            self.unmeasured[device, threads] = None
        found = (entry or {}).get(quantity)
        if isinstance(found, Mapping):
            found = found.get(dtype)
        return float(found) if found else None

    def cell(self, curve: str, x: float | None) -> Cell:
        return self._at[curve, x][1]

    def _once(self, key: Any, interval: Callable[[], Interval]) -> Estimate:
        if key not in self._estimates:
            found = interval()
            self._estimates[key] = Estimate(found.value, found.low if found.known else None, found.high if found.known else None, found.n)
        return self._estimates[key]


def point(figures: Figures, axis: Axis, curve: str, x: float) -> dict[str, Any] | None:
    """One point of a curve in the unit of the y axis; None where the cell is not shown, or has no work for a rate."""
    seconds = figures.seconds(curve, x)
    shown = figures.rate(curve, x) if axis.better == "higher" else seconds
    if seconds is None or shown is None or not figures.cell(curve, x).shown:
        return None
    scaled = [value if value is None else axis.scale * value for value in (shown.value, shown.low, shown.high)]
    held = figures.memory(curve, x)
    measured = {"x": x, "value": scaled[0], "low": scaled[1], "high": scaled[2], "n": shown.n, "seconds": seconds.value}
    more = {"memory_bytes": held, "setting": figures.setting(curve, x), "facts": dict(figures.facts(curve, x))}
    return measured | {key: value for key, value in more.items() if value or (key == "memory_bytes" and value is not None)}


def result(study: Study, title: str, times: Sequence[Times], left: Sequence[Left], figures: Figures) -> dict[str, Any]:
    """The whole result, without `machine` and `settings`."""
    concluded = _concluded(study, figures)
    return {
        "title": title,
        "x": axis(study.x),
        "y": axis(study.y),
        "curves": list(_curves(study, figures)),
        "speedups": list(_speedups(study, times, figures)),
        "lines": [{"name": name, "value": value} for name, value in concluded.lines.items()],
        "break_even": [asdict(each) for each in concluded.break_even],
        "steps": list(_steps(times, figures)),
        "steps_title": next((each.group.title for each in times if each.group.x is None), ""),
        "findings": list(concluded.findings),
        "expectation": {"sentence": study.expects, "outcome": concluded.outcome, "reason": concluded.reason},
        "not_shown": [*study.not_shown(), *left_out(left, study.x), *_peaks_unmeasured(figures)],
    }


def _concluded(study: Study, figures: Figures) -> Conclusion:
    """What the study says of its figures; where it fails, the figures are kept and its error is the reason why nothing is decided."""
    try:
        return study.conclude(figures)
    except Exception as error:  # noqa: BLE001  a plugin may raise anything; what was measured is not lost for it
        traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {str(error)[:600]}"
        return Conclusion((), "not decided", f"The study failed to conclude from its figures: {what}.")


def _peaks_unmeasured(figures: Figures) -> list[str]:
    if not figures.unmeasured:
        return []
    # The CPU has peaks for each number of threads.
    places = [f"{device} with {threads} thread{'s' if threads > 1 else ''}" if threads else device for device, threads in figures.unmeasured]
    return [f"What this machine can do at best was never measured ({', '.join(places)}), so no line shows it: {peaks.HOW} does it."]


def axis(axis: Axis) -> dict[str, Any]:
    """An axis as the result holds it."""
    return {"name": axis.name, "unit": axis.unit, "log": axis.log, "better": axis.better}


def _curves(study: Study, figures: Figures) -> Iterable[dict[str, Any]]:
    for curve in figures.curves:
        points = [found for x in figures.xs(curve) if (found := point(figures, study.y, curve, x))]
        if points:
            note = figures.cell(curve, points[-1]["x"]).note
            found = {"name": curve, "points": points, "exponent": _exponent(figures.exponent(curve)), "note": note}
            yield found | ({"memory_exponent": _exponent(figures.exponent(curve, "memory"))} if study.memory else {})


def _exponent(fitted: Exponent | None) -> dict[str, float] | None:
    return None if fitted is None else {"value": fitted.value, "low": fitted.low, "high": fitted.high, "first": fitted.first, "last": fitted.last}


def _speedups(study: Study, times: Sequence[Times], figures: Figures) -> Iterable[dict[str, Any]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in times:
        here = [cell for cell in each.group.cells if cell.curve in each.seconds]
        shown = [cell.curve for cell in here if cell.shown]
        first = here[0].curve if study.x.fact else shown[0] if shown else ""
        for curve in shown if each.group.x is not None else ():
            x = figures.x_of(each, curve)
            ratio = figures.speedup(curve, first, x) if curve != first else None
            if ratio is not None:
                points = found.setdefault((curve, first), [])
                points.append({"x": x, "value": ratio.value, "low": ratio.low, "high": ratio.high, "n": ratio.n})
    for points in found.values():
        points.sort(key=lambda point: float(point["x"]))
    for (curve, over), points in found.items():
        yield {"name": curve, "over": over, "points": points}


def _steps(times: Sequence[Times], figures: Figures) -> Iterable[dict[str, Any]]:
    for each in times:
        if each.group.x is not None:
            continue
        names = [cell.curve for cell in each.group.cells if cell.curve in each.seconds]
        known = [found for name in names if (found := figures.seconds(name, None))]
        unit, scale = time_unit(max(found.value for found in known))
        for position, (name, took) in enumerate(zip(names, known, strict=True)):
            step: dict[str, Any] = {
                "name": name, "value": scale * took.value, "low": took.low and scale * took.low, "high": took.high and scale * took.high,
                "unit": unit, "n": took.n,
            }  # fmt: skip
            for key, other in (("ratio", names[0]), ("gain", names[max(0, position - 1)])):
                faster = figures.speedup(name, other, None) if position else None
                if faster is not None:
                    step |= {key: faster.value, f"{key}_low": faster.low, f"{key}_high": faster.high}
            yield step


def time_unit(seconds: float) -> tuple[str, float]:
    """(unit, how many of it a second has) in which a time is between 1 and 1000."""
    return ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)


def left_out(left: Sequence[Left], axis: Axis) -> list[str]:
    """One sentence for each curve that lacks points, with the reason of the first."""
    by_curve: dict[str, list[Left]] = {}
    for each in left:
        by_curve.setdefault(each.curve, []).append(each)
    sentences = []
    for curve, cells in by_curve.items():
        where = "" if axis.fact else ", ".join(f"{cell.x:g}" for cell in cells if cell.x is not None)
        place = f" at {axis.name} {where}" + (f" {axis.unit}" if axis.unit else "") if where else ""
        also = f" (at {cells[0].x:g})" if len(cells) > 1 and where else ""
        sentences.append(f"{curve}: left out{place}: {cells[0].why}{also}.")
    return sentences
