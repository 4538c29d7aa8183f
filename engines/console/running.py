"""`workbench run`, `workbench demo`: from a file to finished runs and their comparison."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

from engines import catalogue as catalogues
from engines import experiment as experiments
from engines import timetable
from engines.asking import Inspector
from engines.console.output import RequestError, note, say, write_json
from engines.console.profiling import profile_variants
from engines.console.progress import outcome, progress
from engines.experiment import Experiment
from engines.fixes import told
from engines.following import follow, interruptible
from engines.launching import Presence, ensure_supervisor
from engines.problems import ExperimentError
from engines.store import queries
from engines.store.address import files_folder, store_url
from engines.store.database import Store
from engines.submitting import checked_plans, submit
from engines.timekeeping import wait_until_timed

DONE, FAILED, INTERRUPTED = 0, 1, 130


def run(arguments: argparse.Namespace) -> int:
    experiment = experiments.load(arguments.file)
    code, _ = _run(experiment, arguments)
    return code


def demo(arguments: argparse.Namespace) -> int:
    """The starter experiment, then its report."""
    with resources.as_file(resources.files("resources") / "experiments" / "demo.toml") as path:
        experiment = experiments.load(path)
    code, number = _run(experiment, arguments)
    if number is not None and code != INTERRUPTED:
        from engines.report import writing

        store = Store.open(store_url(arguments.store))
        try:
            out = Path(arguments.html).absolute() if arguments.html else store.folder / "reports" / f"experiment-{number}.html"
            writing.write(store, [number], "html", out)
        finally:
            store.close()
        note(f"The report: {out}")
    return code


def _run(experiment: Experiment, arguments: argparse.Namespace) -> tuple[int, int | None]:
    """(exit code, experiment id)."""
    experiment = experiment.override(arguments.changes)
    if arguments.smoke:
        experiment = experiment.smoke()
    url = store_url(arguments.store)
    # The supervisor starts while the experiment is checked; the presence keeps it until the runs are queued.
    with Presence(url), ThreadPoolExecutor(1) as background:
        starting = background.submit(ensure_supervisor, url, jobs=arguments.jobs)
        with Inspector() as inspector:
            catalogue = catalogues.read()
            try:
                plans = checked_plans(experiment, catalogue, inspector, files_folder(url) / "runs")
            except ExperimentError as error:
                raise RequestError(told(error.problems, experiment, catalogue)) from error
        starting.result()
        store = Store.open(url)
        try:
            number = submit(store, experiment, plans, catalogue, smoke=arguments.smoke)
            runs = [row.id for row in queries.runs(store, number)]
            if not arguments.quiet:
                note(f'Experiment {number} "{experiment.name}": {len(runs)} runs queued in {store.url}')
            code = watch(store, runs, quiet=arguments.quiet, jobs=arguments.jobs)
            if code != INTERRUPTED:
                if arguments.profile:
                    profile_variants(store, number, quiet=arguments.quiet)
                _compare(store, number, arguments)
        finally:
            store.close()
    return code, number


def watch(store: Store, runs: list[int], *, quiet: bool, jobs: int | None) -> int:
    """Follow runs to their end with a display, and the timing that comes after them; returns the exit code."""
    with interruptible() as interruption:
        with progress(quiet=quiet) as display:
            rows = follow(store, runs, interruption, display.show, jobs=jobs, warn=note)
        if interruption.count:
            for experiment in sorted({row.experiment_id for row in rows}):
                # Runs that ended before they were cancelled would be timed.
                timetable.cancel(store, experiment, "Cancelled by its client.")
            left = sum(not row.over for row in rows)
            note(f"Interrupted; {left} runs have not ended yet." if left else "Interrupted; the runs were cancelled.")
            return INTERRUPTED
        for experiment in sorted({row.experiment_id for row in rows}):
            if not wait_until_timed(store, experiment, interruption, jobs=jobs, tell=(lambda sentence: None) if quiet else note):
                note("Interrupted; the runs are done, their timing was left out.")
                return INTERRUPTED
    failed = [row for row in rows if row.status != "done"]
    if quiet:
        for row in failed:
            note(outcome(row))
    return FAILED if failed else DONE


def _compare(store: Store, number: int, arguments: argparse.Namespace) -> None:
    from engines import comparison
    from engines.report import terminal

    found = comparison.compare(store, [number])
    if arguments.json:
        write_json(found, arguments.json)
    if arguments.json != "-":
        say()
        terminal.table(found)
