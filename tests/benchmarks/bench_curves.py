"""A hundred curves of 10^5 points: frames a second while they are panned, the longest stall of zooming and of new points.

Panning goes through the real board: one plot, then four whose x is linked; a frame is one movement of the mouse, with everything it leads to
and the painting. Zooming draws in slices, so its stall is the longest time the window's thread did not answer.

Watching: the processor time of a window on runs whose points another process writes, as a share of a core; it bounds what watching can take
from a run, whatever noise the machine adds to the run's own pace.

    python -m tests.benchmarks.bench_curves [panning] [zooming] [growing] [watching]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
CURVES, POINTS, FRAMES = 100, 100_000, 120
SIZE = (1600, 1000)
WATCHED_MS = 15_000


def main(wanted: list[str]) -> None:
    for name, measure in (("panning", panning), ("zooming", zooming), ("growing", growing), ("watching", watching)):
        if not wanted or name in wanted:
            measure()


def panning() -> None:
    for panes in (1, 4):
        application, board, plots = _board(panes)
        box = plots[0]._box
        board.redraw()
        _settle(application, plots)
        plots[0].show_range(20_000, 60_000)
        for plot in plots[1:]:
            plot.show_range(20_000, 60_000)
        _settle(application, plots)
        before = [plot._layer.pictures for plot in plots]
        frames = []
        for frame in range(FRAMES):
            began = time.perf_counter()
            box.translateBy(x=(200.0 if frame < FRAMES / 2 else -200.0))
            box.sigRangeChangedManually.emit([True, False])
            for plot in plots:
                plot._late.stop()
                plot.redraw()
                plot._canvas.viewport().repaint()
            frames.append(time.perf_counter() - began)
            application.processEvents()
        anew = sum(plot._layer.pictures for plot in plots) - sum(before)
        print(
            f"panning {CURVES} curves of {POINTS:,} points in {panes} linked plot{'s' if panes > 1 else ''}: "
            f"{1 / statistics.median(frames):.0f} frames/s, worst frame {max(frames) * 1000:.0f} ms, {anew} pictures drawn anew"
        )
        board.close()


def zooming() -> None:
    application, board, plots = _board(1)
    board.redraw()
    _settle(application, plots)
    stalls, whole = [], []
    for step in range(20):
        plots[0].show_range(1_000 * step, 100_000 - 2_000 * step)
        began = last = time.perf_counter()
        plots[0]._late.stop()
        plots[0].redraw()
        plots[0]._canvas.viewport().repaint()
        while plots[0]._layer.busy:
            application.processEvents()
            now = time.perf_counter()
            stalls.append(now - last)
            last = now
        whole.append(time.perf_counter() - began)
    print(f"zooming: a new picture in {statistics.median(whole) * 1000:.0f} ms, in slices; longest stall {max(stalls) * 1000:.0f} ms")
    board.close()


def growing() -> None:
    application, board, plots = _board(1)
    board.redraw()
    _settle(application, plots)
    spent = []
    for turn in range(20):
        for held in board._held.values():
            steps = POINTS + np.arange(turn * 50, turn * 50 + 50, dtype=float)
            held.points.append(steps, steps, np.sin(steps / 500))
            held.stale = True
        began = time.perf_counter()
        board.redraw()
        plots[0]._canvas.viewport().repaint()
        spent.append(time.perf_counter() - began)
        _settle(application, plots)
    print(f"50 new points on each of {CURVES} curves: {statistics.median(spent) * 1000:.0f} ms, worst {max(spent) * 1000:.0f} ms")
    board.close()


def watching() -> None:
    from PySide6.QtCore import QEventLoop, QSettings, QTimer

    from engines.store.database import Store
    from tests.benchmarks.bench_drawing import WRITER
    from tests.workbench import samples
    from workbench import theme
    from workbench.application import application
    from workbench.desk import Desk
    from workbench.views.runs import RunsView

    made = application()
    for count, size in ((1, (1280, 800)), (8, (1280, 800)), (8, (2560, 1440))):
        with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/store.sqlite") as store:
            samples.submit(store, variants=tuple(f"variant {n}" for n in range(count)))
            runs = [samples.start(store) for _ in range(count)]
            for run in runs:
                samples.write(store, run, 0, 5000)
            desk = Desk(theme.theme("light"), QSettings(f"{folder}/window.ini", QSettings.Format.IniFormat))
            desk.set_store(Store.open(store.url))
            view = RunsView(desk)
            view.resize(*size)
            view.show()
            claims = ",".join(f"{run.id}:{run.claim}" for run in runs)
            writer = subprocess.Popen([sys.executable, "-c", WRITER, store.url, claims], stdin=subprocess.PIPE)
            _until(made, lambda: False, 4.0)
            loop, began, used = QEventLoop(), time.perf_counter(), time.process_time()
            QTimer.singleShot(WATCHED_MS, loop.quit)
            loop.exec()
            share = (time.process_time() - used) / (time.perf_counter() - began)
            writer.communicate()
            print(f"watching {count} live run{'s' if count > 1 else ''} at {size[0]} x {size[1]}: {share:.1%} of a core")
            view.leave()
            view.close()
            desk.close()


def _board(panes: int) -> tuple[Any, Any, list[Any]]:
    from engines.store.rows import SeriesRow
    from tests.benchmarks.runs_made_up import runs
    from workbench.application import application
    from workbench.gathering import Piece
    from workbench.theme import theme
    from workbench.watching.curves import CurveBoard

    made = application()
    board = CurveBoard(theme("light"))
    board.resize(*SIZE)
    keys = ("train/loss", "speed/train_tokens_per_s", "memory/host_mib", "load/cpu_percent")[:panes]
    board.show_keys(keys, {})
    rows = runs(CURVES)
    board.show_runs(rows, {row.id: theme("light").curve(row.id) for row in rows}, set())
    steps = np.arange(POINTS, dtype=float)
    for place, key in enumerate(keys):
        for row in rows:
            noise = np.random.default_rng(row.id + 1000 * place).normal(size=POINTS)
            series = SeriesRow(place * 1000 + row.id, row.id, key, "", "lower", POINTS, POINTS - 1, 0.0, 0.0)
            board.add([Piece(series, steps, steps, 5 + row.id / 20 + np.sin(steps / 5000) + 0.5 * noise, restart=True)])
    board.show()
    made.processEvents()
    return made, board, [board.plot(key) for key in keys]


def _settle(application: Any, plots: list[Any]) -> None:
    for plot in plots:
        plot.finish()
    _until(application, lambda: False, 0.3)


def _until(application: Any, reached: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        application.processEvents()
        time.sleep(0.001)


if __name__ == "__main__":
    main(sys.argv[1:])
