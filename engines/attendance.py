"""Whether anybody needs a supervisor: runs that are queued, results to be timed, windows and commands that are open."""

from __future__ import annotations

import os
import time

from engines import launching
from engines.store import queries
from engines.store.database import Store

LINGER_SECONDS = float(os.environ.get("WORKBENCH_LINGER", "3"))
"""How long it stays after the last client and the last run: a user who closes and opens a window finds it still there."""
LOOK_SECONDS = 0.5
"""How often it looks for clients and queued runs."""


class Attendance:
    """once: clients do not count, and nothing is waited for; stay: it is needed always."""

    def __init__(self, store: Store, *, once: bool, stay: bool) -> None:
        self._store, self._once, self._stay = store, once, stay
        self._alone_since: float | None = None
        self._next_look = 0.0

    def needed(self, *, pending: bool) -> bool:
        """At this moment. pending: whether something is still to be timed."""
        # Runs of a paused queue need nobody: whoever lets it go on sees that somebody serves it.
        waiting = bool(queries.runs(self._store, status="queued")) and queries.paused(self._store) is None
        found = pending or waiting or (not self._once and launching.clients(self._store.url) > 0)
        if found:
            self.occupied()
        return found

    def occupied(self) -> None:
        """The supervisor has something to do now."""
        self._alone_since = None

    def over(self, *, pending: bool) -> bool:
        """Whether nobody has needed it for a while."""
        now = time.monotonic()
        if self._stay or now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        if self.needed(pending=pending):
            return False
        if self._alone_since is None:
            self._alone_since = now
        return self._once or now - self._alone_since > LINGER_SECONDS
