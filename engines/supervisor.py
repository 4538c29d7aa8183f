"""The supervisor: claims queued runs of one store, starts a worker for each, watches from outside, and writes the truth about every death.

It has neither torch nor Qt. It leaves a few seconds after its last client and its last queued run are gone. Its process: `engines.serving`.
"""

from __future__ import annotations

import os
import platform
import selectors
import socket
import time
from contextlib import suppress

from filelock import FileLock

from engines import launching, probes
from engines.attendance import Attendance
from engines.custody import WORKER_MODULE, Custody, explain_death, explain_stop
from engines.processlog import say
from engines.spares import SparePlace
from engines.store import commands, queries
from engines.store.commands import ClaimLost
from engines.store.database import Store, StoreError
from engines.store.rows import RunRow
from engines.timekeeping import Timekeeper
from engines.timinglock import is_timing, who_times
from engines.watching import ProcessorPower, Watch

TICK_SECONDS = 0.25
SAMPLE_SECONDS = 0.5
FLUSH_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
STOP_SECONDS = 5.0
"""How long a worker may take to stop by itself before it is terminated; after twice that it is killed."""
GIVE_UP_SECONDS = 60.0
"""How long the store may refuse every write before the supervisor ends its workers and goes."""


class Supervisor:
    """Serves one store until nobody needs it. jobs: runs at once. spare: whether it keeps a spare worker."""

    def __init__(
        self, store: Store, *, jobs: int = 1, once: bool = False, stay: bool = False, module: str = WORKER_MODULE, spare: bool = False
    ) -> None:
        self.store, self.jobs, self.module = store, jobs, module
        self._attendance = Attendance(store, once=once, stay=stay)
        self.spares = SparePlace(store.url, module, wanted=spare)
        self.watches: list[Watch] = []
        self.timekeeper = Timekeeper(store)
        self.ending = ""
        """Why it was told to end; empty while it serves."""
        self._gpus = probes.Gpus()
        self._power = ProcessorPower()
        facts = probes.machine_facts(self._gpus)
        machine = commands.put_machine(store, probes.fingerprint(facts), facts)
        self.id = commands.register_supervisor(store, platform.node(), os.getpid(), probes.started(os.getpid()), machine)
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker):
            end.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._seen_change: int | None = None
        self._timing = False
        self._postponed = False
        """Whether runs wait for the timing session of another store, which has been said."""
        self._next_sample = self._next_flush = self._next_heartbeat = 0.0
        self._processor_seconds = time.process_time()
        """Own processor time at the last flush."""
        self._store_fails_since: float | None = None

    # --- The loop ---

    def serve(self, lock: FileLock) -> None:
        """Serve until nobody needs it, then release the lock and return."""
        self.timekeeper.take_over()
        while True:
            try:
                self._tick()
                self._store_fails_since = None
            except StoreError as error:
                self._bear(error)
            if self._should_leave() and self._leave(lock):
                return
            self._wait()

    def end(self, reason: str) -> None:
        """Ask the supervisor to stop its workers and leave; callable from a signal handler."""
        self.ending = reason
        with suppress(BlockingIOError):
            self._waker.send(b"x")

    def _tick(self) -> None:
        now = time.monotonic()
        self._reap()
        if self._timing != self.timekeeper.busy:
            self._timing, self._seen_change = self.timekeeper.busy, None
        for watch in self.watches:
            if self.ending:
                watch.custody.ask_to_stop(self.ending)
            watch.custody.insist(STOP_SECONDS)
        if self.ending:
            self.timekeeper.end()
        if now >= self._next_sample:
            self._next_sample = now + SAMPLE_SECONDS
            self._sample()
            self._keep_spare()
        if self.watches and now >= self._next_flush:
            self._next_flush = now + FLUSH_SECONDS
            self._flush()
        changed = self.store.changed()
        if changed != self._seen_change or now >= self._next_heartbeat:
            self._seen_change = changed
            self._obey()
            self._end_unwatched()
            self._start_runs()
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + HEARTBEAT_SECONDS
            commands.heartbeat(self.store, self.id)

    def _wait(self) -> None:
        """Until the next tick, a signal, or the death of a worker."""
        for key, _ in self._selector.select(TICK_SECONDS):
            if key.fileobj is self._wake:
                with suppress(BlockingIOError):
                    self._wake.recv(64)

    def _bear(self, error: StoreError) -> None:
        """The store refuses (full disk, gone): keep the workers while that may pass; they keep what they have in memory."""
        now = time.monotonic()
        if self._store_fails_since is None:
            self._store_fails_since = now
            say(f"the store refuses: {error}")
        elif now - self._store_fails_since > GIVE_UP_SECONDS:
            for watch in self.watches:
                watch.custody.kill()
                watch.custody.wait(STOP_SECONDS)
            self.timekeeper.close()
            raise error

    # --- Runs ---

    def _start_runs(self) -> None:
        """Start what is queued; when nothing is, time what has ended. Timed work shares the machine with no run."""
        if self.timekeeper.busy:
            if queries.next_run(self.store) is not None:
                self.timekeeper.postpone()
            return
        if queries.paused(self.store) is not None:
            return
        while not self.ending and len(self.watches) < self.jobs:
            if self._has_to_wait():
                return
            row = commands.claim_run(self.store, self.id)
            if row is None:
                if not self.watches:
                    self._keep_spare()  # ends it where something is to be timed
                    self.timekeeper.start_next()
                return
            self._start(row)

    def _has_to_wait(self) -> bool:
        """Whether there is a run that must not start, because it would disturb the timing session of another store."""
        ready = queries.next_run(self.store)
        if ready is None or not is_timing():
            self._postponed = False
            return False
        # Nothing in this store changes when that session ends: look again at the next tick.
        self._seen_change = None
        if not self._postponed:
            self._postponed = True
            whom = who_times() or "another timing session"
            commands.put_event(self.store, ready, "info", "waits", f"It waits for {whom}, which is being timed on this machine.")
            say(f"run r{ready} waits for {whom}, which is being timed on this machine")
        return True

    def _start(self, row: RunRow) -> None:
        folder = self.store.run_folder(row.id)
        device = str(queries.plan(self.store, row.id).get("device", "auto"))
        try:
            custody = Custody(self.store.url, row.id, row.claim, folder, self.module, self.spares.take())
        except OSError as error:
            commands.finish_run(self.store, row.id, row.claim, "failed", f"The worker could not be started: {error}.", "")
            self.timekeeper.consider(row.experiment_id)
            return
        watch = Watch(custody, self._gpus, self._gpus.index_of(device))
        if not self.watches:
            self._processor_seconds = time.process_time()
        self.watches.append(watch)
        if watch.death_notice is not None:
            self._selector.register(watch.death_notice, selectors.EVENT_READ)
        commands.set_process(self.store, row.id, row.claim, custody.pid, custody.pid_started)

    def _keep_spare(self) -> None:
        """Have a worker wait while a client is there and there is time for it; none beside what is timed."""
        if not self.spares.wanted:
            return
        idle = not (self.ending or self.watches or self.timekeeper.pending or is_timing()) and launching.clients(self.store.url) > 0
        try:
            self.spares.keep(idle=idle)
        except OSError as error:
            say(f"no spare worker: {error}")

    def _end_unwatched(self) -> None:
        """End runs that we claimed and nobody works on: the store refused between the claim and the start, or when the failure was to be written."""
        watched = {watch.custody.claim for watch in self.watches}
        for row in commands.runs_held(self.store, self.id):
            if row.claim not in watched:
                reason = "The worker could not be started: the store refused meanwhile."
                commands.finish_run(self.store, row.id, row.claim, "failed", reason, "Resume queues it again.")
                self.timekeeper.consider(row.experiment_id)
                say(f"run r{row.id}: failed: {reason}")

    def _obey(self) -> None:
        """Pass cancel requests on, and learn the step that samples are drawn at."""
        for watch in self.watches:
            row = queries.run(self.store, watch.custody.run_id)
            watch.step = int((row.progress or {}).get("step", watch.step))
            if row.claim != watch.custody.claim:
                watch.custody.kill()
            elif row.request == "cancel":
                watch.custody.ask_to_stop("cancelled")

    def _reap(self) -> None:
        for watch in list(self.watches):
            code = watch.custody.exit_code
            if code is None:
                continue
            if watch.death_notice is not None:
                self._selector.unregister(watch.death_notice)
                watch.close()
            self._write_the_truth(watch, code)
            self.watches.remove(watch)
            self.timekeeper.consider(queries.run(self.store, watch.custody.run_id).experiment_id)
            self._seen_change = None

    def _write_the_truth(self, watch: Watch, code: int) -> None:
        """The final status of a run whose worker is gone, unless the worker wrote it itself."""
        custody = watch.custody
        try:
            commands.append_points(self.store, custody.run_id, custody.claim, watch.take())
            if not queries.run(self.store, custody.run_id).active:
                return
            if custody.asked_to_stop is None:
                status, (reason, advice) = "failed", explain_death(custody, code)
            else:
                status, (reason, advice) = "lost" if self.ending else "cancelled", explain_stop(custody, STOP_SECONDS)
            commands.finish_run(self.store, custody.run_id, custody.claim, status, reason, advice)
        except ClaimLost as error:
            say(f"run r{custody.run_id} is no longer ours: {error}")
            return
        say(f"run r{custody.run_id}: {status}: {reason}")

    # --- Samples ---

    def _sample(self) -> None:
        if not self.watches:
            return
        machine, power = probes.load_facts()["machine_percent"], self._power.watts()
        for watch in self.watches:
            watch.sample(machine, power)

    def _flush(self) -> None:
        used, self._processor_seconds = self._processor_seconds, time.process_time()
        for watch in self.watches:
            watch.supervisor_seconds += (self._processor_seconds - used) / len(self.watches)
            batches = watch.take()
            if not batches:
                continue
            try:
                commands.append_points(self.store, watch.custody.run_id, watch.custody.claim, batches)
                commands.set_progress(self.store, watch.custody.run_id, watch.custody.claim, watch.progress())
            except ClaimLost:
                watch.custody.kill()

    # --- Leaving ---

    def _should_leave(self) -> bool:
        if self.watches or self.timekeeper.busy:
            self._attendance.occupied()
            return False
        return bool(self.ending) or self._attendance.over(pending=self.timekeeper.pending)

    def _leave(self, lock: FileLock) -> bool:
        """Look once more while nobody can be starting a supervisor, then let go of the lock. False where somebody came meanwhile."""
        with launching.gate(self.store.url):
            if not self.ending and self._attendance.needed(pending=self.timekeeper.pending):
                return False
            commands.end_supervisor(self.store, self.id)
            lock.release()
        return True
