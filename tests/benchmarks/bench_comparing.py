"""The comparison of 100 runs of 100,000 points each: from the choice of their experiment in the window to the painted page, for each part.

20 variants with 5 seeds each. Figures, rounds and points come through the store's own commands, which takes a minute or two; another number of
points a run may be said (the comparison reads the looks at held-out text and none of the curves, so 1,000 give about the same). Wanted: open in
under 0.5 s.

    python -m tests.benchmarks.bench_comparing [POINTS]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.bench_drawing import settle, until

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROUNDS = 9
SECONDS = 0.5


def main(points: int) -> int:
    from PySide6.QtCore import QSettings

    from engines.comparison import compare
    from engines.store.database import Store
    from tests.workbench import rich_sample
    from workbench.application import application
    from workbench.window import Window

    made = application()
    with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/store.sqlite") as store:
        began = time.perf_counter()
        large = rich_sample.rich(store, variants=20, points=points, name="Twenty variants")
        other = rich_sample.rich(store, variants=3, points=100, name="Another one, looked at in between")
        print(f"100 runs of {points:,} points written in {time.perf_counter() - began:.0f} s")
        alone = []
        for _ in range(5):
            began = time.perf_counter()
            compare(store, [large])
            alone.append(time.perf_counter() - began)
        print(f"100 runs compared, without a window: {statistics.median(alone) * 1000:.0f} ms")
        window = Window(store=store.url, settings=QSettings(f"{folder}/window.ini", QSettings.Format.IniFormat))
        window.show()
        until(made, lambda: window.desk.store is not None and window.desk.catalogue is not None)
        window.go("compare")
        view = window.view("compare")
        settle(made, 3)  # The inspector that starts for the editor is no part of this.
        slowest = 0.0
        for tab in ("overview", "forest", "tradeoff", "savings", "why", "plans"):
            first = _slot(lambda tab=tab: view.tabs.go(tab))
            settle(made)
            whole, own = [], []
            for experiment in (other, large) * ROUNDS:
                began, slots = time.perf_counter(), [0.0]
                window.desk.wants_comparison.emit(experiment)
                while view.comparison is None or view.comparison["experiments"] != [experiment]:
                    slots.append(_slot(made.processEvents))
                    time.sleep(0.001)
                slots.append(_slot(made.processEvents))  # What the new figures changed in the layout.
                slots.append(_slot(view.tabs.stack.currentWidget().repaint))
                if experiment == large:
                    whole.append(time.perf_counter() - began)
                    own.append(max(slots))
                settle(made, 0.3)
            slowest = max(slowest, statistics.median(whole))
            print(
                f"100 runs, {tab}: from the choice to the painted comparison {statistics.median(whole) * 1000:.0f} ms, "
                f"worst {max(whole) * 1000:.0f} ms; longest slot of the window's thread {statistics.median(own) * 1000:.0f} ms, "
                f"{first * 1000:.0f} ms where the part is made"
            )
        window.close()
    print(f"100 runs of {points:,} points open in under {SECONDS} s (slowest part {slowest:.2f} s): {'holds' if slowest < SECONDS else 'FAILS'}")
    return 0 if slowest < SECONDS else 1


def _slot(act: Callable[[], Any]) -> float:
    """Processor time of this thread for one turn."""
    began = time.thread_time()
    act()
    return time.thread_time() - began


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 100_000))
