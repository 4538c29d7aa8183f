"""Where one worker waits with torch loaded, so that the next run begins at once (decision 0023)."""

from __future__ import annotations

from engines import probes
from engines.custody import WORKER_MODULE, Spare

NEEDS_MIB = 2048.0
"""Free memory without which none is kept: it holds about a tenth of that."""


class SparePlace:
    """Holds one spare worker, or none. wanted: whether it ever holds one; False after one could not be started."""

    def __init__(self, url: str, module: str = WORKER_MODULE, *, wanted: bool) -> None:
        self.wanted = wanted
        self.waiting: Spare | None = None
        self._url, self._module = url, module

    def keep(self, *, idle: bool) -> None:
        """Have one wait while there is time for it, none otherwise or where memory is short. Raises OSError where none can be started."""
        if self.waiting is not None and (not idle or not self.waiting.waits):
            self.close()
        if idle and self.waiting is None and probes.load_facts()["memory_available_mib"] > NEEDS_MIB:
            try:
                self.waiting = Spare(self._url, self._module)
            except OSError:
                self.wanted = False
                raise

    def take(self) -> Spare | None:
        """The one that waits, for a run."""
        taken, self.waiting = self.waiting, None
        return taken

    def close(self) -> None:
        """End it; that of a process that dies ends with its pipe."""
        spare = self.take()
        if spare is not None:
            spare.close()
