"""One quantity of one variant held against the baseline: value, ratio, intervals, verdict, and why.

How a quantity is judged follows from its key:

counts   size/*, compute/*, trained tokens and operations: exact, judged from the values themselves
timed    speed/*, latency/*, energy/*, training seconds: judged from interleaved rounds of a timing session, and from nothing else; what
         only runs have measured, one after another, is shown without a verdict
paired   everything else (quality, memory): values of the same seeds side by side, at least five of them; where nothing was trained, seeds are
         copies, and quality that keeps resamples of its held-out texts is judged by these, resample by resample
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from engines import overtexts, statistics
from engines.overtexts import Resamples
from engines.statistics import FEWEST_ROUNDS, FEWEST_SEEDS, Between, Direction, Interval

Kind = Literal["counts", "timed", "paired"]

_EXACT_COSTS = ("cost/train_tokens", "cost/train_flops")
_OF_WHOLE_RUNS = ("speed/time_to_quality_s", "cost/train_s")
_TIMED = ("speed/", "latency/", "energy/", "cost/")
UNKNOWN = Interval(math.nan, math.nan, math.nan, 0)


def kind_of(key: str) -> Kind:
    """How the quantity of this key (with or without @target) is judged."""
    bare = key.split("@")[0]
    if bare in _EXACT_COSTS or bare.startswith(("size/", "compute/")):
        return "counts"
    return "timed" if bare.startswith(_TIMED) else "paired"


@dataclass(frozen=True)
class Measured:
    """A quantity as it was measured for one variant: one value a seed, or one value a round of a timing session.

    session: which one (rounds of two sessions are no pairs); between: what launching its processes anew adds to the scatter.
    resamples: by seed, where the judging kept some; untrained: no run of the variant was trained on anything.
    """

    unit: str
    better: Direction
    by_seed: Mapping[int, float] = field(default_factory=dict)
    by_round: Mapping[int, float] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)
    session: int = 0
    between: Between = field(default_factory=Between)
    resamples: Mapping[int, Resamples] = field(default_factory=dict)
    untrained: bool = False

    @property
    def copies(self) -> Resamples | None:
        """The resamples of a variant whose seeds are copies of one model, since nothing was trained; None of any other."""
        same = self.untrained and len(set(self.by_seed.values())) == 1
        return next(iter(self.resamples.values()), None) if same else None

    @property
    def values(self) -> list[float]:
        return list((self.by_round or self.by_seed).values())


def entry(key: str, measured: Measured, baseline: Measured | None, margin: float, obstacle: str = "") -> dict[str, Any]:
    """The JSON object of one quantity.

    obstacle: why the quantity cannot be held against the baseline although both were measured (another machine ...); empty where it can.
    `low` and `high` bound the value, `ratio_low` and `ratio_high` the ratio (None where the data carry no interval); `ratio` stands alone
    as a plain quotient where that is all there is. `reason` says what is missing when the verdict is "not enough data". `over_texts` stands where
    both were judged on the same texts and kept resamples of them: the difference with its interval over pairs of texts, for these very models.
    """
    kind = kind_of(key)
    own = _value(kind, measured)
    found = {
        "value": own.value, "unit": measured.unit, "better": measured.better, "n": own.n, "low": _number(own.low), "high": _number(own.high),
        "points": {str(seed): value for seed, value in measured.by_seed.items()}, "interleaved": bool(measured.by_round),
    }  # fmt: skip
    if baseline is None:
        return found | _judged(None, None, None, "not enough data", "The baseline has no figure for this.")
    found |= {} if obstacle else _over_texts(measured, baseline)
    if baseline.untrained and key.startswith("cost/"):
        # Its seconds are what an empty loop took, and quotients by them say nothing.
        return found | _judged(None, None, None, "not enough data", "Nothing was trained for the baseline: there is no price to divide by.")
    ratio, n, reason = _ratio(key, measured, baseline)
    quotient = _number(ratio.value)
    if obstacle:
        return found | _judged(quotient, None, None, "not enough data", obstacle)
    if measured.better == "none":
        return found | _judged(quotient, _number(ratio.low), _number(ratio.high), "not enough data", "Neither more nor less of this is better.")
    if not reason:
        verdict = statistics.verdict(ratio.low, ratio.high, margin, measured.better)
        if verdict == "not enough data":
            reason = f"The interval of the ratio, {ratio.low:.3g} to {ratio.high:.3g}, neither clears the margin of {margin:.1%} nor stays within it."
    else:
        verdict = "not enough data"
    return found | _judged(quotient, _number(ratio.low), _number(ratio.high), verdict, reason) | {"pairs": n}


def baseline_entry(key: str, measured: Measured) -> dict[str, Any]:
    """The baseline's own object: it is itself, exactly."""
    return entry(key, measured, None, 0.0) | _judged(1.0, 1.0, 1.0, "no practical difference", "This is the baseline.")


def own_value(key: str, measured: Measured) -> float:
    """The variant's own figure, as `entry` shows it."""
    return _value(kind_of(key), measured).value


