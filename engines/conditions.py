"""Under what conditions the timing behind a comparison was made, and what has to be said about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines import machinestate, observing
from engines.evidence import Contestant, timing_facts
from engines.report import labels


def conditions(baseline: Contestant, entrants: Sequence[Contestant]) -> dict[str, Any]:
    """{"load", "frequency", "gpu_frequency", "throttled", "gpu_users"} as in `machinestate.summary`, with the "threads" that were timed and
    "observer": what recording took of the training time, at most; what was not recorded is absent."""
    sessions = timing_facts(baseline.measured)
    found = machinestate.summary(_states(sessions))
    threads = sorted({pace["threads"] for facts in sessions for pace in facts.get("plans", {}).values() if "threads" in pace})
    if threads:
        found["threads"] = threads
    shares = [own.recorded[observing.HOOK]["share_of_training"] for own in entrants if observing.HOOK in own.recorded]
    if shares:
        found["observer"] = max(shares)
    return found


def warnings(baseline: Contestant, controls: Mapping[str, Mapping[str, Any]], margin: float) -> list[str]:
    """What made the timing unstable or special, in sentences: other work, clocks, throttling, a control that strays, models that alternated."""
    sessions = timing_facts(baseline.measured)
    found = machinestate.disturbances(_states(sessions))
    for facts in sessions:
        if "alternated" in facts:
            found.append(f"{_named(facts)}: {facts['alternated']}")
    stray, unlike = [], []
    for key, same in controls.items():
        low, high = same["ratio_low"], same["ratio_high"]
        if same["ratio"] and abs(np.log(same["ratio"])) > np.log1p(margin):
            stray.append(f"{labels.name(key)} {same['ratio']:.3f}")
        elif low is not None and not low <= 1 <= high:
            unlike.append(f"{labels.name(key)} {low:.3f} to {high:.3f}")
    if stray:
        found.append(
            f"The baseline timed against itself came out beyond the margin of {margin:.1%} ({'; '.join(stray)}): this timing is unstable, and no "
            "smaller difference is judged. Timed again on a quiet machine it may say more."
        )
    if unlike:
        found.append(f"The baseline timed against itself differs from itself ({'; '.join(unlike)}); no smaller difference is judged.")
    return found


def _named(facts: Mapping[str, Any]) -> str:
    what, target = str(facts.get("what", "timing")), facts.get("target", {}).get("name", "")
    return f'Timing of {what} on target "{target}"' if target else f"Timing of {what}"


def _states(sessions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    # Sessions of earlier versions kept the busiest moment alone.
    return [state for facts in sessions for state in facts.get("states") or ([facts["load"]] if "load" in facts else [])]
