"""The queue of a store: in which order runs start, and whether any start at all."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal

from sqlalchemy import Connection, func, insert, select, update

from engines.store import tables
from engines.store.database import Store
from engines.store.rows import QUEUED

Where = Literal["first", "up", "down", "last"]
_run = tables.run.c
_queue = tables.queue.c
THE_QUEUE = 1


def move_runs(store: Store, run_ids: Iterable[int], where: Where) -> list[int]:
    """Move queued runs to the front, up by one, down by one, or to the end; several keep their order among themselves.

    Returns the ids of all queued runs in their new order. Runs that are no longer queued are passed over. Raises ValueError for another `where`.
    """
    if where not in ("first", "up", "down", "last"):
        raise ValueError(f'Runs cannot be moved "{where}": first, up, down or last.')
    moved = set(run_ids)
    with store.writing() as connection:
        kept = tables.experiment.c.deleted.is_(None)
        asked = select(_run.id, _run.place).join(tables.experiment).where(_run.status == QUEUED, kept).order_by(_run.place, _run.id)
        rows = connection.execute(asked).all()
        before = [row.id for row in rows]
        after = _moved(before, moved, where)
        # The places themselves stay, so that runs of other experiments and those queued later are not touched.
        for run_id, place, old in zip(after, _distinct([row.place for row in rows]), rows, strict=True):
            if run_id != old.id or place != old.place:
                connection.execute(update(tables.run).where(_run.id == run_id).values(place=place))
    return after


def _moved(order: list[int], moved: set[int], where: Where) -> list[int]:
    front, rest = [run for run in order if run in moved], [run for run in order if run not in moved]
    if where == "first":
        return front + rest
    if where == "last":
        return rest + front
    found = list(order) if where == "up" else order[::-1]
    for place in range(1, len(found)):
        if found[place] in moved and found[place - 1] not in moved:
            found[place - 1], found[place] = found[place], found[place - 1]
    return found if where == "up" else found[::-1]


def _distinct(places: list[int]) -> list[int]:
    """Rising places without equals, as low as they were or as little above as need be."""
    found: list[int] = []
    for place in places:
        found.append(max(place, found[-1] + 1) if found else place)
    return found


def set_paused(store: Store, paused: bool) -> None:
    """Pause the queue: runs that have begun go on, no other is started. Or let it go on. What is so already stays as it is."""
    with store.writing() as connection:
        if (since(connection) is not None) == paused:
            return
        values = {"paused": time.time() if paused else None}
        if not connection.execute(update(tables.queue).where(_queue.id == THE_QUEUE).values(values)).rowcount:
            connection.execute(insert(tables.queue).values(id=THE_QUEUE, **values))


def since(connection: Connection) -> float | None:
    """Since when the queue is paused, in unix seconds; None while it is not."""
    found = connection.execute(select(_queue.paused).where(_queue.id == THE_QUEUE)).scalar()
    return None if found is None else float(found)


def next_place(connection: Connection) -> int:
    """The place behind all others, for a run that is queued now."""
    return int(connection.execute(select(func.max(_run.place))).scalar() or 0) + 1