def _judged(ratio: float | None, low: float | None, high: float | None, verdict: str, reason: str) -> dict[str, Any]:
    return {"ratio": ratio, "ratio_low": low, "ratio_high": high, "verdict": verdict, "reason": reason}


def _value(kind: Kind, measured: Measured) -> Interval:
    """The variant's own figure: geometric mean over seeds, median over rounds or timed runs, exact for counts."""
    values = [value for value in measured.values if math.isfinite(value)]
    if not values:
        return UNKNOWN
    if copies := measured.copies:
        return replace(overtexts.own(values[0], copies), n=len(values))
    if kind == "counts":
        return Interval(float(np.median(values)), min(values), max(values), len(values))
    if measured.by_round:
        return statistics.median_interval(values)
    if kind == "timed":
        # A moment that is known to lie between two looks: the medians of the bounds hold the median of the moments.
        brackets = np.array(list(measured.detail.get("brackets", {}).values()) or [[math.nan, math.nan]], dtype=float)
        low, high = np.median(brackets, axis=0)
        return Interval(float(np.median(values)), float(low), float(high), len(values))
    if len(set(values)) == 1:
        # Not through logarithms and back: one figure is shown exactly as it was measured.
        limit = values[0] if len(values) >= FEWEST_SEEDS else math.nan
        return Interval(values[0], limit, limit, len(values))
    if all(value > 0 for value in values):
        found = statistics.student_interval(np.log(values)).exponential()
    else:
        found = statistics.student_interval(values)
    return found if found.n >= FEWEST_SEEDS else Interval(found.value, math.nan, math.nan, found.n)


def _ratio(key: str, measured: Measured, baseline: Measured) -> tuple[Interval, int, str]:
    """Ratio with its interval, number of pairs, and what is missing for a verdict ("" when nothing is)."""
    kind = kind_of(key)
    if measured.by_round and baseline.by_round and measured.session == baseline.session:
        upper, lower = _pairs(measured.by_round, baseline.by_round)
        if not _divisible(upper, lower):
            return UNKNOWN, len(upper), "A round has a figure that is not above zero."
        found = statistics.interleaved_ratio(measured.by_round, baseline.by_round, measured.between)
        return found, found.n, "" if found.known else f"Only {_count(found.n, 'interleaved round')}; a verdict needs {FEWEST_ROUNDS}."
    upper, lower = _pairs(measured.by_seed, baseline.by_seed)
    if not upper:
        return _lonely(measured, baseline), 0, "The variant and the baseline share no finished seed."
    if not _divisible(upper, lower):
        return UNKNOWN, len(upper), "A figure that is not above zero has no ratio."
    if kind == "counts":
        ratios = np.array(upper) / np.array(lower)
        return Interval(float(np.median(ratios)), float(ratios.min()), float(ratios.max()), len(upper)), len(upper), ""
    if kind == "timed":
        middle = float(np.median(np.array(upper) / np.array(lower)))
        return Interval(middle, math.nan, math.nan, len(upper)), len(upper), _apart(key)
    if (copies := measured.copies) and (others := baseline.copies) and (over := overtexts.ratio(upper[0], lower[0], copies, others)):
        return over, over.n, "" if over.known else "Too few resamples of the held-out texts have a figure above zero."
    found = statistics.paired_ratio(upper, lower)
    if found.n < FEWEST_SEEDS:
        plain = Interval(found.value, math.nan, math.nan, found.n)
        return plain, found.n, f"Only {_count(found.n, 'seed')} in common; a verdict needs {FEWEST_SEEDS}."
    return found, found.n, ""


def _over_texts(measured: Measured, baseline: Measured) -> dict[str, Any]:
    seeds = sorted(measured.resamples.keys() & baseline.resamples.keys())
    values, others = ([each.by_seed[seed] for seed in seeds] for each in (measured, baseline))
    found = overtexts.difference(values, others, *([each.resamples[seed] for seed in seeds] for each in (measured, baseline)))
    if found is None or not found.known:
        return {}
    return {"over_texts": {"difference": found.value, "low": found.low, "high": found.high, "pairs": found.n}}


def _apart(key: str) -> str:
    """Why times of runs that were not interleaved carry no verdict."""
    if key.split("@")[0] in _OF_WHOLE_RUNS:
        return "The time of whole runs, made one after another; training is compared by its speed in interleaved rounds."
    return "Timed in separate runs, not in interleaved rounds."


def _lonely(measured: Measured, baseline: Measured) -> Interval:
    """The quotient of the two figures where no pair exists: worth showing, never worth a verdict."""
    upper, lower = _value("timed", measured).value, _value("timed", baseline).value
    if upper > 0 and lower > 0:
        return Interval(upper / lower, math.nan, math.nan, 0)
    return UNKNOWN


def _pairs(values: Mapping[int, float], baseline: Mapping[int, float]) -> tuple[list[float], list[float]]:
    common = sorted(set(values) & set(baseline))
    return [values[k] for k in common], [baseline[k] for k in common]


def _divisible(*rows: Sequence[float]) -> bool:
    return all(math.isfinite(value) and value > 0 for row in rows for value in row)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
