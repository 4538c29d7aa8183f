"""A process that claims runs, writes points into them and ends them, until none is left. Prints the runs it got, one a line.

    python contender.py URL NAME
"""

from __future__ import annotations

import sys

from engines.store import commands, queries
from engines.store.commands import SeriesBatch
from engines.store.database import Store

POINTS = 400


def main(url: str, name: str) -> None:
    sys.stdin.readline()
    with Store.open(url) as store:
        supervisor = commands.register_supervisor(store, name, 1, 1.0)
        while queries.runs(store, status="queued"):
            run = commands.claim_run(store, supervisor)
            if run is None:
                continue
            print(run.id, flush=True)
            commands.set_status(store, run.id, run.claim, "running")
            for start in range(0, POINTS, 50):
                steps = range(start, start + 50)
                commands.append_points(store, run.id, run.claim, [SeriesBatch("x", "", "none", steps, [0.0] * 50, [float(s) for s in steps])])
                commands.set_progress(store, run.id, run.claim, {"step": start})
            commands.finish_run(store, run.id, run.claim, "done")


if __name__ == "__main__":
    main(*sys.argv[1:])
