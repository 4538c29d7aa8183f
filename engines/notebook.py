"""The door for notebooks: start experiments, wait for them with a progress line, read results and curves as data frames.

    from engines import notebook
    handle = notebook.run("experiment.toml", smoke=True)
    handle.results()            # one row per variant and quantity
    notebook.points(12)         # one row per point of run r12

Same engine, same store, same figures as the window and the command line. Data frames need pandas (the extra `notebook`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import catalogue as catalogues
from engines import comparison, launching, studying, timetable
from engines import experiment as experiments
from engines.asking import Inspector
from engines.console.output import RequestError, note
from engines.console.progress import progress
from engines.console.studying import watching
from engines.experiment import Experiment
from engines.following import follow, interruptible
from engines.store import commands, queries
from engines.store.address import files_folder, store_url
from engines.store.database import Store
from engines.store.rows import DONE, RunRow
from engines.submitting import checked_plans, submit
from engines.timekeeping import wait_until_timed

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Handle:
    """A submitted experiment. id: its number in the store; runs: those of its runs, in the order of the queue."""

    id: int
    runs: tuple[int, ...]
    store: str

    def wait(self, *, quiet: bool = False) -> Handle:
        """Until every run has ended and was timed; an interrupt (the notebook's stop button) cancels what has not."""
        with Store.open(self.store) as store, launching.Presence(self.store), interruptible() as interruption:
            with progress(quiet=quiet) as display:
                follow(store, list(self.runs), interruption, display.show, warn=note)
            if interruption.count:
                timetable.cancel(store, self.id, "Cancelled by its client.")
                raise KeyboardInterrupt
            if not wait_until_timed(store, self.id, interruption, tell=(lambda sentence: None) if quiet else note):
                raise KeyboardInterrupt
        return self

    def status(self) -> dict[int, str]:
        """{run: status}."""
        return {row.id: row.status for row in self._rows()}

    def cancel(self) -> None:
        """Ask every run that has not ended to stop."""
        with Store.open(self.store) as store:
            commands.request_cancel(store, [row.id for row in queries.runs(store, self.id) if not row.over])

    def results(self) -> pandas.DataFrame:
        """The comparison with the baseline; see `results`."""
        return results(self.id, store=self.store)

    def comparison(self) -> dict[str, Any]:
        """The object that `workbench compare --json` writes."""
        with Store.open(self.store) as store:
            return comparison.compare(store, [self.id])

    def _rows(self) -> list[RunRow]:
        with Store.open(self.store) as store:
            return queries.runs(store, self.id)


def run(
    experiment: Experiment | Mapping[str, Any] | str | Path,
    *,
    store: str | None = None,
    changes: Sequence[str] = (),
    smoke: bool = False,
    wait: bool = True,
    quiet: bool = False,
    jobs: int | None = None,
) -> Handle:
    """Check an experiment, queue its runs, and (unless wait=False) follow them to their end.

    experiment: the path of a file, the tables of one as a dictionary (paths then relative to the current folder), or an Experiment.
    changes: texts as those of --set ("budget.tokens=50000"). smoke: a few steps of every variant. Raises ExperimentError with everything
    that is wrong, StoreError where the store cannot be used.
    """
    asked = _experiment(experiment).override(changes)
    if smoke:
        asked = asked.smoke()
    url = store_url(store)
    with launching.Presence(url):
        launching.ensure_supervisor(url, jobs=jobs)
        with Inspector() as inspector:
            catalogue = catalogues.read()
            plans = checked_plans(asked, catalogue, inspector, files_folder(url) / "runs")
        with Store.open(url) as opened:
            number = submit(opened, asked, plans, catalogue, smoke=smoke)
            handle = Handle(number, tuple(row.id for row in queries.runs(opened, number)), url)
        return handle.wait(quiet=quiet) if wait else handle


def study(id: str, *, store: str | None = None, quiet: bool = False, **parameters: Any) -> dict[str, Any]:
    """Measure a study and return its result, the object that `workbench study --json` writes. parameters: as in its card.

    Raises StudyRefused for what is wrong with the request, StudyFailed where it could not be measured; an interrupt stops it.
    """
    studying.check(catalogues.read(), id, parameters)
    with Store.open(store_url(store)) as opened:
        with interruptible() as interruption, watching(quiet=quiet) as display:
            last = studying.measure(opened, id, parameters, hear=display.hear, wanted=lambda: not interruption.count)
        if interruption.count:
            raise KeyboardInterrupt
        if last["status"] != DONE:
            raise studying.StudyFailed(last["reason"])
        return queries.study(opened, last["id"]).result


def neighbours(run: int, *words: str, minus: Sequence[str] = (), k: int = 10, store: str | None = None) -> pandas.DataFrame:
    """The words whose vectors are nearest in the finished model of a run to the sum of `words` less `minus`: word, cosine, count."""
    frames = _pandas()
    with Inspector() as inspector:
        found = inspector.ask("neighbours", store=store_url(store), run=run, plus=list(words), minus=list(minus), k=k)
    return frames.DataFrame(found["neighbours"], columns=["word", "cosine", "count"])


def projection(run: int, *words: str, most: int = 200, store: str | None = None) -> pandas.DataFrame:
    """Words (none: the most frequent ones) in the plane of the first two principal components of their vectors: word, x, y, count."""
    frames = _pandas()
    with Inspector() as inspector:
        found = inspector.ask("projection", store=store_url(store), run=run, words=list(words), most=most)
    return frames.DataFrame(found["points"], columns=["word", "x", "y", "count"])


def results(*experiments_: int, store: str | None = None) -> pandas.DataFrame:
    """The comparison of experiments: a row per variant and quantity with value, unit, n, interval, ratio to the baseline and verdict."""
    frames = _pandas()
    with Store.open(store_url(store)) as opened:
        found = comparison.compare(opened, list(experiments_))
    keys = ("value", "unit", "better", "n", "low", "high", "ratio", "ratio_low", "ratio_high", "verdict")
    rows = [
        {"variant": name, "quantity": key, **{column: result.get(column) for column in keys}}
        for name, variant in found["variants"].items()
        for key, result in variant["results"].items()
    ]
    return frames.DataFrame(rows, columns=["variant", "quantity", *keys])


def points(run: int, key: str | None = None, *, store: str | None = None) -> pandas.DataFrame:
    """The points of one run (all series, or the one named `key`): key, unit, step, time (UTC), value (NaN where it was not a number)."""
    frames = _pandas()
    with Store.open(store_url(store)) as opened:
        known = queries.series(opened, run)
        wanted = [row for row in known if key is None or row.key == key]
        if key is not None and not wanted:
            raise RequestError(f'Run r{run} has no series "{key}"; it has: {", ".join(row.key for row in known) or "none"}.')
        parts = []
        for row in wanted:
            steps, times, values = queries.points(opened, row.id)
            moments = frames.to_datetime(times, unit="s", utc=True)
            parts.append(frames.DataFrame({"key": row.key, "unit": row.unit, "step": steps.astype("int64"), "time": moments, "value": values}))
    if not parts:
        return frames.DataFrame(columns=["key", "unit", "step", "time", "value"])
    return frames.concat(parts, ignore_index=True)


def _experiment(given: Experiment | Mapping[str, Any] | str | Path) -> Experiment:
    if isinstance(given, Experiment):
        return given
    return experiments.load(given) if isinstance(given, str | Path) else experiments.from_dict(given)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError('Data frames need pandas: pip install "efficiency-workbench[notebook]"') from error
    return pandas
