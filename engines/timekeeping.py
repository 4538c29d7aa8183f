"""When experiments are timed: after their runs, one at a time, while no run is at work. The supervisor's part of a timing session.

A supervisor times what had a run end in its care, the newest first, and what somebody asked for; nobody waits for what an earlier one left.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from engines import timetable
from engines.following import GUARD_SECONDS, Interruption
from engines.launching import ensure_supervisor, holder, process_environment
from engines.store import queries
from engines.store.database import Store
from engines.store.rows import LOST
from engines.timetable import ORPHANED, POSTPONED
from engines.timinglock import who_times

MODULE = "engines.timing"
LEAVE_SECONDS = 10.0
"""How long a session that was told to stop may take (it looks between turns); then its processes are killed."""
LOOK_SECONDS = 0.5


class Timekeeper:
    """Holds at most one timing process, which ends with us: its standard input is our pipe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._candidates: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._experiment = 0
        self._why = ""
        """Why the session was told to stop; empty while it may go on."""
        self._kill_at = 0.0

    def consider(self, experiment_id: int) -> None:
        """A run of this experiment has ended; perhaps it was the last."""
        if experiment_id not in self._candidates:
            self._candidates.append(experiment_id)

    def take_over(self) -> None:
        """End what a supervisor that died left: sessions that nobody holds any more."""
        for experiment_id in queries.being_timed(self._store):
            timetable.close_abandoned(self._store, experiment_id)

    @property
    def busy(self) -> bool:
        """Whether a session runs. One that ended without a word is closed in the store, one that does not stop when told is killed."""
        if self._process is None:
            return False
        if self._why and self._process.poll() is None and time.monotonic() > self._kill_at:
            _kill(self._process)
        code = self._process.poll()
        if code is None:
            return True
        self._close_pipe()
        # It closes its session itself, unless it died; then nobody shall wait for it.
        if self._why:
            timetable.close(self._store, self._experiment, LOST, self._why)
        else:
            timetable.cancel(self._store, self._experiment, f"The timing process ended with code {code}; its log says why.")
        self._process, self._why = None, ""
        return False

    @property
    def pending(self) -> bool:
        """Whether a session runs or is due."""
        if self.busy:
            return True
        self._hear_wishes()
        return any(timetable.is_due(self._store, each) for each in self._candidates)

    def start_next(self) -> None:
        """Start the session of the newest experiment that is due, unless one runs."""
        self._hear_wishes()
        while not self.busy and self._candidates:
            experiment_id = max(self._candidates)
            self._candidates.remove(experiment_id)
            if timetable.is_due(self._store, experiment_id):
                self._start(experiment_id)

    def _hear_wishes(self) -> None:
        for experiment_id in queries.wanted_timings(self._store):
            self.consider(experiment_id)

    def postpone(self) -> None:
        """Ask the session to make way for new runs: what it has measured is given up, and it is made anew when nothing is queued."""
        if self._process is not None and not self._why:
            self.consider(self._experiment)
            self._stop(POSTPONED)

    def end(self) -> None:
        """Ask the session to stop, for good; `busy` tells when it has."""
        self._candidates.clear()
        if self._process is not None and not self._why:
            self._stop(ORPHANED)

    def close(self) -> None:
        """End the session now."""
        self.end()
        if self._process is not None:
            try:
                self._process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                _kill(self._process)

    def _stop(self, why: str) -> None:
        self._why, self._kill_at = why, time.monotonic() + LEAVE_SECONDS
        if self._process is not None and self._process.stdin is not None:
            # It has gone by itself, or its pipe is closed already.
            with suppress(OSError, ValueError):
                self._process.stdin.write(f"{why}\n".encode())
        self._close_pipe()

    def _start(self, experiment_id: int) -> None:
        log = self._store.timing_log(experiment_id)
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


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a session together with the models that it times."""
    with suppress(psutil.NoSuchProcess):
        models = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for model in models:
            with suppress(psutil.NoSuchProcess):
                model.kill()
    process.wait()


def wait_until_timed(
    store: Store, experiment_id: int, interruption: Interruption, *, jobs: int | None = None, tell: Callable[[str], None] = lambda sentence: None
) -> bool:
    """Wait for the timing session that follows the runs of an experiment, where the supervisor will make one.

    An interruption cancels it: then False.
    """
    seen: int | None = None
    told, waits_for = False, ""
    looks = 0
    while True:
        if interruption.count:
            timetable.cancel(store, experiment_id, "Cancelled by its client.")
            return False
        changed = store.changed()
        if changed != seen:
            seen = changed
            if not timetable.is_pending(store, experiment_id):
                if timetable.is_due(store, experiment_id):
                    tell("The finished models are not timed: the supervisor that ran them is gone.")
                return True
            if not told:
                told = True
                tell("Timing the finished models in interleaved rounds (Ctrl+C leaves it out).")
        if (whom := who_times()) not in ("", waits_for, timetable.named(store, experiment_id)):
            waits_for = whom
            tell(f"Waits for {whom}, which is being timed on this machine.")
        if looks % round(GUARD_SECONDS / LOOK_SECONDS) == 0 and holder(store.url) is None:
            ensure_supervisor(store.url, jobs=jobs)
        looks += 1
        interruption.wait(LOOK_SECONDS)
