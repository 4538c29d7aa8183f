"""Which experiments are to be timed, or timed again, who takes part, and how a session is called off. The store alone answers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from engines import probes
from engines.programmes import INFERENCE, Entrant
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import CANCELLED, DONE, FAILED, LOST, RUNNING, WANTED, RunRow, TimingRow

ORPHANED = "Who started the timing is gone."
POSTPONED = "New runs came; it is made anew after them."
"""Why a session stops without being called off: it ends as lost and may be made anew."""


def named(store: Store, experiment_id: int) -> str:
    """An experiment, for those who wait until it is timed, in whatever store they are."""
    return f"experiment {experiment_id} of {store.place}"


def is_due(store: Store, experiment_id: int) -> bool:
    """Whether all runs of an experiment have ended, there is something to compare, and nobody has timed it, is timing it or gave it up; or
    whether it was asked for.

    Who cancelled a run or deleted the experiment wants no more work done on it: then it is not due, until the run is resumed.
    """
    if wishes(store, experiment_id) and not queries.rounds(store, experiment_id, status=RUNNING):
        return not why_not(store, experiment_id)
    runs = queries.runs(store, experiment_id)
    if not runs or any(run.smoke or run.status == CANCELLED or not run.over for run in runs):
        return False
    if queries.experiment(store, experiment_id).deleted is not None:
        return False
    if any(session.status != LOST for session in queries.rounds(store, experiment_id, status=None)):
        return False
    baseline = next((variant for variant in queries.variants(store, experiment_id) if variant.baseline), None)
    if baseline is None or baseline.plan.get("measure", {}).get("rounds") == 0:
        return False
    return len(entrants(store, experiment_id)) > 1


def wishes(store: Store, experiment_id: int) -> dict[int, Mapping[str, Any]]:
    """What was asked for and is not done: id of the wish -> what of `measure` shall be otherwise. The last one counts."""
    return {row.id: row.facts.get("measure", {}) for row in queries.rounds(store, experiment_id, status=WANTED)}


def why_not(store: Store, experiment_id: int) -> str:
    """What keeps the finished models of an experiment from being timed on demand, in a sentence; empty where nothing does."""
    if queries.experiment(store, experiment_id).deleted is not None:
        return "The experiment was deleted."
    runs = queries.runs(store, experiment_id)
    if waiting := sum(not run.over for run in runs):
        return f"{waiting} of its {len(runs)} runs have not ended; models are timed when all have."
    if any(run.smoke for run in runs):
        return "It was a smoke test, whose models mean nothing."
    found = entrants(store, experiment_id)
    if not found:
        return "Its baseline has no finished model in this store."
    return "" if len(found) > 1 else "Only its baseline has a finished model in this store: there is nothing to compare it with."


def is_pending(store: Store, experiment_id: int) -> bool:
    """Whether a session of this experiment runs, or is due and in the care of a supervisor that lives; or was asked for, which any one hears."""
    if queries.rounds(store, experiment_id, status=RUNNING):
        return True
    return is_due(store, experiment_id) and (bool(wishes(store, experiment_id)) or _is_in_care(store, experiment_id))


def _is_in_care(store: Store, experiment_id: int) -> bool:
    """Whether a supervisor lives that had a run of this experiment; no other one times it."""
    alive = {row.id for row in queries.supervisors(store, alive=True) if row.host != platform.node() or probes.is_alive(row.pid, row.pid_started)}
    return any(run.supervisor_id in alive for run in queries.runs(store, experiment_id))


def close(store: Store, experiment_id: int, status: str, reason: str) -> None:
    """End what is still open of the sessions of an experiment; as lost, together with what their process had finished."""
    running = queries.rounds(store, experiment_id, status=RUNNING)
    if status == LOST:
        _lose(store, experiment_id, running, reason)
        return
    for session in running:
        commands.close_timing(store, session.id, status, {"reason": reason})


def close_abandoned(store: Store, experiment_id: int) -> None:
    """End sessions of this machine whose process is gone as lost; they may be made anew."""
    abandoned = []
    for session in queries.rounds(store, experiment_id, status=RUNNING):
        holder = session.facts.get("process", {})
        if holder.get("host") == platform.node() and not probes.is_alive(holder["pid"], holder["started"]):
            abandoned.append(session)
    _lose(store, experiment_id, abandoned, "The timing process died.")


def _lose(store: Store, experiment_id: int, running: Sequence[TimingRow], reason: str) -> None:
    """Give up what the processes of these sessions measured, also in programmes that they finished: an experiment is made anew as a whole."""
    processes = [session.facts["process"] for session in running if "process" in session.facts]
    ended = [each for each in queries.rounds(store, experiment_id, status=None) if each.status in (DONE, FAILED)]
    for session in (*running, *(each for each in ended if each.facts.get("process") in processes)):
        commands.close_timing(store, session.id, LOST, {"reason": reason})


def cancel(store: Store, experiment_id: int, reason: str) -> None:
    """End the session of an experiment at its next turn; one that is due and has not begun is not begun. What was measured before stays."""
    commands.drop_wishes(store, list(wishes(store, experiment_id)))
    if is_due(store, experiment_id):
        quantity, (unit, better) = next(iter(INFERENCE.items()))
        commands.open_timing(store, experiment_id, "", quantity, {"unit": unit, "better": better})
    close(store, experiment_id, CANCELLED, reason)


def entrants(store: Store, experiment_id: int) -> list[Entrant]:
    """Who would be timed: each variant with a finished model, all of the lowest seed that the baseline has; empty without a baseline."""
    finished: dict[int, dict[int, RunRow]] = {}
    for run in queries.runs(store, experiment_id, status=DONE):
        if (store.model_folder(run.id) / "plan.json").exists():
            finished.setdefault(run.variant_id, {})[run.seed] = run
    variants = queries.variants(store, experiment_id)
    baseline = next((variant for variant in variants if variant.baseline), None)
    if baseline is None or baseline.id not in finished:
        return []
    lowest = min(finished[baseline.id])
    found = []
    for variant in variants:
        runs = finished.get(variant.id)
        if runs:
            run = runs.get(lowest) or runs[min(runs)]
            teachers = tuple(queries.needed_models(store, run).items())
            found.append(Entrant(variant.name, variant.id, store.model_folder(run.id), seed=run.seed, teachers=teachers))
    return found
