"""`workbench time`: the finished models of an experiment are timed on demand, and compared again."""

from __future__ import annotations

import argparse

from engines import comparison, retiming
from engines.console.opening import existing_experiment, opened
from engines.console.output import RequestError, experiment_id, note, write_json
from engines.following import interruptible
from engines.launching import Presence
from engines.report import terminal
from engines.store import queries
from engines.store.rows import DONE
from engines.timekeeping import wait_until_timed

TIMED, FAILED, INTERRUPTED = 0, 1, 130


def time_again(arguments: argparse.Namespace) -> int:
    """Ask for a session, wait for it, print the comparison. Exit code 1 where the session was called off or failed."""
    number = experiment_id(arguments.id)
    changes = {key: value for key in retiming.KEYS if (value := getattr(arguments, key)) not in (None, False)}
    with opened(arguments) as store, Presence(store.url), interruptible() as interruption:
        existing_experiment(store, number)
        known = {session for session, _, _ in queries.timing_marks(store, number)}
        try:
            retiming.ask(store, number, changes)
        except retiming.RetimingError as error:
            raise RequestError(f"Experiment {number} is not timed. {error}") from error
        if not wait_until_timed(store, number, interruption, tell=(lambda sentence: None) if arguments.quiet else note):
            note("Interrupted; the figures are those that there were.")
            return INTERRUPTED
        ended = [row for row in queries.rounds(store, number, status=None) if row.id not in known]
        found = comparison.compare(store, [number])
    for reason in dict.fromkeys(row.facts["reason"] for row in ended if row.status != DONE and "reason" in row.facts):
        note(f"Not timed: {reason}")
    if arguments.json:
        write_json(found, arguments.json)
    if arguments.json != "-":
        terminal.table(found)
    return TIMED if ended and all(row.status == DONE for row in ended) else FAILED
