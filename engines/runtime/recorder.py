"""Points on their way to the store: the training thread appends to lists, a writer thread stores them twice a second, the first ones at once."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from typing import Any

from engines.statistics import Direction
from engines.store import commands
from engines.store.commands import ClaimLost, SeriesBatch
from engines.store.database import Store, StoreError

FLUSH_SECONDS = 0.5


class Recorder:
    """Series and progress of one run. `add` costs a list append; nothing is written on the caller's thread but in `flush`.

    A failure of the store (full disk, lost claim) ends the writer thread and is raised at the next `check` or `flush`; what was stored stays.
    """

    def __init__(self, store: Store, run: int, claim: str) -> None:
        self._store, self._run, self._claim = store, run, claim
        self._pending: dict[tuple[str, str, Direction], list[tuple[int, float, float]]] = defaultdict(list)
        self._progress: dict[str, Any] | None = None
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._closed = self._begun = False
        self.failure: StoreError | ClaimLost | None = None
        self.writer_seconds = 0.0
        """Processor time of the writer thread."""
        self._thread = threading.Thread(target=self._write_until_closed, name="recorder", daemon=True)
        self._thread.start()

    def add(self, key: str, step: int, value: float, unit: str = "", better: Direction = "none") -> None:
        """One point, now. better: which way the quantity is to go."""
        with self._lock:
            self._pending[key, unit, better].append((step, time.time(), value))

    def add_many(self, key: str, points: list[tuple[int, float, float]], unit: str = "", better: Direction = "none") -> None:
        """Points as (step, unix seconds, value)."""
        with self._lock:
            self._pending[key, unit, better].extend(points)
        if not self._begun:  # Somebody waits to see that it trains.
            self._begun = True
            self._wake.set()

    def progress(self, **figures: float | None) -> None:
        """The latest state of the run, for progress bars."""
        self._progress = {key: value for key, value in figures.items() if value is not None and math.isfinite(value)}

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def flush(self) -> None:
        """Store everything that is pending, on this thread."""
        self.check()
        self._store_pending()

    def close(self) -> None:
        """Stop the writer thread and store what is left."""
        self._closed = True
        self._wake.set()
        self._thread.join()
        if self.failure is None:
            self._store_pending()

    def _write_until_closed(self) -> None:
        while not self._closed:
            self.writer_seconds = time.thread_time()
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            if self._closed:
                return
            try:
                self._store_pending()
            except (StoreError, ClaimLost) as failure:
                self.failure = failure
                return

    def _store_pending(self) -> None:
        with self._writing:
            with self._lock:
                pending, self._pending = self._pending, defaultdict(list)
                progress, self._progress = self._progress, None
            batches = []
            for (key, unit, better), points in pending.items():
                steps, times, values = zip(*points, strict=True)
                batches.append(SeriesBatch(key, unit, better, list(steps), list(times), list(values)))
            if batches:
                commands.append_points(self._store, self._run, self._claim, batches)
            if progress is not None:
                commands.set_progress(self._store, self._run, self._claim, progress)
