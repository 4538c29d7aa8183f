"""The comparison of 20 variants with 5 seeds each: from the choice of their experiment to the painted page, for each part that is drawn.

Figures, rounds and points come through the store's own commands. The comparison reads no points, so each run has a thousand here instead of a
hundred thousand, which would take minutes to write.

    python -m tests.benchmarks.bench_comparing
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.bench_window import settle, until

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROUNDS = 18


def main() -> None:
    from PySide6.QtCore import QSettings

    from engines.comparison import compare
    from engines.store.database import Store
    from tests.workbench import rich_sample
    from workbench.application import application
    from workbench.window import Window

    made = application()
    with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/store.sqlite") as store:
        large = [rich_sample.rich(store, variants=20, points=1000, name=f"Twenty variants, {which}") for which in ("first", "second")]
        alone = []
        for _ in range(5):
            began = time.perf_counter()
            compare(store, large[:1])
            alone.append(time.perf_counter() - began)
        print(f"100 runs compared, without a window: {statistics.median(alone) * 1000:.0f} ms")
        window = Window(store=store.url, settings=QSettings(f"{folder}/window.ini", QSettings.Format.IniFormat))
        window.show()
        until(made, lambda: window.desk.store is not None and window.desk.catalogue is not None)
        window.go("compare")
        view = window.view("compare")
        settle(made, 3)  # The inspector that starts for the editor is no part of this.
        for tab in ("overview", "forest", "tradeoff", "savings", "why", "plans"):
            first = _slot(lambda tab=tab: view.tabs.go(tab))
            settle(made)
            whole, own = [], []
            for number in range(ROUNDS):
                experiment = large[number % 2]
                began, slots = time.perf_counter(), [0.0]
                window.desk.wants_comparison.emit(experiment)
                while view.comparison is None or view.comparison["experiments"] != [experiment]:
                    slots.append(_slot(made.processEvents))
                    time.sleep(0.001)
                slots.append(_slot(made.processEvents))  # What the new figures changed in the layout.
                slots.append(_slot(view.tabs.stack.currentWidget().repaint))
                whole.append(time.perf_counter() - began)
                own.append(max(slots))
                settle(made, 0.3)
            print(
                f"100 runs, {tab}: from the choice to the painted comparison {statistics.median(whole) * 1000:.0f} ms, "
                f"worst {max(whole) * 1000:.0f} ms; longest slot of the window's thread {statistics.median(own) * 1000:.0f} ms, "
                f"{first * 1000:.0f} ms where the part is made"
            )
        window.close()


def _slot(act: Callable[[], Any]) -> float:
    """Processor time of this thread for one turn."""
    began = time.thread_time()
    act()
    return time.thread_time() - began


if __name__ == "__main__":
    main()
