"""When experiments are timed: after their runs, one at a time, while no run is at work. The supervisor's part of a timing session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from engines import timetable
from engines.following import GUARD_SECONDS, Interruption
from engines.launching import ensure_supervisor, holder, process_environment
from engines.store import queries
from engines.store.database import Store

MODULE = "engines.timing"
RECENT = 5
"""How many of the newest experiments a new supervisor looks at: those that an earlier one may have left untimed."""
LEAVE_SECONDS = 10.0
LOOK_SECONDS = 0.5


class Timekeeper:
    """Holds at most one timing process, which ends with us: its standard input is our pipe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._candidates: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._experiment = 0
        self._ending = False

    def consider(self, experiment_id: int) -> None:
        """A run of this experiment has ended; perhaps it was the last."""
        if experiment_id not in self._candidates:
            self._candidates.append(experiment_id)

    def take_over(self) -> None:
        """What a supervisor that died left: sessions that nobody holds any more, experiments that it did not come to."""
        for row in queries.experiments(self._store)[-RECENT:]:
            timetable.close_abandoned(self._store, row.id)
            self.consider(row.id)

    @property
    def busy(self) -> bool:
        """Whether a session runs. One that ended without a word is closed in the store."""
        if self._process is None:
            return False
        code = self._process.poll()
        if code is None:
            return True
        self._close_pipe()
        self._process = None
        if not self._ending:
            # It closes its session itself, unless it died; then nobody shall wait for it.
            timetable.cancel(self._store, self._experiment, f"The timing process ended with code {code}; its log says why.")
        return False

    @property
    def pending(self) -> bool:
        """Whether a session runs or is due."""
        return self.busy or any(timetable.is_due(self._store, each) for each in self._candidates)

    def start_next(self) -> None:
        """Start the session of the next experiment that is due, unless one runs."""
        while not self.busy and self._candidates:
            experiment_id = self._candidates.pop(0)
            if timetable.is_due(self._store, experiment_id):
                self._start(experiment_id)

    def end(self) -> None:
        """Ask the session to stop; `busy` tells when it has."""
        self._ending = True
        self._candidates.clear()
        self._close_pipe()

    def close(self) -> None:
        """End the session now."""
        self.end()
        if self._process is not None:
            try:
                self._process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _start(self, experiment_id: int) -> None:
        log = Path(self._store.folder) / "timing" / f"experiment-{experiment_id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", MODULE, "--store", self._store.url, "--experiment", str(experiment_id), "--attached"]
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=process_environment())
        except OSError as error:
            timetable.cancel(self._store, experiment_id, f"The timing process could not be started: {error}.")
        self._experiment = experiment_id

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()


def wait_until_timed(
    store: Store, experiment_id: int, interruption: Interruption, *, jobs: int | None = None, tell: Callable[[str], None] = lambda sentence: None
) -> bool:
    """Wait for the timing session that follows the runs of an experiment, where one is due. An interruption cancels it: then False."""
    seen: int | None = None
    told = False
    looks = 0
    while True:
        if interruption.count:
            timetable.cancel(store, experiment_id, "Cancelled by its client.")
            return False
        changed = store.changed()
        if changed != seen:
            seen = changed
            if not timetable.is_pending(store, experiment_id):
                return True
            if not told:
                told = True
                tell("Timing the finished models in interleaved rounds (Ctrl+C leaves it out).")
        if looks % round(GUARD_SECONDS / LOOK_SECONDS) == 0 and holder(store.url) is None:
            ensure_supervisor(store.url, jobs=jobs)
        looks += 1
        interruption.wait(LOOK_SECONDS)
