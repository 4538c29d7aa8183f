"""Following the store while runs go on: one read at a time in a thread, by cursor, only after the store changed.

    feed.updated(Update)     what is new since the last one: experiments, runs of the watched experiment, new points of its series

The pause between two reads grows with what reading and drawing cost, so that the window takes a few percent of a core and less of a
busy machine.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from PySide6.QtCore import QObject, QTimer, Signal

from workbench.desk import Desk
from workbench.gathering import Known, Update, gather

SHORTEST_MS, LONGEST_MS = 300, 3000
SHARE = 0.04
"""Of the window's time that may go into following."""
REST_MS = 100
"""Until the points of other runs are read: who pages through a table wants those of the last page, and no read while it is painted."""


class LiveFeed(QObject):
    """Reads for one view. `watch` chooses the experiment; `follow` the series keys whose points are wanted.

    series: whether the view needs the series of the runs at all (their last values, their points).
    """

    updated = Signal(object)
    failed = Signal(str)

    def __init__(self, desk: Desk, parent: QObject | None = None, *, series: bool = True) -> None:
        super().__init__(parent)
        self._desk = desk
        self._series = series
        self._experiment: int | None = None
        self._keys: frozenset[str] = frozenset()
        self._runs: frozenset[int] = frozenset()
        self._known = Known()
        self._seen: int | None = None
        self._timed = ""
        """What was timed on this machine at the last update: it ends without a change of this store."""
        self._generation = 0
        self._busy = self._again = False
        self._cost = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._read)
        self._running = False

    def start(self) -> None:
        """Follow from now on."""
        self._running = True
        self.refresh()

    def stop(self) -> None:
        """Stop following (the view is hidden or closed)."""
        self._running = False
        self._timer.stop()

    def watch(self, experiment: int | None) -> None:
        """Follow the runs of another experiment; all its points come with the next update."""
        if experiment != self._experiment:
            self._experiment, self._runs = experiment, frozenset()
            self._forget()

    def follow(self, keys: Collection[str]) -> None:
        """The series keys whose points are wanted. What is dropped is forgotten; what is new comes with the next update."""
        wanted = frozenset(keys)
        if wanted != self._keys:
            self._keys = wanted
            self._forget()

    def prefer(self, runs: Collection[int]) -> None:
        """The runs whose points are wanted where the experiment has more than MOST; without them those are its first ones."""
        wanted = frozenset(runs)
        if wanted != self._runs:
            self._runs, self._seen = wanted, None
            if self._running:
                self._timer.start(REST_MS)

    def refresh(self) -> None:
        """Read now, whether the store changed or not."""
        self._seen = None
        if self._running:
            self._timer.start(0)

    def drew(self, seconds: float) -> None:
        """How long the view took to show the last update; the next one waits accordingly."""
        self._cost += seconds

    @property
    def pause_ms(self) -> int:
        """Milliseconds until the next read."""
        return int(min(LONGEST_MS, max(SHORTEST_MS, 1000 * self._cost / SHARE)))

    def _forget(self) -> None:
        self._generation += 1
        self._known = Known()
        self.refresh()

    def _read(self) -> None:
        store = self._desk.store
        if store is None or not self._running:
            return
        if self._busy:
            self._again = True
            return
        self._busy, self._again = True, False
        generation, seen, timed = self._generation, self._seen, self._timed
        experiment, keys, preferred, known, series = self._experiment, self._keys, self._runs, self._known, self._series

        def work() -> tuple[int | None, str, Update | None, float]:
            from engines.timinglock import who_times

            started = time.perf_counter()
            change, whom = store.changed(), who_times()
            if change == seen and whom == timed:
                return change, whom, None, time.perf_counter() - started
            update = gather(store, experiment, keys, preferred, known, whom, series=series)
            return change, whom, update, time.perf_counter() - started

        def done(answer: tuple[int | None, str, Update | None, float]) -> None:
            self._busy = False
            change, self._timed, update, cost = answer
            if generation == self._generation:
                self._seen = change if self._seen is not None or seen is None else None
                self._cost = cost
                if update is not None:
                    self.updated.emit(update)
            self._next(at_once=self._again or generation != self._generation)

        def failed(sentence: str) -> None:
            self._busy = False
            self.failed.emit(sentence)
            self._next(at_once=False)

        self._desk.errands.run(work, done, failed)

    def _next(self, *, at_once: bool) -> None:
        if self._running:
            self._timer.start(0 if at_once else self.pause_ms)
