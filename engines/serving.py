"""The process that serves the queue of one store: its arguments, the lock, the signals, and what a dead one before it left.

    python -m engines.serving --store URL [--jobs N] [--once] [--spare]

One per store and machine, held by a file lock. --once leaves as soon as nothing is queued, clients or not. --spare: while a client is there
and nothing is to be done, one worker waits with torch loaded, so that the next run begins at once.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
from types import FrameType

from filelock import Timeout

from engines import launching
from engines.custody import WORKER_MODULE, end_leftover
from engines.processlog import say
from engines.store import commands
from engines.store.address import store_url
from engines.store.database import Store, StoreError
from engines.supervisor import Supervisor


def main(argv: list[str] | None = None) -> int:
    """Serve the store of the command line until nobody needs it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="engines.serving", description="Serves the queued runs of one store.")
    parser.add_argument("--store", default=None, help="SQLAlchemy URL of the store")
    parser.add_argument("--jobs", type=int, default=os.environ.get("WORKBENCH_JOBS", "1"), help="runs at once")
    parser.add_argument("--once", action="store_true", help="leave as soon as nothing is queued")
    parser.add_argument("--spare", action="store_true", help="keep a worker waiting with torch loaded while a client is there")
    arguments = parser.parse_args(argv)
    try:
        served = serve(store_url(arguments.store), jobs=arguments.jobs, once=arguments.once, spare=arguments.spare)
    except StoreError as error:
        say(str(error))
        return 1
    if not served:
        say("another supervisor serves this store; this one leaves")
    return 0


def serve(url: str, *, jobs: int = 1, once: bool = False, stay: bool = False, spare: bool = False, patience: float = 2.0) -> bool:
    """Serve a store in this process until nobody needs it. False where another supervisor holds it for longer than `patience` seconds."""
    lock = launching.supervisor_lock(url)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return False
    try:
        launching.announce(url)
        store = Store.open(url)
        try:
            left = end_what_the_dead_left(store)
            module = os.environ.get("WORKBENCH_WORKER_MODULE", WORKER_MODULE)
            supervisor = Supervisor(store, jobs=max(1, jobs), once=once, stay=stay, module=module, spare=spare)
            _end_on_signals(supervisor)
            say(f"serves {store.url} as process {os.getpid()}")
            for run, reason in left.items():
                commands.mark_lost(store, run, reason)
                say(f"run r{run}: lost. {reason}")
            try:
                supervisor.serve(lock)
            finally:
                supervisor.spares.close()
        finally:
            store.close()
    finally:
        lock.release()
    return True


def end_what_the_dead_left(store: Store) -> dict[int, str]:
    """End the workers of supervisors that died; returns what to write about their runs. The caller holds the lock, so all others are dead.

    Nothing is written before: a worker that froze in the middle of a write holds the store.
    """
    left = {}
    for row in commands.runs_of_dead(store, 0, platform.node()):
        ended = row.pid is not None and row.pid_started is not None and end_leftover(row.pid, row.pid_started)
        left[row.id] = "The supervisor of this run died." + (" Its worker was still there and was ended." if ended else "")
    return left


def _end_on_signals(supervisor: Supervisor) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        supervisor.end(f"The supervisor was told to end ({signal.Signals(number).name})")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


if __name__ == "__main__":
    sys.exit(main())
