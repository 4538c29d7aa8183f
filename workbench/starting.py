"""What happens off the window's thread when it opens and when Run is pressed: loading, store, catalogue, submission."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.desk import Desk

if TYPE_CHECKING:
    from engines.experiment import Experiment
    from workbench.window import Window

READ_ONLY = "This is a bundle, opened read-only. To change or run its experiment, copy it as a new one into a window of your own store."
COPY = "Copy as new experiment"


def load_engine(desk: Desk, then: Callable[[], None]) -> None:
    """Import the engine in one thread before others use it: imports of one package in two threads at once can see it half made."""

    def work() -> None:
        import engines.catalogue
        import engines.experiment
        import engines.launching
        import engines.store.commands
        import engines.store.queries  # noqa: F401

    desk.errands.run(work, lambda _nothing: then(), desk.store_failed.emit)


def open_store(desk: Desk, url: str | None) -> None:
    """Open the person's own store, or the one named, in a thread; a bundle is laid out and opened read-only."""

    def work() -> Any:
        from engines.store.bundles import is_bundle, unpack
        from engines.store.database import Store

        if url is not None and is_bundle(url):
            return Store.open(unpack(Path(url)), read_only=True)
        return Store.open(url)

    desk.errands.run(work, desk.set_store, desk.store_failed.emit)


def open_catalogue(desk: Desk) -> None:
    """Read the catalogue in a thread: at once what the cache holds, then, where plugins changed since, what a process of its own builds."""

    def cached() -> Any:
        from engines import catalogue

        found = catalogue.read(build=False)
        return found, found["digest"] == catalogue.digest()

    def build() -> Any:
        from engines import catalogue

        return catalogue.read()

    def show(answer: tuple[dict[str, Any], bool]) -> None:
        found, current = answer
        if found["plugins"]:
            desk.set_catalogue(found)
        if not current:
            desk.errands.run(build, desk.set_catalogue, desk.catalogue_failed.emit)

    desk.errands.run(cached, show, desk.catalogue_failed.emit)


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
    editor.run_button.setEnabled(False)
    editor.smoke_button.setEnabled(False)
    window.say("Checking the experiment …")

    def settle() -> None:
        editor.run_button.setEnabled(True)
        editor.smoke_button.setEnabled(True)

    def refused(sentence: str) -> None:
        settle()
        window.go("experiment")
        editor.notice.say("error", sentence)

    def queued(experiment_id: int) -> None:
        settle()
        editor.notice.clear()
        window.say("The runs are queued.")
        window.show_runs(experiment_id)

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
