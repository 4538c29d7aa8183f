"""The table of 10,000 stored runs in the real view: first showing, scrolling, searching, sorting, and looks at the store while a run goes on.

The store is real: 50 runs end through the engine's own commands, with points and figures; what they left is copied, row by row, for the
others, since only the reading is measured. Another process writes points of one more run meanwhile. A frame is one turn of the wheel or
key, with everything it leads to and the painting; a stall is the longest time in which the window's thread did not answer.

    python -m tests.benchmarks table

Reach: no stall over 50 ms, frames of at most 33 ms.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPoint, QSettings, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractSlider, QApplication

from engines.store.database import Store
from tests.benchmarks.bench_drawing import WRITER
from tests.workbench import samples
from workbench import theme
from workbench.application import application
from workbench.desk import Desk
from workbench.views.runs import RunsView
from workbench.watching.run_columns import LOSS, VARIANT

RUNS, VARIANTS, WRITTEN = 10_000, 100, 50
POINTS = 30
SIZE = (1600, 1000)
LOOKS_SECONDS = 8.0


def main() -> None:
    made = application()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/store.sqlite"
        with Store.open(url) as store:
            live = stored(store, Path(folder) / "store.sqlite")
            desk = Desk(theme.theme("light"), QSettings(f"{folder}/window.ini", QSettings.Format.IniFormat))
            theme.apply(made, desk.theme)
            desk.set_store(Store.open(url))
            view = RunsView(desk)
            view.resize(*SIZE)
            measure(made, view, [sys.executable, "-c", WRITER, url, f"{live.id}:{live.claim}"])
            view.leave()
            view.close()
            desk.close()


def stored(store: Store, path: Path) -> Any:
    """Fill the store; returns the run that is still at work."""
    seeds = tuple(range(RUNS // VARIANTS))
    samples.submit(store, variants=tuple(f"variant {n}" for n in range(VARIANTS)), seeds=seeds, name="Ten thousand runs")
    first = 0
    for _ in range(WRITTEN):
        run = samples.start(store)
        first = first or run.id
        samples.write(store, run, 0, POINTS)
        samples.finish(store, run, perplexity=100.0, speed=1e4, memory=400.0)
    live = samples.start(store)
    samples.write(store, live, 0, POINTS)
    columns = {
        "run": "status, attempt, supervisor_id, phase, started, ended, progress",
        "series": '"key", unit, better, count, last_step, last_time, last_value, cuts',
        "result": '"key", target, value, unit, better, n, low, high, detail',
    }
    like = f"{first} + (run.id - {first}) % {WRITTEN}"
    with sqlite3.connect(path) as connection:
        rest = f"run.id BETWEEN {live.id + 1} AND {first + RUNS - 1}"
        for column in columns["run"].split(", "):
            connection.execute(f"UPDATE run SET {column} = (SELECT other.{column} FROM run AS other WHERE other.id = {like}) WHERE {rest}")
        # What a person has after months: some runs did not get to their end, and no two losses are equal.
        connection.execute(f"UPDATE run SET status = 'failed', reason = 'The loss is not a number at step 7.' WHERE {rest} AND id % 50 = 0")
        connection.execute(f"UPDATE run SET progress = json_set(progress, '$.loss', 2 + 5 * abs(random() % 100000) / 100000.0) WHERE {rest}")
        for table in ("series", "result"):
            named = columns[table]
            taken = ", ".join(f"{table}.{column}" for column in named.split(", "))
            selected = f"SELECT run.id, {taken} FROM run JOIN {table} ON {table}.run_id = {like} WHERE {rest}"
            connection.execute(f"INSERT INTO {table} (run_id, {named}) {selected}")
        same = f'old."key" = new."key" AND old.run_id = {first} + (new.run_id - {first}) % {WRITTEN} AND new.run_id > {live.id}'
        points = "SELECT new.id, n, step, time, value FROM series AS new JOIN series AS old"
        connection.execute(f"INSERT INTO point (series_id, n, step, time, value) {points} ON {same} JOIN point ON point.series_id = old.id")
    connection.close()
    return live


def measure(made: QApplication, view: RunsView, writer: list[str]) -> None:
    began = time.perf_counter()
    view.show()
    stall = watched(made, lambda: view.model.rowCount() == RUNS)
    shown = time.perf_counter() - began
    stall = max(stall, watched(made, lambda: False, 3.0))
    print(f"{RUNS:,} stored runs are shown for the first time after {shown:.2f} s, longest stall {stall:.0f} ms")
    view.vertical.setSizes([SIZE[1], 0])
    watched(made, lambda: False, 1.0)
    scroll(made, view, "in the order of the experiment")
    keys(made, view)
    typed = [frame(made, view, lambda letter=letter: QTest.keyClicks(view.bar.search, letter)) for letter in "variant 7"]  # type: ignore[misc]
    print(f"a search is typed: {told(typed)}; {view.model.rowCount():,} runs found")
    scroll(made, view, "that a search found")
    cleared = frame(made, view, view.bar.search.clear)
    header = view.table.horizontalHeader()
    clicks = [
        frame(made, view, lambda column=column: QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=head(view, column)))  # type: ignore[misc]
        for column in (VARIANT, VARIANT, LOSS, LOSS)
    ]
    print(f"the search is cleared: {cleared:.1f} ms; a column sorts: {told(clicks)}")
    scroll(made, view, "sorted by loss")
    for words, column in (("sorted by loss", LOSS), ("in the order of the experiment", -1)):
        header.setSortIndicator(column, Qt.SortOrder.DescendingOrder)
        watched(made, lambda: False, 1.0)
        looks(made, view, writer, words)


def scroll(made: QApplication, view: RunsView, words: str) -> None:
    """Page by page to the end, as clicks beside the handle of the scroll bar do."""
    bar = view.table.verticalScrollBar()
    bar.setValue(0)
    made.processEvents()
    frames = []
    while bar.value() < bar.maximum():
        frames.append(frame(made, view, lambda: bar.triggerAction(QAbstractSlider.SliderAction.SliderPageStepAdd)))
    print(f"scrolling {view.model.rowCount():,} runs {words}: {len(frames)} pages of {bar.pageStep()} rows, {told(frames)}", flush=True)


def keys(made: QApplication, view: RunsView) -> None:
    """Page Down in the table, which selects: curves and buttons follow."""
    view.table.verticalScrollBar().setValue(0)
    view.table.selectRow(0)
    view.table.setFocus()
    frames = [frame(made, view, lambda: QTest.keyClick(view.table, Qt.Key.Key_PageDown)) for _ in range(100)]
    view.table.clearSelection()
    stall = watched(made, lambda: False, 1.0)
    print(f"Page Down, which selects: {told(frames)}; longest stall afterwards {stall:.0f} ms")


def looks(made: QApplication, view: RunsView, command: list[str], words: str) -> None:
    """Scroll to and fro while one run of all changes and the view follows it."""
    costs: list[float] = []
    frames: list[float] = []
    show = view._show_update

    def timed(update: Any) -> None:
        started = time.perf_counter()
        show(update)
        costs.append(1000 * (time.perf_counter() - started))

    view.feed.updated.disconnect(view._show_update)
    view.feed.updated.connect(timed)
    writer = subprocess.Popen(command, stdin=subprocess.PIPE)
    end, bar = time.monotonic() + LOOKS_SECONDS, view.table.verticalScrollBar()
    while time.monotonic() < end:
        step = QAbstractSlider.SliderAction.SliderPageStepAdd if len(frames) % 40 < 20 else QAbstractSlider.SliderAction.SliderPageStepSub
        frames.append(frame(made, view, lambda step=step: bar.triggerAction(step)))  # type: ignore[misc]
        time.sleep(0.01)
    writer.communicate()
    view.feed.updated.disconnect(timed)
    view.feed.updated.connect(view._show_update)
    print(f"one run of {RUNS:,} changes, {words}: {len(costs)} looks, {told(costs)}; scrolling meanwhile: {told(frames)}", flush=True)


def head(view: RunsView, column: int) -> QPoint:
    """The middle of the head of a column."""
    header = view.table.horizontalHeader()
    return QPoint(header.sectionViewportPosition(column) + header.sectionSize(column) // 2, header.height() // 2)


def frame(made: QApplication, view: RunsView, act: Callable[[], Any]) -> float:
    """Milliseconds of an act with everything it leads to and the painting."""
    began = time.perf_counter()
    act()
    view.table.viewport().repaint()
    made.processEvents()
    return 1000 * (time.perf_counter() - began)


def watched(made: QApplication, reached: Callable[[], bool], seconds: float = 120.0) -> float:
    """Let the window live until something is reached; returns the longest time, in ms, in which it did not answer."""
    longest, end = 0.0, time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        began = time.perf_counter()
        made.processEvents()
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.001)
    return 1000 * longest


def told(frames: list[float]) -> str:
    """Median, 95% and worst of milliseconds."""
    ordered = sorted(frames)
    return f"{statistics.median(frames):.1f} ms a frame, 95% {ordered[int(0.95 * len(ordered))]:.1f}, worst {ordered[-1]:.1f}"


if __name__ == "__main__":
    main()
