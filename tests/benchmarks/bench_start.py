"""From `workbench run FILE` to the first stored training point, on a fresh store with the corpus already prepared; and what the supervisor costs.

The supervisor's memory and share of a core are read from outside while its run is live.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import psutil

from engines.store import queries
from engines.store.database import Store
from tests.benchmarks.reaches import tell

REPEATS = 5
WATCHED_SECONDS = 10.0


def main() -> None:
    seconds, memory, share = [], [], []
    for repeat in range(REPEATS + 1):
        with tempfile.TemporaryDirectory() as folder:
            first, used, busy = once(Path(folder), watch=repeat == REPEATS)
            # The first repeat prepares the corpus and the catalogue's cache.
            if repeat:
                seconds.append(first)
            memory.append(used)
            share.append(busy)
    print(f"workbench run to first stored training point: {statistics.median(seconds):.2f} s (min {min(seconds):.2f}, max {max(seconds):.2f})")
    print(f"supervisor while a run is live: {max(memory):.0f} MiB resident, {share[-1]:.2f}% of a core over {WATCHED_SECONDS:.0f} s")
    tell("run_s", statistics.median(seconds))
    tell("supervisor_mib", max(memory))
    tell("supervisor_percent", share[-1])


def once(folder: Path, *, watch: bool) -> tuple[float, float, float]:
    """(seconds to the first point, supervisor's MiB, supervisor's share of a core in percent)."""
    url = f"sqlite:///{folder / 'store.sqlite'}"
    demo = str(files("resources") / "experiments" / "demo.toml")
    started = time.time()
    client = subprocess.Popen(
        [sys.executable, "-m", "workbench", "run", demo, "--store", url, "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        store, stored = None, None
        while stored is None:
            if client.poll() is not None:
                raise RuntimeError(f"workbench run ended with {client.returncode} before it trained.")
            time.sleep(0.02)
            if store is None and (folder / "store.sqlite").exists():
                store = Store.open(url)
            if store is not None:
                stored = _first_point(store)
        assert store is not None
        supervisor = psutil.Process(queries.supervisors(store)[-1].pid)
        memory = supervisor.memory_info().rss / 2**20
        before = sum(supervisor.cpu_times()[:2])
        if watch:
            time.sleep(WATCHED_SECONDS)
        busy = 100 * (sum(supervisor.cpu_times()[:2]) - before) / WATCHED_SECONDS
        store.close()
        return stored - started, memory, busy
    finally:
        client.send_signal(signal.SIGINT)
        client.wait()
        wait_for_the_supervisor(url)


def _first_point(store: Store) -> float | None:
    """When the first training loss was seen in the store, unix seconds."""
    for run in queries.runs(store):
        if any(series.key == "train/loss" and series.count for series in queries.series(store, run.id)):
            return time.time()
    return None


def wait_for_the_supervisor(url: str) -> None:
    """Until the processes that serve a store have left."""
    ours = [p for p in psutil.process_iter(["cmdline"]) if url in (p.info["cmdline"] or []) and p.pid != os.getpid()]
    psutil.wait_procs(ours, timeout=60)


if __name__ == "__main__":
    main()
