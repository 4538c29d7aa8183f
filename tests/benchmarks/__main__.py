"""Run the benchmarks one after the other, each in a process of its own: `python -m tests.benchmarks [NAME [ITS OWN WORDS ...] ...]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main(wanted: list[str]) -> int:
    names = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    asked: list[list[str]] = []
    for word in wanted or names:
        if word in names:
            asked.append([word])
        elif asked:
            asked[-1].append(word)
        else:
            print(f"No benchmark named {word}; there are: {', '.join(names)}", file=sys.stderr)
            return 2
    failed = 0
    for name, *words in asked:
        print(f"\n== {' '.join([name, *words])}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"tests.benchmarks.bench_{name}", *words], check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
