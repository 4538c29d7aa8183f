"""What it costs a real run to be watched: its steps a second in stretches with and without a window open and live on it, in turns.

A stretch begins when the window draws the run's points. Its rate comes from its first and last step, so that it is no matter where in a step it
was cut. The median of the paired ratios stands with its interval over rounds.

    python -m tests.benchmarks watching [1] [2]        torch threads of the run; both without a number: about two minutes each
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engines import catalogue
from engines.experiment import load
from engines.launching import Presence, ensure_supervisor
from engines.statistics import median_ratio
from engines.store import commands, queries
from engines.store.database import Store
from engines.submitting import submit
from tests.benchmarks.reaches import tell

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROUNDS = 8
STRETCH_SECONDS = 5.0
STORED_SECONDS = 1.5
"""Until the last points of a stretch are stored, and a window that was killed takes no more time."""
WATCHER = """
import sys
from PySide6.QtCore import QSettings, QTimer
from workbench.application import application
from workbench.window import Window
made = application()
settings = QSettings(sys.argv[2], QSettings.Format.IniFormat)
settings.setValue("view", "runs")
window = Window(store=sys.argv[1], settings=settings)
window.show()
def look():
    plot = window.view("runs").board.plot("train/loss") if window.current == "runs" else None
    if plot is not None and sum(plot.drawn_points(key) for key in plot.keys):
        # What a window does once in its life, such as the first drawing, is no part of watching.
        QTimer.singleShot(1000, lambda: print("live", flush=True))
    else:
        QTimer.singleShot(50, look)
look()
made.exec()
"""


def main(wanted: list[str]) -> None:
    for threads in (1, 2):
        if wanted and str(threads) not in wanted:
            continue
        closed, opened = _stretches(threads)
        found = median_ratio(opened, closed)
        rates = f"{statistics.median(opened):.1f} steps/s with the window open and live, {statistics.median(closed):.1f} closed"
        ratio = f"{found.value:.3f}x [{found.low:.3f}, {found.high:.3f}], {found.n} pairs of {STRETCH_SECONDS:.0f} s"
        print(f"a live run with {threads} torch thread{'s' if threads > 1 else ''}: {rates}; {ratio}", flush=True)
        tell(f"watched/{threads}", found.value, found.low, found.high)


def _stretches(threads: int) -> tuple[list[float], list[float]]:
    """Steps a second in stretches without and with the window, one pair a round in random order."""
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
        # A checkpoint would fall into one stretch of a pair and not into the other.
        ensure_supervisor(store.url, environment={"WORKBENCH_CHECKPOINT_SECONDS": "3600"})
        run = queries.runs(store, number)[0].id
        while not any(row.key == "train/loss" and row.count > 50 for row in queries.series(store, run)):
            if queries.run(store, run).over:
                raise RuntimeError(f"the run ended: {queries.run(store, run).reason}")
            time.sleep(0.2)
        try:
            for _ in range(ROUNDS):
                for watched in order.sample([False, True], 2):
                    (opened if watched else closed).append(_stretch(store, run, f"{folder}/watch.ini" if watched else ""))
        finally:
            commands.request_cancel(store, [run])
            while not queries.run(store, run).over:
                time.sleep(0.2)
    return closed, opened


def _stretch(store: Store, run: int, settings: str) -> float:
    """Steps a second of a run within one stretch; beside a window where its settings are named."""
    window = subprocess.Popen([sys.executable, "-c", WATCHER, store.url, settings], stdout=subprocess.PIPE, text=True) if settings else None
    try:
        if window is not None:
            assert window.stdout is not None
            if window.stdout.readline().strip() != "live":
                raise RuntimeError("the window ended before it drew the run")
        after = time.time()
        time.sleep(STRETCH_SECONDS)
        before = time.time()
    finally:
        if window is not None:
            window.kill()
            window.wait()
    time.sleep(STORED_SECONDS)
    series = next(row for row in queries.series(store, run) if row.key == "train/loss")
    times = queries.points(store, series.id)[1]
    inside = times[(times >= after) & (times < before)]
    return float(len(inside) - 1) / float(inside[-1] - inside[0])


if __name__ == "__main__":
    main(sys.argv[1:])
