"""The window: how soon it is there, and how soon a run that is begun in it has stored a point.

First paint and usability are measured in processes of their own, in turns with a bare PySide6 + pyqtgraph window.

    python -m tests.benchmarks window [start] [click]
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

from engines.statistics import median_ratio
from tests.benchmarks.reaches import tell

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROUNDS = 9

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
    for name, measure in (("start", start), ("click", click)):
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
        ratio = median_ratio(ours, bare)
        words = f"{ratio.value:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}] of the bare first paint ({ROUNDS} rounds)"
        print(f"our window: {key} {statistics.median(ours) * 1000:.0f} ms, {words}", flush=True)
        tell(key, ratio.value, ratio.low, ratio.high)


def _times(program: str, arguments: list[str]) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, float] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        if key in ("paint", "usable", "complete"):
            found.setdefault(key, float(value))
    return found


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
    tell("click_s", statistics.median(seconds))


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


if __name__ == "__main__":
    main(sys.argv[1:])
