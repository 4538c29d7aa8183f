"""What happens when Run is pressed, and shortly before: the check, the queue, the supervisor; all of it off the window's thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.desk import Desk

if TYPE_CHECKING:
    from engines.experiment import Experiment
    from workbench.window import Window

READ_ONLY = "This is a bundle, opened read-only. To change or run its experiment, copy it as a new one into a window of your own store."
COPY = "Copy as new experiment"


def prepare_to_run(desk: Desk) -> None:
    """Start a supervisor that keeps a worker waiting, before anybody presses Run. WORKBENCH_SPARE=0 forbids it (it takes some 300 MiB)."""
    store = desk.store
    if store is None or store.read_only or not _wants_spare():
        return

    def start() -> None:
        from engines.launching import ensure_supervisor

        ensure_supervisor(store.url, spare=True)

    # Whoever presses Run is told why there is no supervisor.
    desk.errands.run(start, lambda _nothing: None, lambda _sentence: None)


def _wants_spare() -> bool:
    return os.environ.get("WORKBENCH_SPARE", "1") != "0"


def start_run(window: Window, smoke: bool) -> None:
    """Check everything, queue the runs, see that a supervisor works on them, and show them."""
    editor = window.view("experiment")
    store, catalogue = window.desk.store, window.desk.catalogue
    if store is not None and store.read_only:
        window.go("experiment")
        editor.notice.say("info", READ_ONLY, COPY, window.desk.wants_copy.emit)
        return
    if store is None or catalogue is None:
        editor.notice.say("info", "The store and the catalogue are still being opened; the run can start in a moment.")
        return
    if editor.all_problems:
        window.go("experiment")
        editor.notice.say("error", "The experiment cannot run yet; the first problem is marked below.")
        editor.jump(editor.all_problems[0])
        return
    editor.bar.allow(False)
    window.say("Checking the experiment …")

    def settle() -> None:
        editor.bar.allow(True)

    def refused(sentence: str) -> None:
        settle()
        window.go("experiment")
        editor.notice.say("error", sentence)

    def queued(experiment_id: int) -> None:
        settle()
        editor.notice.clear()
        window.say("The runs are queued.")
        window.desk.wants_runs.emit(experiment_id)

    submit(window.desk, window.document.experiment, smoke, queued, refused)


def submit(desk: Desk, experiment: Experiment, smoke: bool, queued: Callable[[int], None], refused: Callable[[str], None]) -> None:
    """Check the experiment as the command line does, queue its runs, start a supervisor where there is none.

    The inspector of the window does the deep check, so that torch need not be loaded a second time.
    """
    store, catalogue = desk.store, desk.catalogue
    assert store is not None
    assert catalogue is not None
    chosen = experiment.smoke() if smoke else experiment
    try:
        chosen.check(catalogue)
        plans = chosen.plans(catalogue)
    except ValueError as error:
        refused(str(error))
        return

    def start() -> None:
        from engines.launching import ensure_supervisor

        ensure_supervisor(store.url, spare=_wants_spare())

    def put() -> int:
        from engines.submitting import submit

        return submit(store, chosen, plans, catalogue, smoke=smoke)

    def validated(answer: Any) -> None:
        from engines.problems import Problem

        problems = [Problem(each["path"], each.get("value"), each["rule"], each.get("hint", "")) for each in answer["problems"]]
        if problems:
            refused("\n".join(problem.sentence() for problem in problems))
        else:
            desk.errands.run(put, queued, refused)

    desk.errands.run(start, lambda _nothing: None, refused)
    desk.inspector.ask("validate", validated, refused, plans=plans, runs=str(store.runs))
