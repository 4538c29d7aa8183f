"""Timing the finished models of an experiment on demand: once more where the machine was disturbed or the intervals stayed wide.

What was measured before stays until the new session is done, and the comparison says how often speed was timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines import timetable
from engines.launching import ensure_supervisor
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import RUNNING
from engines.structure import check_structure

KEYS = ("rounds", "launches", "seconds", "limit", "until_narrow")
"""What of `measure` may be otherwise than the file says: how carefully, not what is timed."""
ROUNDS_A_LAUNCH = 2
"""Where launches alone are asked for: as many rounds in each as usual (10 in 5)."""


class RetimingError(ValueError):
    """An experiment that cannot be timed now; the message is a sentence for the user."""


def settings(store: Store, experiment_id: int) -> dict[str, Any]:
    """How carefully the experiment is timed by its file: the KEYS that its plan holds."""
    plan = next(variant.plan for variant in queries.variants(store, experiment_id) if variant.baseline)
    measure = plan.get("measure", {})
    return {key: measure[key] for key in KEYS if key in measure and (key, measure[key]) != ("rounds", 0)}


def ask(store: Store, experiment_id: int, changes: Mapping[str, Any], *, jobs: int | None = None) -> None:
    """Wish that the experiment is timed, by whichever supervisor serves its store; one is started where none does.

    changes: KEYS and their values; the rest is as in the file. Raises RetimingError with everything that is wrong, LaunchError.
    """
    if timetable.wishes(store, experiment_id) or queries.rounds(store, experiment_id, status=RUNNING):
        raise RetimingError("It is being timed, or waits for it, already.")
    if reason := timetable.why_not(store, experiment_id):
        raise RetimingError(reason)
    if queries.paused(store) is not None:
        raise RetimingError("The queue of this store is paused: let it go on first (workbench queue resume).")
    asked = dict(changes)
    if "launches" in asked and "rounds" not in asked:
        asked["rounds"] = ROUNDS_A_LAUNCH * asked["launches"]
    found, _ = check_structure({"measure": settings(store, experiment_id) | asked})
    wrong = [problem.sentence() for problem in found if problem.path.startswith("measure")]
    if wrong:
        raise RetimingError("\n".join(wrong))
    commands.ask_for_timing(store, experiment_id, asked)
    ensure_supervisor(store.url, jobs=jobs)
