"""Run benchmarks one after the other, each in a process of its own.

    python -m tests.benchmarks                       those of the foundation, then what each reached: about 20 minutes on two idle cores
    python -m tests.benchmarks all                   every one, hours
    python -m tests.benchmarks NAME [ITS OWN WORDS ...] ...
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks import reaches

FOLDER = Path(__file__).parent
LIMIT_SECONDS = 900.0
"""So long may one benchmark of the foundation take."""


def main(wanted: list[str]) -> int:
    names = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    if not wanted:
        return _foundation()
    asked: list[list[str]] = []
    for word in names if wanted == ["all"] else wanted:
        if word in names:
            asked.append([word])
        elif asked:
            asked[-1].append(word)
        else:
            print(f"No benchmark named {word}; there are: {', '.join(names)}", file=sys.stderr)
            return 2
    return 1 if sum(not _run(words) for words in asked) else 0


def _foundation() -> int:
    """1 where a benchmark failed; what was missed is told and fails nothing, since a busy machine misses too."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "figures.jsonl"
        failed = sum(not _run(list(words), {reaches.FILE: str(place)}, LIMIT_SECONDS) for words in reaches.FOUNDATION)
        print(f"\n== what was reached\n{reaches.summary(reaches.told(place))}")
    return 1 if failed else 0


def _run(words: list[str], environment: dict[str, str] | None = None, limit: float | None = None) -> bool:
    """Whether a benchmark ended well."""
    print(f"\n== {' '.join(words)}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", f"tests.benchmarks.bench_{words[0]}", *words[1:]]
    try:
        good = subprocess.run(command, check=False, env=os.environ | (environment or {}), timeout=limit).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"stopped after {limit:.0f} s", flush=True)
        return False
    print(f"({time.monotonic() - began:.0f} s)", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
