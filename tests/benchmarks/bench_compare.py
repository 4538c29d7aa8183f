"""100 runs of 100,000 points each compared without a window: by a process that has just started, again, and written as a report.

20 variants with 5 seeds each; figures, rounds, points and looks at held-out text come through the store's own commands, which takes a minute.
The comparison reads the looks and none of the curves: the same with a hundredth of the points shows it.

    python -m tests.benchmarks.bench_compare
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.comparison import compare
from engines.report import writing
from engines.store.database import Store
from tests.workbench import rich_sample

VARIANTS, ROUNDS = 20, 7
COLD = """
import sys, time
began = time.perf_counter()
from engines.comparison import compare
from engines.store.database import Store
with Store.open(sys.argv[1]) as store:
    loaded = time.perf_counter()
    compare(store, [1])
    print(loaded - began, time.perf_counter() - loaded)
"""


def main() -> None:
    for points in (1_000, 100_000):
        with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/store.sqlite") as store:
            experiment = rich_sample.rich(store, variants=VARIANTS, points=points)
            cold = [[float(each) for each in _fresh(store.url).split()] for _ in range(ROUNDS)]
            loading, first = (statistics.median(each) for each in zip(*cold, strict=True))
            again = statistics.median(_seconds(compare, store, [experiment]) for _ in range(ROUNDS))
            report = _seconds(writing.write, store, [experiment], "html", Path(folder) / "report.html")
            print(
                f"100 runs of {points:,} points: compared in {first * 1000:.0f} ms by a fresh process (its imports took {loading * 1000:.0f} ms), "
                f"in {again * 1000:.0f} ms again; HTML report with its curves in {report:.1f} s"
            )


def _fresh(url: str) -> str:
    return subprocess.run([sys.executable, "-c", COLD, url], capture_output=True, text=True, check=True).stdout


def _seconds(act: Callable[..., Any], *arguments: Any) -> float:
    began = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
