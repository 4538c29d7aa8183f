"""The queue of a store: in which order runs start, which comes next, and whether any starts at all."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import Connection, Integer, Select, cast, func, insert, select, true, update

from engines.store import tables
from engines.store.database import Store
from engines.store.rows import DONE, FAILED, LOST, QUEUED, RESUMABLE

Where = Literal["first", "up", "down", "last"]
_run = tables.run.c
_queue = tables.queue.c
_needed = tables.run.alias("needed")
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


# --- What comes next ------------------------------------------------------------------------------------------------------------------------


def next_ready(connection: Connection) -> int | None:
    """The queued run that starts next: the first whose needs are all done; None where there is none. Costs one statement at any length."""
    need = _need(connection)
    missing = select(need.c.value).select_from(_with_needed_run(need)).where(_needed.c.status.is_distinct_from(DONE))
    asked = _queued(select(_run.id)).where(~missing.correlate(tables.run).exists()).order_by(_run.place, _run.id).limit(1)
    return connection.execute(asked).scalar()


def hopeless(connection: Connection) -> dict[int, str]:
    """Queued runs that can never start, because a run that they need ended badly or is gone: {run: why, as a sentence}."""
    need, variant = _need(connection), tables.variant.c
    asked = _queued(select(_run.id, need.c.value, _needed.c.status, variant.name)).join(need, true())
    asked = asked.outerjoin(_needed, _needed.c.id == cast(need.c.value, Integer)).outerjoin(tables.variant, variant.id == _needed.c.variant_id)
    found: dict[int, str] = {}
    for run_id, needed, status, name in connection.execute(asked.where(_needed.c.id.is_(None) | _needed.c.status.in_(RESUMABLE))):
        found.setdefault(run_id, _why(needed, status, name))
    return found


def _queued(asked: Select[Any]) -> Select[Any]:
    """Of queued runs whose experiments are not deleted."""
    kept = asked.select_from(tables.run).join(tables.experiment, tables.experiment.c.id == _run.experiment_id)
    return kept.where(_run.status == QUEUED, tables.experiment.c.deleted.is_(None))


def _need(connection: Connection) -> Any:
    """What a run needs as a table: one row with a `value` for each."""
    unfolded = func.json_each(_run.needs) if connection.dialect.name == "sqlite" else func.json_array_elements_text(_run.needs)
    return unfolded.table_valued("value", name="need")


def _with_needed_run(need: Any) -> Any:
    return need.outerjoin(_needed, _needed.c.id == cast(need.c.value, Integer))


def _why(need: int, status: str | None, variant: str) -> str:
    if status is None:
        return f"It needs run {need}, which is not in the store any more."
    words = {FAILED: "failed", LOST: "was lost"}.get(status, "was cancelled")
    return f'It needs run {need} of the variant "{variant}", which {words}.'
