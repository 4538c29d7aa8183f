"""The store that a verb works on, and what its ids name there."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.console.output import RequestError
from engines.store import queries
from engines.store.address import sqlite_path, store_url
from engines.store.bundles import is_bundle, unpack
from engines.store.database import Store, StoreError
from engines.store.rows import ExperimentRow, RunRow


@contextmanager
def opened(arguments: argparse.Namespace, *, looking: bool = False) -> Iterator[Store]:
    """The store of a verb, or the bundle named in its place. looking: one that nobody may write is read all the same, and one that was named but is
    not there is not made."""
    if is_bundle(arguments.store):
        with Store.open(unpack(Path(arguments.store).expanduser().absolute()), read_only=True) as store:
            yield store
        return
    url = store_url(arguments.store)
    path = sqlite_path(url)
    if looking and arguments.store and path is not None and not path.exists():
        raise RequestError(f"There is no store at {path}.")
    try:
        store = Store.open(url)
    except StoreError:
        if not looking:
            raise
        store = Store.open(url, read_only=True)
    with store:
        yield store


def existing_experiment(store: Store, number: int) -> ExperimentRow:
    found = next((row for row in queries.experiments(store) if row.id == number), None)
    if found is None:
        raise RequestError(f"There is no experiment {number} in {store.url}; workbench list shows those there are.")
    return found


def existing_run(store: Store, number: int) -> RunRow:
    found = next((row for row in queries.runs(store) if row.id == number), None)
    if found is None:
        raise RequestError(f"There is no run r{number} in {store.url}; workbench list and workbench show ID show those there are.")
    return found
