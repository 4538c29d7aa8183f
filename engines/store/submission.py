"""Writes of a person: experiments submitted, runs cancelled, resumed, experiments deleted, noted, tagged."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, String, cast, delete, insert, literal, select, update

from engines.store import tables
from engines.store.database import Store
from engines.store.failures import StoreError
from engines.store.ordering import next_place
from engines.store.rows import ACTIVE, CANCELLED, DONE, QUEUED, RESUMABLE, RUNNING, WANTED

_run = tables.run.c


def submit(
    store: Store,
    *,
    name: str,
    digest: str,
    text: str,
    document: Mapping[str, Any],
    folder: str,
    variants: Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
    smoke: bool = False,
) -> int:
    """Store an experiment with its variants and queue its runs, all variants of the first seed first; returns the experiment's id.

    variants: {"name", "plan", "baseline", "needs": names of variants whose run of the same seed comes first}. Raises ValueError for a need
    that is no variant, StoreError.
    """
    names = {variant["name"] for variant in variants}
    for variant in variants:
        for need in variant.get("needs", ()):
            if need not in names:
                raise ValueError(f'The variant "{variant["name"]}" needs "{need}", which is no variant of this experiment: {sorted(names)}.')
    now = time.time()
    with store.writing() as connection:
        row = {"name": name, "digest": digest, "text": text, "document": document, "folder": str(folder), "created": now}
        experiment_id = _insert(connection, tables.experiment, row)
        ids = {
            variant["name"]: _insert(
                connection,
                tables.variant,
                {
                    "experiment_id": experiment_id, "position": position, "name": variant["name"], "plan": variant["plan"],
                    "baseline": bool(variant.get("baseline", False)),
                },
            )
            for position, variant in enumerate(variants)
        }
        first = next_place(connection)
        for number, seed in enumerate(seeds):
            runs = {
                variant["name"]: _insert(
                    connection,
                    tables.run,
                    {
                        "experiment_id": experiment_id, "variant_id": ids[variant["name"]], "seed": int(seed), "status": QUEUED,
                        "smoke": bool(smoke), "attempt": 0, "needs": [], "queued": now, "progress": {},
                        "place": first + number * len(variants) + position,
                    },
                )
                for position, variant in enumerate(variants)
            }
            for variant in variants:
                if variant.get("needs"):
                    needs = [runs[need] for need in variant["needs"]]
                    connection.execute(update(tables.run).where(_run.id == runs[variant["name"]]).values(needs=needs))
        connection.execute(
            update(tables.run).where(_run.experiment_id == experiment_id).values(folder=literal("runs/") + cast(_run.id, String))
        )
    return experiment_id


def request_cancel(store: Store, run_ids: Iterable[int]) -> list[int]:
    """Cancel runs: queued ones at once, live ones through their supervisor (`request` becomes "cancel"). Returns the ids that this touched."""
    with store.writing() as connection:
        return _cancel(connection, _run.id.in_(list(run_ids)))


def clear_request(store: Store, run_ids: Iterable[int]) -> None:
    """Take back what was requested of runs that are still live."""
    with store.writing() as connection:
        connection.execute(update(tables.run).where(_run.id.in_(list(run_ids)), _run.status.in_(ACTIVE)).values(request=""))


def requeue(store: Store, run_ids: Iterable[int]) -> list[int]:
    """Queue failed, cancelled and lost runs again, to continue from their checkpoints, together with the runs they need that are not done.

    The claims of earlier attempts end with this. Returns the ids that are queued now because of this call.
    """
    queued: list[int] = []
    with store.writing() as connection:
        pending = list(dict.fromkeys(run_ids))
        seen: set[int] = set()
        while pending:
            asked = select(_run.id, _run.status, _run.needs).where(_run.id.in_(pending))
            rows = connection.execute(asked).all()
            seen |= {row.id for row in rows}
            queued += [row.id for row in rows if row.status in RESUMABLE]
            pending = [need for row in rows if row.status != DONE for need in row.needs if need not in seen]
        fresh = {
            "status": QUEUED, "request": "", "claim": "", "phase": "", "queued": time.time(), "started": None, "ended": None, "reason": "",
            "advice": "", "pid": None, "pid_started": None, "supervisor_id": None,
        }  # fmt: skip
        first = next_place(connection)
        for place, run_id in enumerate(sorted(queued), first):
            connection.execute(update(tables.run).where(_run.id == run_id).values(fresh | {"place": place}))
    return sorted(queued)


def delete_experiment(store: Store, experiment_id: int) -> None:
    """Delete an experiment: it is gone from every list at once, its runs and timing are cancelled; `gc` frees its rows and files."""
    with store.writing() as connection:
        _existing(connection, experiment_id)
        _cancel(connection, _run.experiment_id == experiment_id)
        timing = tables.timing.c
        # A session looks between its rounds whether it is still open.
        connection.execute(update(tables.timing).where(timing.experiment_id == experiment_id, timing.status == RUNNING).values(status=CANCELLED))
        connection.execute(update(tables.experiment).where(tables.experiment.c.id == experiment_id).values(deleted=time.time()))


def restore_experiment(store: Store, experiment_id: int) -> None:
    """Take back a deletion that `gc` has not made final."""
    with store.writing() as connection:
        _existing(connection, experiment_id)
        connection.execute(update(tables.experiment).where(tables.experiment.c.id == experiment_id).values(deleted=None))


def put_note(store: Store, experiment_id: int, text: str, run_id: int | None = None) -> int:
    """Write a note beside an experiment, or one of its runs; returns its id."""
    with store.writing() as connection:
        _existing(connection, experiment_id)
        return _insert(connection, tables.note, {"experiment_id": experiment_id, "run_id": run_id, "time": time.time(), "text": text})


def set_tag(store: Store, experiment_id: int, name: str, present: bool = True) -> None:
    """Put a tag on an experiment, or take it off."""
    with store.writing() as connection:
        _existing(connection, experiment_id)
        connection.execute(delete(tables.tag).where(tables.tag.c.experiment_id == experiment_id, tables.tag.c.name == name))
        if present:
            connection.execute(insert(tables.tag).values(experiment_id=experiment_id, name=name))


def _cancel(connection: Connection, which: Any) -> list[int]:
    ended = {"status": CANCELLED, "ended": time.time(), "reason": "Cancelled before it started.", "advice": "Resume queues it again."}
    waiting = connection.execute(select(_run.id).where(which, _run.status == QUEUED)).scalars().all()
    connection.execute(update(tables.run).where(_run.id.in_(waiting)).values(ended))
    live = connection.execute(select(_run.id).where(which, _run.status.in_(ACTIVE))).scalars().all()
    connection.execute(update(tables.run).where(_run.id.in_(live)).values(request="cancel"))
    return sorted([*waiting, *live])


def _existing(connection: Connection, experiment_id: int) -> None:
    if connection.execute(select(tables.experiment.c.id).where(tables.experiment.c.id == experiment_id)).one_or_none() is None:
        raise StoreError(f"There is no experiment {experiment_id} in this store.")


def _insert(connection: Connection, table: Any, row: Mapping[str, Any]) -> int:
    made = connection.execute(insert(table).values(row)).inserted_primary_key
    assert made is not None
    return int(made[0])


def ask_for_timing(store: Store, experiment_id: int, measure: Mapping[str, Any]) -> int:
    """Wish that the finished models of an experiment are timed, once more where they have been; returns the id of the wish.

    measure: what shall be otherwise than its file says (rounds, launches, seconds, limit, until_narrow).
    """
    with store.writing() as connection:
        row = {"experiment_id": experiment_id, "target": "", "quantity": "", "status": WANTED, "facts": {"measure": dict(measure)}}
        made = connection.execute(insert(tables.timing).values(row)).inserted_primary_key
        assert made is not None
        return int(made[0])


def drop_wishes(store: Store, wishes: Sequence[int]) -> None:
    """Take wishes for a timing back, or strike off those that were granted; of other sessions nothing is lost."""
    c = tables.timing.c
    with store.writing() as connection:
        connection.execute(delete(tables.timing).where(c.id.in_(wishes), c.status == WANTED))
