"""A worker without torch that does what its plan's "script" says: for tests of everything around the worker.

It speaks the worker's protocol for real: the claim on every write, `stop` on the pipe, the end of the pipe. Steps of a script:
{"train": n} n steps of about 20 ms with a point each (n = -1: until stopped), {"exit": code}, {"signal": number} to itself, {"deaf": true}
ignores `stop` from then on, {"stubborn": true} ignores SIGTERM too, {"say": text} prints, {"raise": text} fails with that reason.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time

from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import SeriesBatch

stop = threading.Event()
deaf = threading.Event()


def listen() -> None:
    for line in sys.stdin:
        if line.strip() == "stop" and not deaf.is_set():
            stop.set()
    os._exit(75)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", type=int)
    parser.add_argument("--claim")
    parser.add_argument("--spare", action="store_true")
    asked = parser.parse_args()
    if asked.spare:
        told = sys.stdin.readline()
        if not told:
            return 75
        vars(asked).update({key: value for key, value in json.loads(told).items() if key != "folder"})
    threading.Thread(target=listen, daemon=True).start()
    store = Store.open(asked.store)
    commands.set_status(store, asked.run, asked.claim, "running")
    step = 0
    for action in queries.plan(store, asked.run)["script"]:
        if "say" in action:
            print(action["say"], flush=True)
        if action.get("deaf"):
            deaf.set()
        if action.get("stubborn"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if "signal" in action:
            os.kill(os.getpid(), action["signal"])
        if "exit" in action:
            return int(action["exit"])
        if "raise" in action:
            commands.finish_run(store, asked.run, asked.claim, "failed", action["raise"], "")
            return 1
        left = action.get("train", 0)
        while left:
            if stop.is_set():
                commands.finish_run(store, asked.run, asked.claim, "cancelled", "Stopped on request.", "")
                return 1
            step, left = step + 1, left - 1
            batch = SeriesBatch("train/loss", "nats/token", "lower", [step], [time.time()], [1.0 / step])
            commands.append_points(store, asked.run, asked.claim, [batch])
            commands.set_progress(store, asked.run, asked.claim, {"step": step, "loss": 1.0 / step, "fraction": 0.5})
            time.sleep(0.02)
    commands.finish_run(store, asked.run, asked.claim, "done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
