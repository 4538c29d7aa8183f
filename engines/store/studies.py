"""Writes of studies: begun by the process that measures, ended once, with a whole result or with none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, update

from engines.store import tables
from engines.store.database import Store
from engines.store.failures import StoreError
from engines.store.rows import ENDED, RUNNING

_study = tables.study.c


def begin_study(
    store: Store, study: str, parameters: Mapping[str, Any], machine_id: int | None, host: str, pid: int, pid_started: float
) -> int:
    """A process begins to measure a study (its plugin id); returns the number of the row, which is running."""
    row = {
        "study": study, "parameters": dict(parameters), "status": RUNNING, "machine_id": machine_id, "created": time.time(), "result": {},
        "host": host, "pid": pid, "pid_started": pid_started,
    }  # fmt: skip
    with store.writing() as connection:
        made = connection.execute(insert(tables.study).values(row)).inserted_primary_key
        assert made is not None
        return int(made[0])


def finish_study(store: Store, number: int, status: str, *, result: Mapping[str, Any] | None = None, reason: str = "") -> bool:
    """Write how a study ended: done with its result, or failed, cancelled or lost with a reason. The first ending stands: False after it.

    Raises ValueError for a status that is no ending.
    """
    if status not in ENDED:
        raise ValueError(f'A study cannot end as "{status}": one of {", ".join(ENDED)}.')
    ended = {"status": status, "ended": time.time(), "result": dict(result or {}), "reason": reason}
    with store.writing() as connection:
        return bool(connection.execute(update(tables.study).where(_study.id == number, _study.status == RUNNING).values(ended)).rowcount)


def delete_study(store: Store, number: int) -> None:
    """Remove a study that has ended, for good. Raises StoreError for one that is running, or that is not there."""
    with store.writing() as connection:
        if connection.execute(delete(tables.study).where(_study.id == number, _study.status != RUNNING)).rowcount:
            return
    raise StoreError(f"Study {number} is not there, or is being measured: stop it first, then delete it.")
