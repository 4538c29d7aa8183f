"""Who may write for a run: whoever holds the claim token that the run carries."""

from __future__ import annotations

from sqlalchemy import Connection, select

from engines.store import tables


class ClaimLost(RuntimeError):
    """The run belongs to another attempt, or to nobody, by now: stop writing for it."""


def hold(connection: Connection, run_id: int, claim: str) -> str:
    """Check the claim inside a write transaction, so that nothing can come between check and write; returns the run's status.

    A claim outlives the end of its run, so that late samples still find their place; a resume, or a loss, takes it away.
    """
    found = connection.execute(select(tables.run.c.claim, tables.run.c.status).where(tables.run.c.id == run_id)).one_or_none()
    if found is None:
        raise ClaimLost(f"Run {run_id} is not in the store any more.")
    if not claim or found.claim != claim:
        why = "another attempt took it over, or it was given up as lost"
        raise ClaimLost(f"Run {run_id} ({found.status}) is not held by this claim any more: {why}.")
    return str(found.status)
