"""Points into the store and curves out of it.

Writing: the recorder and `append_points`, against MLflow's `log_batch` into SQLite where MLflow is installed; the contestants take turns in
random order within a round, in batches of 1000 points of one series. Reading: a stored curve of a million points, drawn whole for the
first time by a process that has just opened the store, then at random zooms; each answer is held against numpy, so no spike is lost.

    python -m tests.benchmarks.bench_store
"""

from __future__ import annotations

import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engines.runtime.recorder import Recorder
from engines.statistics import median_ratio
from engines.store import commands, queries
from engines.store.commands import SeriesBatch
from engines.store.database import Store
from engines.store.queries import RunRow
from tests.benchmarks.reaches import tell

ROUNDS = 7
BATCH = 1000
OURS, THEIRS = 50, 5
"""Batches a round: ours, MLflow's (which takes ten times as long and more)."""
LENGTH = 1_000_000
ZOOMS = 200
PIXELS = 1200


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        writing(Path(folder))
        reading(Path(folder))


# --- Writing --------------------------------------------------------------------------------------------------------------------------------


def writing(folder: Path) -> None:
    """Print points a second of every contestant and, where MLflow is there, the median of the paired ratios."""
    with Store.open(str(folder / "write.sqlite")) as store:
        run = claimed(store)
        contestants: dict[str, tuple[Callable[[int, int], None], int]] = {
            "append_points": (appender(store, run), OURS),
            "recorder": (recording(store, run), OURS),
        }
        mlflow = mlflow_batches(folder)
        if mlflow is None:
            print("MLflow is not installed: its log_batch was not measured (pip install mlflow-skinny sqlalchemy alembic, then again).")
        else:
            contestants["mlflow log_batch"] = (mlflow, THEIRS)
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        order = random.Random(0)
        for number in range(ROUNDS + 1):
            for name in order.sample(list(contestants), len(contestants)):
                write, batches = contestants[name]
                start = time.perf_counter()
                write(number * batches, batches)
                if number:  # the first round warms up
                    rates[name].append(batches * BATCH / (time.perf_counter() - start))
    for name, found in rates.items():
        print(f"{name}: {statistics.median(found):,.0f} points/s (lowest {min(found):,.0f})")
        tell(name, statistics.median(found))
    if mlflow is not None:
        for name in ("append_points", "recorder"):
            ratio = median_ratio(rates[name], rates["mlflow log_batch"])
            print(f"{name} / mlflow log_batch: {ratio.value:.1f}x [{ratio.low:.1f}, {ratio.high:.1f}]")
            tell(f"{name}/mlflow", ratio.value, ratio.low, ratio.high)


def appender(store: Store, run: RunRow) -> Callable[[int, int], None]:
    def write(first: int, batches: int) -> None:
        for batch in range(first, first + batches):
            steps = list(range(batch * BATCH, (batch + 1) * BATCH))
            commands.append_points(store, run.id, run.claim, [SeriesBatch("appended", "", "none", steps, [time.time()] * BATCH, [0.5] * BATCH)])

    return write


def recording(store: Store, run: RunRow) -> Callable[[int, int], None]:
    """As the training loop does it: a call a point, stored by flushes."""

    def write(first: int, batches: int) -> None:
        recorder = Recorder(store, run.id, run.claim)
        for batch in range(first, first + batches):
            for step in range(batch * BATCH, (batch + 1) * BATCH):
                recorder.add("recorded", step, 0.5)
            recorder.flush()
        recorder.close()

    return write


def mlflow_batches(folder: Path) -> Callable[[int, int], None] | None:
    try:
        from mlflow.entities import Metric
        from mlflow.tracking import MlflowClient
    except ImportError:
        return None
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.sqlite'}")
    run_id = client.create_run(client.create_experiment("bench")).info.run_id

    def write(first: int, batches: int) -> None:
        for batch in range(first, first + batches):
            now = int(time.time() * 1000)
            client.log_batch(run_id, metrics=[Metric("logged", 0.5, now, step) for step in range(batch * BATCH, (batch + 1) * BATCH)])

    return write


# --- Reading --------------------------------------------------------------------------------------------------------------------------------


def reading(folder: Path) -> None:
    """Print the time of the first drawing of a long curve and of zooms into it."""
    url = str(folder / "read.sqlite")
    values = np.random.default_rng(0).normal(size=LENGTH).cumsum()
    with Store.open(url) as store:
        run = claimed(store)
        for start in range(0, LENGTH, 10_000):
            steps = range(start, start + 10_000)
            commands.append_points(store, run.id, run.claim, [SeriesBatch("x", "", "none", steps, [0.0] * 10_000, values[start : start + 10_000])])
        series_id = queries.series(store, run.id)[0].id
    firsts = []
    for _ in range(ROUNDS):
        with Store.open(url) as store:
            firsts.append(timed(store, series_id, values, 0, LENGTH - 1))
    print(f"first drawing of {LENGTH:,} points: median {statistics.median(firsts):.1f} ms, worst {max(firsts):.1f} ms")
    draw = random.Random(0)
    zooms = []
    gc.freeze()  # As the window's process does (workbench/application.py).
    with Store.open(url) as store:
        for _ in range(ZOOMS):
            width = int(10 ** draw.uniform(1, 6))
            low = draw.randrange(max(1, LENGTH - width))
            zooms.append(timed(store, series_id, values, low, min(LENGTH - 1, low + width)))
    tail = sorted(zooms)[int(0.95 * ZOOMS)]
    middle = statistics.median(zooms)
    tell("zoom_store_ms", max(zooms))
    print(f"zoom to {ZOOMS} random windows: median {middle:.1f} ms, 95% {tail:.1f} ms, worst {max(zooms):.1f} ms")


def timed(store: Store, series_id: int, values: Any, low: int, high: int) -> float:
    """Milliseconds of one answer, which must hold every extreme of the window."""
    start = time.perf_counter()
    curve = queries.curve(store, series_id, low, high, PIXELS)
    took = (time.perf_counter() - start) * 1000
    window = values[low : high + 1]
    assert curve.lows.min() <= window.min()
    assert curve.highs.max() >= window.max()
    return took


def claimed(store: Store) -> RunRow:
    """A run to write to."""
    variants = [{"name": "v", "plan": {}, "baseline": True, "needs": []}]
    commands.submit(store, name="bench", digest="", text="", document={}, folder="", variants=variants, seeds=[0], smoke=False)
    run = commands.claim_run(store, commands.register_supervisor(store, "bench", 1, 1.0))
    assert run is not None
    return run


if __name__ == "__main__":
    main()
