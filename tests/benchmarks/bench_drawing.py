"""Curves in the real view: a stored one of 10^6 points drawn and zoomed into, and eight of 10^5 points that grow.

Stalls: the longest time the window's thread did not answer while a store is written to.

    python -m tests.benchmarks drawing
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
from typing import Any

import numpy as np

from tests.benchmarks.reaches import tell

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ZOOMS = 30

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


def main() -> None:
    from PySide6.QtCore import QSettings

    from engines.store.database import Store
    from tests.workbench import samples
    from workbench.application import application, keep_collections_short
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
        keep_collections_short(window)
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
        whole = (time.perf_counter() - began) * 1000
        print(f"a stored curve of 1,000,000 points, from the choice to the drawing: {whole:.0f} ms")
        tell("whole_ms", whole)
        plot = view.board.plot("train/loss")
        zooms = []
        random_ = random.Random(0)
        for _ in range(ZOOMS):
            width = 10 ** random_.uniform(2, 6)
            start_ = random_.uniform(0, 1e6 - width)
            began = time.perf_counter()
            plot.show_range(start_, start_ + width)
            plot.redraw()
            made.processEvents()
            zooms.append(time.perf_counter() - began)
        print(f"zoom: drawn from what is there in {statistics.median(zooms) * 1000:.1f} ms, worst {max(zooms) * 1000:.1f} ms")
        tell("zoom_ms", max(zooms) * 1000)
        details, used = [], []
        for _ in range(ZOOMS):
            width = 10 ** random_.uniform(2, 5)
            start_ = random_.uniform(0, 1e6 - width)
            plot.show_range(start_, start_ + width)
            plot.redraw()
            began, spent = time.perf_counter(), time.thread_time()
            _draw_detail(view, start_, width)
            made.processEvents()
            details.append(time.perf_counter() - began)
            used.append(time.thread_time() - spent)  # The rest is other processes that had the cores.
        print(
            f"zoom: the detail of the store read and drawn in {statistics.median(details) * 1000:.1f} ms, worst {max(details) * 1000:.1f} ms, "
            f"of which the thread's own time is at most {max(used) * 1000:.1f} ms"
        )
        tell("detail_ms", max(details) * 1000)

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
        tell("redraw_ms", statistics.median(redraws) * 1000)
        tell("stall_ms", max(stalls) * 1000)
        window.close()


def _draw_detail(view: Any, start_: float, width: float) -> None:
    """As the view does it, but on this thread, so that no timer is part of it."""
    from engines.store import queries

    number = next(iter(view.board._held))
    curve = queries.curve(view._desk.store, number, low=start_, high=start_ + width, pixels=1600)
    assert len(curve)
    view.board.add_detail(number, curve)


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


if __name__ == "__main__":
    main()
