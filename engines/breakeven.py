"""Where sparse formats begin to pay on a machine, as a study of this store measured it. No torch."""

from __future__ import annotations

from typing import Any

from engines.store import queries
from engines.store.database import Store
from engines.store.rows import DONE


def stored(store: Store, fingerprint: str, device: str, threads: int) -> list[dict[str, Any]]:
    """The break-even densities (`engines.study.BreakEven`) of the newest study that has some for this machine, device and number of threads, which
    count on the CPU alone; empty where none was measured."""
    for row in reversed(queries.studies(store)):
        if row.status != DONE or row.machine_id is None or queries.machine(store, row.machine_id).fingerprint != fingerprint:
            continue
        measured = queries.study(store, row.id).result.get("break_even", [])
        here = [each for each in measured if each["device"] == device.partition(":")[0] and (device != "cpu" or each["threads"] == threads)]
        if here:
            return here
    return []
