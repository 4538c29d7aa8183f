"""Every write of the store, each one short transaction. Those of workers carry the claim of their run and raise ClaimLost without it.

Here: what a worker reports about its run. The writes of persons stand in `submission`, of supervisors in `supervision`, of points in `points`,
of studies in `studies`, freeing in `collection`; all are offered here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from engines.store import tables
from engines.store.claims import ClaimLost, hold
from engines.store.collection import gc
from engines.store.database import Store
from engines.store.failures import StoreError
from engines.store.ordering import move_runs, set_paused
from engines.store.points import append_points, truncate_points
from engines.store.rows import ACTIVE, ENDED, EffectRow, ResultRow, RoundRow, SeriesBatch
from engines.store.studies import begin_study, delete_study, finish_study
from engines.store.submission import (
    ask_for_timing,
    clear_request,
    delete_experiment,
    drop_wishes,
    put_note,
    request_cancel,
    requeue,
    restore_experiment,
    set_tag,
    submit,
)
from engines.store.supervision import claim_run, end_supervisor, heartbeat, mark_lost, register_supervisor, runs_held, runs_of_dead, set_process

__all__ = [
    "ClaimLost", "EffectRow", "ResultRow", "RoundRow", "SeriesBatch", "add_artifact", "append_points", "ask_for_timing", "begin_study", "claim_run",
    "clear_request", "close_timing", "delete_experiment", "delete_study", "drop_wishes", "end_supervisor", "finish_run", "finish_study", "gc",
    "heartbeat", "mark_lost", "move_runs", "open_timing", "put_artifact", "put_effects", "put_event", "put_machine", "put_note", "put_results",
    "put_rounds", "register_supervisor", "request_cancel", "requeue", "restore_experiment", "runs_held", "runs_of_dead", "set_paused", "set_phase",
    "set_process", "set_progress", "set_status", "set_tag", "submit", "truncate_points",
]  # fmt: skip

_run = tables.run.c


# --- The state of a run -------------------------------------------------------------------------------------------------------------------


def set_status(store: Store, run_id: int, claim: str, status: str) -> None:
    """Move a live run on (starting -> running). Raises ClaimLost, also where the run has ended."""
    _change_live(store, run_id, claim, {"status": status})


def set_phase(store: Store, run_id: int, claim: str, phase: str) -> None:
    """What a live run does now: starting, corpus, model, training, finishing, evaluating. Raises ClaimLost, also where it has ended."""
    _change_live(store, run_id, claim, {"phase": phase})


def set_progress(store: Store, run_id: int, claim: str, progress: Mapping[str, Any]) -> None:
    """Merge the latest figures of a run into its progress: fraction, step, tokens, seconds, remaining_s, loss, tokens_per_s, host_mib ..."""
    with store.writing() as connection:
        hold(connection, run_id, claim)
        before = connection.execute(select(_run.progress).where(_run.id == run_id)).scalar_one()
        connection.execute(update(tables.run).where(_run.id == run_id).values(progress={**before, **progress}))


def finish_run(store: Store, run_id: int, claim: str, status: str, reason: str = "", advice: str = "") -> bool:
    """Write how a run ended: done, failed or cancelled. The first ending stands: False, and nothing written, where it has ended before.

    Raises ClaimLost; ValueError for a status that is no ending.
    """
    if status not in ENDED:
        raise ValueError(f'A run cannot end as "{status}": one of {", ".join(ENDED)}.')
    with store.writing() as connection:
        if hold(connection, run_id, claim) not in ACTIVE:
            return False
        ended = {"status": status, "phase": "", "request": "", "ended": time.time(), "reason": reason, "advice": advice}
        connection.execute(update(tables.run).where(_run.id == run_id).values(ended))
        return True


def _change_live(store: Store, run_id: int, claim: str, values: Mapping[str, Any]) -> None:
    with store.writing() as connection:
        status = hold(connection, run_id, claim)
        if status not in ACTIVE:
            raise ClaimLost(f"Run {run_id} has ended already ({status}).")
        connection.execute(update(tables.run).where(_run.id == run_id).values(values))


# --- What a run leaves ----------------------------------------------------------------------------------------------------------------------


def put_results(store: Store, run_id: int, claim: str, results: Sequence[ResultRow]) -> None:
    """Store final figures; one of the same key and target takes the place of an earlier one. NaN is stored as NULL."""
    with store.writing() as connection:
        hold(connection, run_id, claim)
        for row in results:
            c = tables.result.c
            connection.execute(delete(tables.result).where(c.run_id == run_id, c.key == row.key, c.target == row.target))
            values = {
                "run_id": run_id, "key": row.key, "target": row.target, "value": _number(row.value), "unit": row.unit, "better": row.better,
                "n": row.n, "low": _number(row.low), "high": _number(row.high), "detail": dict(row.detail),
            }  # fmt: skip
            connection.execute(insert(tables.result).values(values))


def put_effects(store: Store, run_id: int, claim: str, effects: Sequence[EffectRow]) -> None:
    """Store what techniques changed; the rows of a technique and hook take the place of those of an earlier attempt."""
    with store.writing() as connection:
        hold(connection, run_id, claim)
        c = tables.effect.c
        for technique, hook in {(row.technique, row.hook) for row in effects}:
            connection.execute(delete(tables.effect).where(c.run_id == run_id, c.technique == technique, c.hook == hook))
        for row in effects:
            values = {"run_id": run_id, "technique": row.technique, "hook": row.hook, "sentence": row.sentence, "facts": dict(row.facts)}
            connection.execute(insert(tables.effect).values(values))


def put_event(store: Store, run_id: int, level: str, kind: str, text: str) -> None:
    """Something worth telling happened: level info, warning or error."""
    with store.writing() as connection:
        connection.execute(insert(tables.event).values(run_id=run_id, time=time.time(), level=level, kind=kind, text=text))


def put_artifact(
    store: Store, run_id: int, claim: str, kind: str, name: str, path: str | PathLike[str], bytes: int = 0, sha256: str = ""
) -> None:
    """A file or folder that the run left; one of the same kind and name takes the place of an earlier one."""
    with store.writing() as connection:
        hold(connection, run_id, claim)
        _put_artifact(connection, run_id, kind, name, path, bytes, sha256)


def add_artifact(store: Store, run_id: int, kind: str, name: str, path: str | PathLike[str], bytes: int = 0, sha256: str = "") -> None:
    """A file that was made of a run after its end, when nobody holds its claim. As `put_artifact`.

    Raises StoreError where the run has not ended, or is gone.
    """
    with store.writing() as connection:
        status = connection.execute(select(_run.status).where(_run.id == run_id)).scalar()
        if status not in ENDED:
            raise StoreError(f"Run {run_id} is {status or 'not in the store any more'}: files are added to a run when it has ended.")
        _put_artifact(connection, run_id, kind, name, path, bytes, sha256)


def _put_artifact(
    connection: Connection, run_id: int, kind: str, name: str, path: str | PathLike[str], bytes: int, sha256: str
) -> None:
    c = tables.artifact.c
    connection.execute(delete(tables.artifact).where(c.run_id == run_id, c.kind == kind, c.name == name))
    values = {"run_id": run_id, "kind": kind, "name": name, "path": str(path), "bytes": bytes, "sha256": sha256, "created": time.time()}
    connection.execute(insert(tables.artifact).values(values))


def put_machine(store: Store, fingerprint: str, facts: Mapping[str, Any]) -> int:
    """The id of the machine with this fingerprint, made where it is new; the facts are brought up to date."""
    c = tables.machine.c
    with store.writing() as connection:
        found = connection.execute(select(c.id).where(c.fingerprint == fingerprint)).scalar()
        if found is not None:
            connection.execute(update(tables.machine).where(c.id == found).values(facts=dict(facts)))
            return int(found)
        made = connection.execute(insert(tables.machine).values(fingerprint=fingerprint, facts=dict(facts))).inserted_primary_key
        assert made is not None
        return int(made[0])


# --- Timing sessions ------------------------------------------------------------------------------------------------------------------------


def open_timing(store: Store, experiment_id: int, target: str, quantity: str, facts: Mapping[str, Any]) -> int:
    """Begin a timing session; returns its id. facts: unit, better, and how it is measured."""
    with store.writing() as connection:
        row = {"experiment_id": experiment_id, "target": target, "quantity": quantity, "status": "running", "facts": dict(facts)}
        made = connection.execute(insert(tables.timing).values(row)).inserted_primary_key
        assert made is not None
        return int(made[0])


def put_rounds(store: Store, timing_id: int, rounds: Sequence[RoundRow]) -> None:
    """Store measurements of a timing session."""
    rows = [
        {
            "timing_id": timing_id, "variant_id": row.variant_id, "n": row.n, "control": row.control, "position": row.position,
            "value": _number(row.value),
        }
        for row in rounds
    ]
    if rows:
        with store.writing() as connection:
            connection.execute(insert(tables.round), rows)


def close_timing(store: Store, timing_id: int, status: str, facts: Mapping[str, Any] | None = None) -> None:
    """End a timing session (done, failed, cancelled), with more facts where there are some."""
    c = tables.timing.c
    with store.writing() as connection:
        before = connection.execute(select(c.facts).where(c.id == timing_id)).scalar_one()
        connection.execute(update(tables.timing).where(c.id == timing_id).values(status=status, facts={**before, **(facts or {})}))


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)
