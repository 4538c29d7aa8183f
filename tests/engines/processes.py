"""What the tests of processes share: a store with scripted runs, waiting with a deadline, and proof that nothing is left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psutil

from engines import launching, probes
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import RunRow

SCRIPTED = {"WORKBENCH_WORKER_MODULE": "tests.engines.obedient_worker", "WORKBENCH_LINGER": "0.5"}
"""Environment of a supervisor whose workers follow the script of their plan."""
T = TypeVar("T")


def until(find: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """The first true answer of `find`; fails after `seconds` with what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"Not within {seconds:.0f} s: {what}")


def queue(store: Store, *scripts: list[dict[str, Any]], needs: dict[int, list[int]] | None = None) -> list[int]:
    """Queue one run for each script; returns the run ids. needs: position -> positions that come first."""
    variants = [
        {
            "name": f"v{i}",
            "plan": {"script": script, "device": "cpu"},
            "baseline": i == 0,
            "needs": [f"v{other}" for other in (needs or {}).get(i, [])],
        }
        for i, script in enumerate(scripts)
    ]
    number = commands.submit(store, name="scripted", digest="", text="", document={}, folder="/", variants=variants, seeds=[0], smoke=False)
    return [row.id for row in queries.runs(store, number)]


def ended(store: Store, run: int, seconds: float = 30.0) -> RunRow:
    """The row of a run once it has ended."""
    until(lambda: queries.run(store, run).status in ("done", "failed", "cancelled", "lost"), f"the end of run {run}", seconds)
    return queries.run(store, run)


def under_way(store: Store, run: int, points: int = 3) -> RunRow:
    """The row of a run that trains and has stored some points; it may not even be queued yet."""

    def training() -> RunRow | None:
        row = next((row for row in queries.runs(store, status="running") if row.id == run), None)
        return row if loss_points(store, run) >= points else None

    found = until(training, f"{points} points of run {run}", 60)
    assert found is not None
    return found


def loss_points(store: Store, run: int) -> int:
    return next((row.count for row in queries.series(store, run) if row.key == "train/loss"), 0)


def processes_of(url: str) -> list[psutil.Process]:
    """Every live process that was started for a store."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if url in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            found.append(process)
    return found


@contextmanager
def nothing_left(url: str) -> Iterator[None]:
    """Whatever the test does, no process of this store outlives it; a test that relies on this cleaning fails."""
    try:
        yield
        until(lambda: not processes_of(url), f"no process of {url} is left", 20)
    finally:
        for process in processes_of(url):
            process.kill()


def supervisor_gone(url: str) -> bool:
    found = launching.holder(url)
    return found is None or not probes.is_alive(found.pid, found.pid_started)
