"""A window that stays open for days: what it holds does not grow with looks at the store, nor with runs that are opened."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engines.store.database import Store
from workbench.views.runs import RunsView
from workbench.watching.run_tabs import CURVES, LOG, RUN
from workbench.window import Window

sys.path.insert(0, str(Path(__file__).parent))
import samples

pytestmark = pytest.mark.slow

WARM, LOOKS = 200, 1000
OPENED = 50
MORE = 15
"""Objects, timers, threads and files more than before: a leak of one a look would make 1,000, one a run that is opened 50."""
MORE_MIB = 6.0
"""Less than 7 KiB a look: what is kept of each look at 51 runs with their series, were it kept, is several times that."""


@pytest.mark.timeout(900)
def test_neither_looks_nor_opened_runs_make_it_grow(qtbot: QtBot, make_window: Callable[..., Window], store_url: str) -> None:
    with Store.open(store_url) as store:
        samples.finished(store, variants=tuple(f"width {n}" for n in range(10)), seeds=tuple(range(5)))
        live = samples.submit(store, variants=("live",), name="One at work")
        run = samples.start(store)
        window = make_window()
        window.go("runs")
        view: RunsView = window.view("runs")

        def look(step: int) -> None:
            samples.write(store, run, step, 1)
            with qtbot.waitSignal(view.feed.updated, timeout=30_000):
                view.feed.refresh()

        def watch(first: int, count: int) -> None:
            view.choose(live)
            view.below.tabs.setCurrentIndex(CURVES)
            qtbot.waitUntil(lambda: [each.variant for each in view.model.runs] == ["live"], timeout=30_000)
            for step in range(first, first + count):
                if step % 200 == 0:
                    view.choose(1 if view.list.current == live else live)
                    view.below.tabs.setCurrentIndex(CURVES)
                look(step)

        def open_all() -> None:
            view.choose(1)
            qtbot.waitUntil(lambda: len(view.model.runs) == OPENED, timeout=30_000)
            for row in range(OPENED):
                view.table.selectRow(row)
                view.below.tabs.setCurrentIndex(RUN)
                wanted = view.model.at(row).id
                qtbot.waitUntil(lambda wanted=wanted: view.below.run.facts is not None and view.below.run.facts.run.id == wanted, timeout=30_000)
                view.below.tabs.setCurrentIndex(LOG)
            view.table.clearSelection()

        watch(0, WARM)
        open_all()
        before = _held(window)
        watch(WARM, LOOKS)
        open_all()
        after = _held(window)
    grown = {name: after[name] - before[name] for name in before}
    mib = grown.pop("MiB")
    assert all(more <= MORE for more in grown.values()), grown
    assert mib <= MORE_MIB, f"{mib:.1f} MiB more"


def _held(window: Window) -> dict[str, float]:
    """What there is of objects, in the window, anywhere in Qt and in Python; of timers, threads and open files; resident memory."""
    for _ in range(3):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # What is free again does not count.
    process = psutil.Process()
    return {
        "objects of the window": len(window.findChildren(QObject)),
        "widgets": len(QApplication.allWidgets()),
        "objects in Python": sum(isinstance(each, QObject) for each in gc.get_objects()),
        "timers": len(window.findChildren(QTimer)),
        "threads": process.num_threads(),
        "files": process.num_fds() if sys.platform != "win32" else 0,
        "MiB": process.memory_info().rss / 2**20,
    }
