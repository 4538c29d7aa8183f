"""Writes of supervisors: who lives, who takes which run, what became of runs whose supervisor died."""

from __future__ import annotations

import secrets
import time

from sqlalchemy import insert, select, update

from engines.store import tables
from engines.store.claims import ClaimLost
from engines.store.database import Store
from engines.store.ordering import hopeless, next_ready, since
from engines.store.queries import run_rows
from engines.store.rows import ACTIVE, FAILED, LOST, STARTING, RunRow

_run = tables.run.c
_supervisor = tables.supervisor.c


def register_supervisor(store: Store, host: str, pid: int, pid_started: float, machine_id: int | None = None) -> int:
    """A supervisor says that it lives. machine_id is written to every run that it claims. Returns its id."""
    now = time.time()
    row = {"host": host, "pid": pid, "pid_started": pid_started, "started": now, "heartbeat": now, "machine_id": machine_id}
    with store.writing() as connection:
        made = connection.execute(insert(tables.supervisor).values(row)).inserted_primary_key
        assert made is not None
        return int(made[0])


def heartbeat(store: Store, supervisor_id: int) -> None:
    """The supervisor still lives."""
    with store.writing() as connection:
        connection.execute(update(tables.supervisor).where(_supervisor.id == supervisor_id).values(heartbeat=time.time()))


def end_supervisor(store: Store, supervisor_id: int) -> None:
    """The supervisor leaves."""
    now = time.time()
    with store.writing() as connection:
        connection.execute(update(tables.supervisor).where(_supervisor.id == supervisor_id).values(heartbeat=now, ended=now))


def claim_run(store: Store, supervisor_id: int) -> RunRow | None:
    """Take the first queued run whose needs are done; None where there is none, or the queue is paused.

    The run gets status starting, a fresh claim and its next attempt. Queued runs whose need failed, was cancelled or lost become failed with a
    reason. Of many processes that ask at once each run goes to one.
    """
    # A look without the write lock first: supervisors ask often, mostly in vain.
    with store.reading() as connection:
        if since(connection) is not None or (next_ready(connection) is None and not hopeless(connection)):
            return None
    with store.writing() as connection:
        while lost := hopeless(connection):
            for run_id, reason in lost.items():
                advice = "Resume this run: the runs that it needs are resumed with it."
                ended = {"status": FAILED, "ended": time.time(), "reason": reason, "advice": advice}
                connection.execute(update(tables.run).where(_run.id == run_id).values(ended))
        ready = next_ready(connection)
        if ready is None or since(connection) is not None:
            return None
        machine_id = connection.execute(select(_supervisor.machine_id).where(_supervisor.id == supervisor_id)).scalar()
        taken = {
            "status": STARTING, "claim": secrets.token_hex(16), "attempt": _run.attempt + 1, "supervisor_id": supervisor_id, "machine_id": machine_id,
            "started": time.time(), "ended": None, "phase": "starting", "request": "", "reason": "", "advice": "", "pid": None, "pid_started": None,
        }  # fmt: skip
        connection.execute(update(tables.run).where(_run.id == ready).values(taken))
        return run_rows(connection, _run.id == ready)[0]


def set_process(store: Store, run_id: int, claim: str, pid: int, pid_started: float) -> None:
    """Which process works on the run. Raises ClaimLost."""
    with store.writing() as connection:
        changed = connection.execute(
            update(tables.run).where(_run.id == run_id, _run.claim == claim).values(pid=pid, pid_started=pid_started)
        ).rowcount
        if not changed:
            raise ClaimLost(f"Run {run_id} is not held by this claim any more.")


def runs_of_dead(store: Store, supervisor_id: int, host: str) -> list[RunRow]:
    """Live runs of other supervisors of this host. The caller holds the lock of the host's one supervisor, so those are dead."""
    others = select(_supervisor.id).where(_supervisor.host == host, _supervisor.id != supervisor_id)
    with store.reading() as connection:
        return run_rows(connection, _run.status.in_(ACTIVE), _run.supervisor_id.in_(others))


def runs_held(store: Store, supervisor_id: int) -> list[RunRow]:
    """Live runs of this supervisor, also those of deleted experiments."""
    with store.reading() as connection:
        return run_rows(connection, _run.status.in_(ACTIVE), _run.supervisor_id == supervisor_id)


def mark_lost(store: Store, run_id: int, reason: str) -> bool:
    """A live run is given up: its claim ends, so that a worker that still lives cannot write. False where it had ended meanwhile."""
    advice = "Resume continues from its checkpoint."
    lost = {"status": LOST, "claim": "", "phase": "", "request": "", "ended": time.time(), "reason": reason, "advice": advice}
    with store.writing() as connection:
        return bool(connection.execute(update(tables.run).where(_run.id == run_id, _run.status.in_(ACTIVE)).values(lost)).rowcount)
