"""Follow the runs of an experiment in the store until all of them have ended; a supervisor that died meanwhile is replaced."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from engines.launching import ensure_supervisor, holder
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import QUEUED, RunRow
from engines.timinglock import who_times

LOOK_SECONDS = 0.5
"""Drawing more often would take from the runs what it shows of them, where they share the cores."""
GUARD_SECONDS = 2.0
"""How often it looks whether a supervisor still serves the store."""
PATIENCE_SECONDS = 15.0
"""How long an interrupted client waits for its runs to end: the supervisor stops them within 5 s, terminates within 10."""


class Interruption:
    """Counts Ctrl+C instead of raising inside a write to the store or a drawing of the screen."""

    def __init__(self) -> None:
        self.count = 0
        self._pressed = threading.Event()

    def press(self) -> None:
        self.count += 1
        self._pressed.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not past the next Ctrl+C."""
        if self._pressed.wait(seconds):
            self._pressed.clear()


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Within it Ctrl+C is counted; outside the main thread nothing changes (signals arrive there only)."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def press(number: int, frame: FrameType | None) -> None:
        interruption.press()

    before = signal.signal(signal.SIGINT, press)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)


def follow(
    store: Store,
    run_ids: list[int],
    interruption: Interruption,
    tell: Callable[[list[RunRow]], None],
    *,
    jobs: int | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
) -> list[RunRow]:
    """Wait until every run has ended; returns their last rows.

    tell: called with the rows whenever the store changed. The first Ctrl+C cancels the runs and goes on waiting for their clean end, the
    second (or `PATIENCE_SECONDS`) leaves at once: then rows that have not ended are among the result.
    """
    seen: int | None = None
    rows: list[RunRow] = []
    experiments = sorted({queries.run(store, run).experiment_id for run in run_ids})
    next_guard = 0.0
    said, waits_for = False, ""
    cancelled_at: float | None = None
    while True:
        now = time.monotonic()
        if interruption.count and cancelled_at is None:
            cancelled_at = now
            warn("Cancelling; Ctrl+C again leaves without waiting.")
            commands.request_cancel(store, run_ids)
        if interruption.count > 1 or (cancelled_at is not None and now - cancelled_at > PATIENCE_SECONDS):
            return rows
        changed = store.changed()
        if changed != seen:
            seen = changed
            found = {row.id: row for experiment in experiments for row in queries.runs(store, experiment)}
            rows = [found[run] for run in run_ids if run in found]
            tell(rows)
            if queries.paused(store) is not None and not said and any(row.status == QUEUED for row in rows):
                said = True
                warn("The queue of this store is paused: these runs start when it goes on (workbench queue resume).")
            if all(row.over for row in rows):
                return rows
        if now >= next_guard:
            next_guard = now + GUARD_SECONDS
            if holder(store.url) is None:
                ensure_supervisor(store.url, jobs=jobs)
            # Nothing in this store changes when the session of another one begins or ends.
            if (whom := who_times()) not in ("", waits_for) and {row.status for row in rows if not row.over} == {QUEUED}:
                waits_for = whom
                warn(f"These runs wait for {whom}, which is being timed on this machine.")
        interruption.wait(LOOK_SECONDS)
