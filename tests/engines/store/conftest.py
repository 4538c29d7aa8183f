"""A fresh store, and a run in it that somebody has claimed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine

from engines.store import commands
from engines.store.database import Store
from engines.store.queries import RunRow


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """On SQLite; with WORKBENCH_TEST_POSTGRESQL, the URL of a database that may be emptied, on that (points, commands, collection)."""
    url = os.environ.get("WORKBENCH_TEST_POSTGRESQL")
    if url:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
        engine.dispose()
    with Store.open(url or store_url) as opened:
        yield opened


@pytest.fixture
def submit(store: Store) -> Callable[..., int]:
    """Submit an experiment: submit({"full": [], "student": ["full"]}, seeds=[0, 1]) names variants and what they need."""

    def submit(variants: dict[str, list[str]], seeds: list[int] | None = None, **changes: Any) -> int:
        rows = [
            {"name": name, "plan": {"variant": name}, "baseline": position == 0, "needs": needs}
            for position, (name, needs) in enumerate(variants.items())
        ]
        given = {"name": "which?", "digest": "d", "text": "[experiment]", "document": {"experiment": {}}, "folder": "/data", "smoke": False}
        return commands.submit(store, variants=rows, seeds=seeds or [0], **{**given, **changes})

    return submit


@pytest.fixture
def supervisor(store: Store) -> int:
    return commands.register_supervisor(store, "here", 4711, 1.5)


@pytest.fixture
def run(store: Store, submit: Callable[..., int], supervisor: int) -> RunRow:
    """A claimed run of an experiment of one variant."""
    submit({"full": []})
    claimed = commands.claim_run(store, supervisor)
    assert claimed is not None
    return claimed
