"""Stands in for engines.runtime.timing in tests: no torch, figures that follow from a file in the model's folder.

figures.json: {"rate": tokens per second, "fails": "sentence" or "", "dies_at_turn": n or 0, "most_alive": n or 0 (of one parent, then memory
runs out), "noise": share that every second launch is faster by, "log": path of a file that turns are noted in}
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--model", "--train", type=Path)
parser.add_argument("--target")
parser.add_argument("--batches")
parser.add_argument("--seed")
parser.add_argument("--teachers")
arguments = parser.parse_args()
figures = json.loads((arguments.model / "figures.json").read_text(encoding="utf-8"))
turns = 0
log = Path(figures["log"])
noted = [line.split() for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
launches = len({pid for pid, name, *_ in noted if name == arguments.model.parent.name})


def answer(record):
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


if figures.get("fails"):
    answer({"error": figures["fails"]})
    sys.exit(1)
answer({"loaded": True})
if figures.get("most_alive"):
    import psutil

    # Loading is over in the order of the processes, so the count is of those that came before and this one. The parent may have other children.
    alike = psutil.Process().cmdline()[:3]
    siblings = [child for child in psutil.Process(os.getppid()).children() if child.status() != psutil.STATUS_ZOMBIE]
    rivals = sorted((child.create_time(), child.pid) for child in siblings if child.cmdline()[:3] == alike)
    crowded = [pid for _, pid in rivals].index(os.getpid()) >= figures["most_alive"]
for line in sys.stdin:
    asked = json.loads(line)
    if "warm" in asked and figures.get("most_alive") and crowded:
        answer({"error": "Not enough memory.", "memory": True})
        sys.exit(1)
    if "warm" in asked:
        seconds = {"speed/train_tokens_per_s": 0.005} if arguments.seed else {"speed/infer_tokens_per_s": 0.01, "steps": 0.001}
        answer({"seconds": seconds | {f"speed/infer_tokens_per_s/batch_{size}": 0.002 for size in json.loads(arguments.batches or "[]")}})
        continue
    turns += 1
    counts = json.dumps(asked["turn"], separators=(",", ":"))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {arguments.model.parent.name} {counts} {arguments.target or arguments.teachers}\n")
    if turns == figures.get("dies_at_turn"):
        os._exit(9)
    # The machine drifts by the turn; only the ratio stays.
    rate = figures["rate"] * (1 + 0.3 * (turns % 3)) * (1 + figures.get("noise", 0) * (launches % 2))
    found = {key: rate for key in asked["turn"] if key != "steps"}
    if "steps" in asked["turn"]:
        found |= {"speed/generate_tokens_per_s": rate, "latency/p50_ms": 1000 / rate, "latency/p95_ms": 1500 / rate}
    answer(found)
