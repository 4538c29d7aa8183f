"""The window: first paint, drawing, stalls, and what it costs a run to be watched.

First paint and usability are measured in processes of their own, in turns with a bare PySide6 + pyqtgraph window. Drawing: eight curves of
10^5 points that grow, and a stored curve of 10^6 points, both through the real view. Stalls: the longest time the window's thread did not
answer while a store is written to. Watching: the steps a real run makes in stretches with and without a window open on it, in turns.

    python -m tests.benchmarks.bench_window [start] [drawing] [watching]
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROUNDS = 9
STRETCH_SECONDS = 12.0
WATCH_ROUNDS = 8

FIRST_PAINT = """
from PySide6.QtCore import QEvent, QObject
class FirstPaint(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            application.removeEventFilter(self)
            QTimer.singleShot(0, lambda: print("paint", time.perf_counter() - started, flush=True))
        return False
"""
BARE = f"""
import time; started = time.perf_counter()
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMainWindow
import pyqtgraph
{FIRST_PAINT}
application = QApplication([])
first = FirstPaint()
application.installEventFilter(first)
window = QMainWindow()
window.setCentralWidget(pyqtgraph.PlotWidget())
window.resize(1280, 800)
window.show()
QTimer.singleShot(300, application.quit)
application.exec()
"""
OURS = f"""
import sys, time; started = time.perf_counter()
from PySide6.QtCore import QSettings, QTimer
from workbench.application import application as make
from workbench.window import Window
{FIRST_PAINT}
application = make()
first = FirstPaint()
application.installEventFilter(first)
window = Window(store=sys.argv[1], settings=QSettings(sys.argv[2], QSettings.Format.IniFormat))
told = []
def look():
    if not told and "start" in window.views and window.view("start").cards:
        told.append(print("usable", time.perf_counter() - started, flush=True))
    if told and window.desk.store is not None and window.desk.catalogue is not None:
        print("complete", time.perf_counter() - started, flush=True)
        window.close(); application.quit()
    else:
        QTimer.singleShot(5, look)
window.show()
QTimer.singleShot(0, look)
application.exec()
"""


def main(wanted: list[str]) -> None:
    for name, measure in (("start", start), ("drawing", drawing), ("click", click), ("watching", watching)):
        if not wanted or name in wanted:
            measure()


# --- Start ----------------------------------------------------------------------------------------------------------------------------------


def start() -> None:
    from engines import catalogue

    catalogue.read()  # As on every start but the first after a plugin changed.
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"sqlite:///{folder}/store.sqlite", f"{folder}/window.ini"]
        times: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
        order = random.Random(0)
        for number in range(ROUNDS + 1):
            for name in order.sample(["bare", "ours"], 2):
                found = _times(BARE if name == "bare" else OURS, arguments)
                if number:
                    times[name].append(found)
    bare = [each["paint"] for each in times["bare"]]
    print(f"bare window: first paint {statistics.median(bare) * 1000:.0f} ms")
    for key in ("paint", "usable", "complete"):
        ours = [each[key] for each in times["ours"]]
        ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
        print(f"our window: {key} {statistics.median(ours) * 1000:.0f} ms, {ratio:.2f}x of the bare first paint ({ROUNDS} rounds)")


def _times(program: str, arguments: list[str]) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, float] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        if key in ("paint", "usable", "complete"):
            found.setdefault(key, float(value))
    return found


WRITER = """
import random, sys, threading, time
from engines.store import commands
from engines.store.database import Store
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
runs = [each.split(":") for each in sys.argv[2].split(",")]
step = 100_000
with Store.open(sys.argv[1]) as store:
    while not ended.wait(0.25):
        steps = list(range(step, step + 25))
        for run, claim in runs:
            values = [5 + random.gauss(0, 1) for _ in steps]
            batch = commands.SeriesBatch("train/loss", "nats/token", "lower", steps, [time.time()] * 25, values)
            commands.append_points(store, int(run), claim, [batch])
        step += 25
"""


# --- Drawing --------------------------------------------------------------------------------------------------------------------------------


def drawing() -> None:
    from PySide6.QtCore import QSettings

    from engines.store.database import Store
    from tests.workbench import samples
    from workbench.application import application
    from workbench.window import Window

    made = application()
    with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/store.sqlite") as store:
        live = samples.submit(store, variants=tuple(f"variant {n}" for n in range(8)), name="Eight live curves")
        runs = [samples.start(store) for _ in range(8)]
        for run in runs:
            _write(store, run, 0, 100_000)
        long = samples.submit(store, variants=("one",), name="A million points")
        run = samples.start(store)
        _write(store, run, 0, 1_000_000)
        window = Window(store=store.url, settings=QSettings(f"{folder}/window.ini", QSettings.Format.IniFormat))
        window.show()
        until(made, lambda: window.desk.store is not None and window.desk.catalogue is not None)
        window.go("runs")
        settled = time.monotonic() + 3  # The inspector that starts for the editor is no part of this.
        until(made, lambda: time.monotonic() > settled)
        view = window.view("runs")
        until(made, lambda: view.list.list.count() == 2 and _longest(view) > 0)
        window.desk.wants_runs.emit(live)
        until(made, lambda: len(view.board.plot("train/loss").keys) == 8)
        settle(made)  # The eight curves are painted before the clock starts.

        began = time.perf_counter()
        window.desk.wants_runs.emit(long)
        until(made, lambda: _longest(view) >= 999_999)
        made.processEvents()
        print(f"a stored curve of 1,000,000 points, from the choice to the drawing: {(time.perf_counter() - began) * 1000:.0f} ms")
        plot = view.board.plot("train/loss")
        zooms = []
        random_ = random.Random(0)
        for _ in range(30):
            width = 10 ** random_.uniform(2, 6)
            start_ = random_.uniform(0, 1e6 - width)
            began = time.perf_counter()
            plot.show_range(start_, start_ + width)
            plot.redraw()
            made.processEvents()
            zooms.append(time.perf_counter() - began)
        print(f"zoom: drawn from what is there in {statistics.median(zooms) * 1000:.1f} ms, worst {max(zooms) * 1000:.1f} ms")
        details = []
        for _ in range(10):
            width = 10 ** random_.uniform(2, 5)
            start_ = random_.uniform(0, 1e6 - width)
            began = time.perf_counter()
            curve = _detail(store, view, start_, width)
            details.append(time.perf_counter() - began)
            assert len(curve)
        print(f"zoom: the detail of a window read from the store in {statistics.median(details) * 1000:.1f} ms, worst {max(details) * 1000:.1f} ms")

        window.desk.wants_runs.emit(live)
        until(made, lambda: _longest(view) >= 99_999 and len(view.board.plot("train/loss").keys) == 8)
        settle(made)
        redraws, stalls, own = [], [], []
        claims = ",".join(f"{run.id}:{run.claim}" for run in runs)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, store.url, claims], stdin=subprocess.PIPE)
        original = view.board.redraw

        def timed() -> float:
            # Processor time of this thread: what drawing takes from the window, whatever else the machine does.
            began = time.thread_time()
            original()
            view.board.plot("train/loss")._canvas.viewport().repaint()  # Otherwise it is painted later, unmeasured.
            redraws.append(time.thread_time() - began)
            return redraws[-1]

        view.board.redraw = timed
        end = time.perf_counter() + 10
        last, spent = time.perf_counter(), time.thread_time()
        while time.perf_counter() < end:
            made.processEvents()
            now, used = time.perf_counter(), time.thread_time()
            stalls.append(now - last)
            own.append(used - spent)  # The rest of a stall is other processes that had the cores.
            last, spent = now, used
            time.sleep(0.001)
        writer.communicate()
        print(
            f"8 live curves of 100,000 points: {statistics.median(redraws) * 1000:.1f} ms of the window's thread a redraw, worst "
            f"{max(redraws) * 1000:.1f} ms; longest stall {max(stalls) * 1000:.0f} ms, its own time at most {max(own) * 1000:.0f} ms,"
            f" over {len(redraws)} redraws in 10 s"
        )
        window.close()


def _detail(store: Any, view: Any, start_: float, width: float) -> Any:
    from engines.store import queries

    series = next(iter(view.board._held.values())).series
    return queries.curve(store, series.id, low=start_, high=start_ + width, pixels=1600)


def _write(store: Any, run: Any, first: int, count: int) -> None:
    from engines.store import commands

    for begin in range(first, first + count, 50_000):
        steps = np.arange(begin, min(begin + 50_000, first + count))
        values = 5 + np.sin(steps / 500) + np.random.default_rng(begin).normal(size=len(steps))
        batch = commands.SeriesBatch("train/loss", "nats/token", "lower", steps.tolist(), (steps / 100).tolist(), values.tolist())
        commands.append_points(store, run.id, run.claim, [batch])


def _longest(view: Any) -> float:
    plot = view.board.plot("train/loss")
    lasts = [float(line.front.x[-1]) for line in plot.lines if len(line.front.x)] if plot is not None else []
    return min(lasts, default=0.0)


def until(made: Any, reached: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("the window did not get there in time")
        made.processEvents()
        time.sleep(0.001)


def settle(made: Any, seconds: float = 1.0) -> None:
    """Let the window paint what it was given last."""
    end = time.monotonic() + seconds
    until(made, lambda: time.monotonic() > end)


# --- Click ----------------------------------------------------------------------------------------------------------------------------------

CLICKED_WINDOW = """
import sys, time
from pathlib import Path
from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtTest import QTest
from workbench.application import application
from workbench.window import Window
made = application()
window = Window(store=sys.argv[1], experiment_path=Path(sys.argv[3]), settings=QSettings(sys.argv[2], QSettings.Format.IniFormat))
window.show()
def click():
    print("click", time.time(), flush=True)
    QTest.keyClick(window, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
def look():
    ready = window.desk.store is not None and window.desk.catalogue is not None and "experiment" in window.views
    # A person has looked at the window for some seconds; the model's table beside the editor has been worked out by then.
    QTimer.singleShot(6000 if ready else 50, click if ready else look)
look()
made.exec()
"""
CLICKS = 6


def click() -> None:
    seconds = []
    for number in range(CLICKS):
        with tempfile.TemporaryDirectory() as folder:
            found = _clicked(Path(folder))
            if number:  # The first prepares the corpus.
                seconds.append(found)
    print(f"Ctrl+Enter to the first stored training point: {statistics.median(seconds):.2f} s (min {min(seconds):.2f}, max {max(seconds):.2f})")


def _clicked(folder: Path) -> float:
    from engines.store import commands, queries
    from engines.store.database import Store
    from tests.benchmarks.bench_start import wait_for_the_supervisor

    url = f"sqlite:///{folder / 'store.sqlite'}"
    demo = str(Path(__file__).parents[2] / "resources" / "experiments" / "demo.toml")
    command = [sys.executable, "-c", CLICKED_WINDOW, url, str(folder / "window.ini"), demo]
    window = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert window.stdout is not None
        clicked = float(window.stdout.readline().split()[1])
        with Store.open(url) as store:
            while not any(row.key == "train/loss" and row.count for run in queries.runs(store) for row in queries.series(store, run.id)):
                time.sleep(0.02)
                if time.time() - clicked > 60:
                    raise TimeoutError("no training point within a minute of the click")
            took = time.time() - clicked
            commands.request_cancel(store, [run.id for run in queries.runs(store)])
            while not all(run.over for run in queries.runs(store)):
                time.sleep(0.1)
        return took
    finally:
        window.kill()
        window.wait()
        wait_for_the_supervisor(url)


# --- Watching -------------------------------------------------------------------------------------------------------------------------------

WATCHER = """
import sys
from PySide6.QtCore import QSettings
from workbench.application import application
from workbench.window import Window
made = application()
settings = QSettings(sys.argv[2], QSettings.Format.IniFormat)
settings.setValue("view", "runs")
window = Window(store=sys.argv[1], settings=settings)
window.show()
made.exec()
"""


def watching() -> None:
    from engines.statistics import paired_ratio

    for threads in (1, 2):
        closed, opened = _stretches(threads)
        found = paired_ratio(opened, closed)
        rates = f"{statistics.median(opened):.1f} steps/s with the window open and live, {statistics.median(closed):.1f} closed"
        ratio = f"{found.value:.3f}x [{found.low:.3f}, {found.high:.3f}], {len(opened)} pairs of {STRETCH_SECONDS:.0f} s"
        print(f"a live run with {threads} torch thread{'s' if threads > 1 else ''}: {rates}; {ratio}")


def _stretches(threads: int) -> tuple[list[float], list[float]]:
    """Steps a second in stretches without and with the window, one pair a round in random order."""
    from engines import catalogue
    from engines.experiment import load
    from engines.launching import Presence, ensure_supervisor
    from engines.store import commands, queries
    from engines.store.database import Store
    from engines.submitting import submit

    demo = load(Path(__file__).parents[2] / "resources" / "experiments" / "demo.toml")
    experiment = demo.set("experiment.budget", {"seconds": 3600}).set("experiment.threads", threads).set("measure.evaluations", 0)
    for variant in [each.name for each in experiment.variants[1:]]:
        experiment = experiment.remove_variant(variant)
    order = random.Random(0)
    closed: list[float] = []
    opened: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/store.sqlite") as store, Presence(store.url):
        known = catalogue.read()
        number = submit(store, experiment, experiment.plans(known), known)
        ensure_supervisor(store.url)
        run = queries.runs(store, number)[0]

        def steps(after: float, before: float) -> float:
            series = next(row for row in queries.series(store, run.id) if row.key == "train/loss")
            _, times, _ = queries.points(store, series.id)
            return float(((times >= after) & (times < before)).sum()) / (before - after)

        while not any(row.key == "train/loss" and row.count > 50 for row in queries.series(store, run.id)):
            time.sleep(0.2)
        try:
            for _ in range(WATCH_ROUNDS):
                for watched in order.sample([False, True], 2):
                    window = subprocess.Popen([sys.executable, "-c", WATCHER, store.url, f"{folder}/watch.ini"]) if watched else None
                    time.sleep(5.0)
                    after = time.time()
                    time.sleep(STRETCH_SECONDS)
                    before = time.time()
                    if window is not None:
                        window.kill()
                        window.wait()
                    time.sleep(1.5)  # Until the last points of the stretch are stored.
                    (opened if watched else closed).append(steps(after, before))
        finally:
            commands.request_cancel(store, [row.id for row in queries.runs(store, number)])
            while not queries.run(store, run.id).over:
                time.sleep(0.2)
    return closed, opened


if __name__ == "__main__":
    main(sys.argv[1:])
