"""`workbench note`, `tag`, `star`, `archive`, `delete`, `restore`: what a person writes beside experiments, and which they want to see."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from engines.console.opening import existing_experiment, existing_run, opened
from engines.console.output import RequestError, experiment_id, note, say, split_id, when, write_json
from engines.store import commands, queries
from engines.store.rows import ARCHIVED, STARRED


def write_note(arguments: argparse.Namespace) -> int:
    """Write a note beside an experiment or a run; without words show those there are."""
    kind, number = split_id(arguments.id)
    with opened(arguments, looking=not arguments.words) as store:
        run = existing_run(store, number) if kind == "run" else None
        experiment = run.experiment_id if run is not None else existing_experiment(store, number).id
        if arguments.words:
            commands.put_note(store, experiment, " ".join(arguments.words), run.id if run is not None else None)
        found = [row for row in queries.notes(store, experiment) if run is None or row.run_id == run.id]
    if arguments.json:
        write_json([asdict(row) for row in found])
    elif not found:
        note(f"No notes beside {arguments.id}. Write one: workbench note {arguments.id} WORDS")
    else:
        for row in found:
            say(f"{when(row.time)}  {f'r{row.run_id}: ' if row.run_id is not None and run is None else ''}{row.text}")
    return 0


def tag(arguments: argparse.Namespace) -> int:
    """Put tags on an experiment or take them off; without any show those it has."""
    wanted = [*arguments.names, *arguments.remove]
    for name in wanted:
        if not name.strip() or len(name) > 200:
            raise RequestError(f"A tag has 1 to 200 characters, not {len(name)}.")
    return _tagged(arguments, [(name.strip(), True) for name in arguments.names] + [(name.strip(), False) for name in arguments.remove])


def star(arguments: argparse.Namespace) -> int:
    return _tagged(arguments, [(STARRED, not arguments.off)])


def archive(arguments: argparse.Namespace) -> int:
    """An archived experiment is left out of lists until asked for; nothing of it is lost."""
    return _tagged(arguments, [(ARCHIVED, not arguments.off)])


def _tagged(arguments: argparse.Namespace, changes: list[tuple[str, bool]]) -> int:
    number = experiment_id(arguments.id)
    with opened(arguments, looking=not changes) as store:
        existing_experiment(store, number)
        for name, present in changes:
            commands.set_tag(store, number, name, present)
        found = queries.tags(store).get(number, [])
    if arguments.json:
        write_json({"id": number, "tags": found})
    else:
        say(f"{number}: {', '.join(found)}" if found else f"{number}: no tags")
    return 0


def delete(arguments: argparse.Namespace) -> int:
    """Delete experiments so that they can be brought back until `gc` frees them."""
    numbers = [experiment_id(text) for text in arguments.ids]
    with opened(arguments) as store:
        for number in numbers:
            existing_experiment(store, number)
        for number in numbers:
            commands.delete_experiment(store, number)
    named = " ".join(map(str, numbers))
    note(f"Deleted {named}. Back again with: workbench restore {named}; gone for good with: workbench gc")
    return 0


def restore(arguments: argparse.Namespace) -> int:
    """Bring deleted experiments back; without an id list those that can be."""
    numbers = [experiment_id(text) for text in arguments.ids]
    with opened(arguments, looking=not numbers) as store:
        deleted = {row.id: row for row in queries.experiments(store, deleted=True)}
        gone = [number for number in numbers if number not in deleted]
        if gone:
            known = ", ".join(map(str, deleted)) or "none"
            raise RequestError(f"Not among the deleted experiments: {', '.join(map(str, gone))}. Those are: {known}.")
        for number in numbers:
            commands.restore_experiment(store, number)
    for row in [] if numbers else deleted.values():
        say(f"{row.id}  {row.name}  deleted {when(row.deleted or 0.0)}")
    note(f"Brought back {', '.join(map(str, numbers))}." if numbers else f"{len(deleted)} deleted experiments can be brought back.")
    return 0
