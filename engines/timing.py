"""Timing sessions: the finished models and the training of an experiment's variants, timed in interleaved rounds.

    python -m engines.timing --store URL --experiment ID

First the finished models on each target, then the training on the device of the runs. A lock makes it the only timing on this machine, whatever
the store. No torch here, and nothing is written while a process has its turn.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from engines.interleaving import Session, Stopped
from engines.processlog import say
from engines.programmes import of_plan
from engines.store import commands, queries
from engines.store.address import store_url
from engines.store.database import Store, StoreError
from engines.store.rows import CANCELLED, DONE, FAILED, LOST, WANTED
from engines.timetable import ORPHANED, POSTPONED, close, entrants, named, wishes
from engines.timinglock import machine_to_ourselves, who_times

LOOK_SECONDS = 0.5
CANCELLED_EXIT = 130


def measure(store: Store, experiment_id: int, *, stop: Callable[[], str] = lambda: "", tell: Callable[[str], None] = lambda sentence: None) -> str:
    """Time the finished models of an experiment on each of its targets, then its training; returns done, failed or cancelled.

    stop: asked between turns; a non-empty answer says why and ends the session as cancelled. tell: gets sentences about what goes on.
    """
    candidates = entrants(store, experiment_id)
    if len(candidates) < 2:
        tell("There are no two finished variants to time.")
        return FAILED
    plan = next(variant.plan for variant in queries.variants(store, experiment_id) if variant.baseline)
    asked = wishes(store, experiment_id)
    for changes in asked.values():
        plan = {**plan, "measure": {**plan.get("measure", {}), **changes}}
    known = _begun(store, experiment_id)
    try:
        with _machine_lock(stop, tell, named(store, experiment_id)):
            if _begun(store, experiment_id) > known or (asked and not asked.keys() & wishes(store, experiment_id).keys()):
                raise Stopped("Called off while it waited for another session.")
            if queries.experiment(store, experiment_id).deleted is not None:
                raise Stopped("The experiment was deleted.")
            # All are open before the first begins: between two sessions nobody may take the experiment for timed.
            sessions = [Session(store, experiment_id, candidates, plan, programme, stop, tell) for programme in of_plan(plan)]
            outcomes = [session.run() for session in sessions]
    except Stopped as reason:
        # Nobody called it off where its supervisor went or runs came: it may be made anew.
        again = str(reason) in (ORPHANED, POSTPONED)
        close(store, experiment_id, LOST if again else CANCELLED, str(reason))
        commands.drop_wishes(store, [] if again else list(asked))
        tell(f"Cancelled. {reason}")
        return CANCELLED
    commands.drop_wishes(store, list(asked))
    return FAILED if FAILED in outcomes else DONE


def _begun(store: Store, experiment_id: int) -> int:
    """How many sessions were begun, or called off before they were."""
    return sum(status != WANTED for _, status, _ in queries.timing_marks(store, experiment_id))


@contextmanager
def _machine_lock(stop: Callable[[], str], tell: Callable[[str], None], what: str) -> Iterator[None]:
    """The lock of the machine. Who waits for another session says so once. what: see `machine_to_ourselves`. Raises Stopped."""
    told = False

    def wait(path: Path) -> None:
        nonlocal told
        if not told:
            told = True
            tell(f"Another timing session runs on this machine; waiting for {who_times() or path}.")
        if reason := stop():
            raise Stopped(reason)

    with machine_to_ourselves(LOOK_SECONDS, wait, what):
        yield


def main(argv: list[str] | None = None) -> int:
    """Time one experiment. Ends cleanly on Ctrl+C and SIGTERM, and when its standard input, held by who started it, ends.

    What the input said until then is the reason.
    """
    parser = argparse.ArgumentParser(prog="engines.timing", description="Times the finished variants of an experiment in interleaved rounds.")
    parser.add_argument("--store", default=None, help="SQLAlchemy URL of the store")
    parser.add_argument("--experiment", type=int, required=True)
    parser.add_argument("--attached", action="store_true", help="end with the standard input")
    arguments = parser.parse_args(argv)
    reasons: list[str] = []

    def end(number: int, frame: FrameType | None) -> None:
        reasons.append(f"Told to end ({signal.Signals(number).name}).")

    def follow_input() -> None:
        reasons.append(sys.stdin.read().strip() or ORPHANED)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if arguments.attached:
        threading.Thread(target=follow_input, name="input", daemon=True).start()
    try:
        store = Store.open(store_url(arguments.store))
        try:
            outcome = measure(store, arguments.experiment, stop=lambda: reasons[0] if reasons else "", tell=say)
        finally:
            store.close()
    except StoreError as error:
        say(str(error))
        return 1
    return {DONE: 0, CANCELLED: CANCELLED_EXIT}.get(outcome, 1)


if __name__ == "__main__":
    sys.exit(main())
