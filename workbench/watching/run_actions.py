"""What the window does to runs: each a short write of the store in a thread, then a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.desk import Desk

if TYPE_CHECKING:
    from engines.store.rows import RunRow

LOG_BYTES = 60_000
"""How much of the end of a log is shown."""


def stop(desk: Desk, runs: Sequence[RunRow], done: Callable[[], None], failed: Callable[[str], None]) -> None:
    """Ask runs to stop: queued ones are cancelled at once, others after their step, with a checkpoint."""
    ids = [run.id for run in runs if not run.over]
    _write(desk, lambda store, commands: commands.request_cancel(store, ids), f"Stopping {_count(ids)} …", ids, done, failed)


def resume(desk: Desk, runs: Sequence[RunRow], done: Callable[[], None], failed: Callable[[str], None]) -> None:
    """Queue failed, cancelled and lost runs again; they go on from their checkpoints."""
    ids = [run.id for run in runs if run.status in ("failed", "cancelled", "lost")]

    def act(store: Any, commands: Any) -> None:
        from engines.launching import ensure_supervisor

        commands.requeue(store, ids)
        ensure_supervisor(store.url)

    _write(desk, act, f"Resuming {_count(ids)} …", ids, done, failed)


def cancel(desk: Desk, ids: Sequence[int], done: Callable[[], None], failed: Callable[[str], None]) -> None:
    """As `stop`, by number."""
    _write(desk, lambda store, commands: commands.request_cancel(store, ids), f"Stopping {_count(ids)} …", ids, done, failed)


def move(desk: Desk, ids: Sequence[int], where: str, done: Callable[[], None], failed: Callable[[str], None]) -> None:
    """Move queued runs in the queue: first, up, down, last."""
    _write(desk, lambda store, commands: commands.move_runs(store, ids, where), f"Moved {_count(ids)}.", ids, done, failed)


def pause(desk: Desk, on: bool, done: Callable[[], None], failed: Callable[[str], None]) -> None:
    """Pause the queue, or let it go on; then somebody has to serve it."""

    def act(store: Any, commands: Any) -> None:
        from engines.launching import ensure_supervisor
        from engines.store import queries

        commands.set_paused(store, on)
        if not on and queries.queue(store):
            ensure_supervisor(store.url)

    _write(desk, act, "The queue is paused." if on else "The queue goes on.", [0], done, failed)


def delete(desk: Desk, experiment: int, done: Callable[[], None], failed: Callable[[str], None]) -> None:
    """Delete an experiment logically; a clean-up frees its space."""
    _write(desk, lambda store, commands: commands.delete_experiment(store, experiment), "Deleted.", [experiment], done, failed)


def read_log(desk: Desk, run: RunRow, show: Callable[[str], None]) -> None:
    """Events of a run and the end of its worker's log as one text."""
    store = desk.store
    if store is None:
        return
    path = Path(store.folder) / (run.folder or f"runs/{run.id}") / "worker.log"

    def work() -> str:
        from engines.store import queries

        events = "".join(f"{event.level}: {event.text}\n" for event in queries.events(store, run.id))
        if not path.exists():
            return events or "Nothing was written yet."
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return events + file.read().decode(errors="replace")

    desk.errands.run(work, show, show)


def _write(
    desk: Desk, act: Callable[[Any, Any], Any], words: str, ids: Sequence[int], done: Callable[[], None], failed: Callable[[str], None]
) -> None:
    store = desk.store
    if store is None or not ids:
        return

    def work() -> None:
        from engines.store import commands

        act(store, commands)

    def after(_nothing: object) -> None:
        desk.says.emit(words)
        done()

    desk.errands.run(work, after, failed)


def _count(ids: Sequence[int]) -> str:
    return f"{len(ids)} run{'s' if len(ids) != 1 else ''}"
