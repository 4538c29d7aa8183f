"""The progress of runs on a terminal (one bar per run) and elsewhere (plain lines)."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

from engines.console.output import span
from engines.store.rows import RunRow

LINE_SECONDS = 10.0
"""Without a terminal a run says at most this often how far it is."""
_MARKS = {"done": "✓", "failed": "✗", "cancelled": "–", "lost": "✗"}


class Progress(Protocol):
    """Shows rows as they change; used as a context manager."""

    def __enter__(self) -> Progress: ...
    def __exit__(self, *error: object) -> None: ...
    def show(self, rows: list[RunRow]) -> None: ...


def progress(*, quiet: bool) -> Progress:
    """The display that fits standard error."""
    if quiet:
        return Silence()
    return Bars() if sys.stderr.isatty() else Lines()


def label(row: RunRow) -> str:
    return f"r{row.id} {row.variant} · seed {row.seed}"


def outcome(row: RunRow) -> str:
    """The last line about a run."""
    took = span(row.ended - row.started) if row.ended and row.started else ""
    words = [f"{label(row)}: {row.status}", f" in {took}" if took and row.status == "done" else ""]
    reason = f". {row.reason.rstrip('.')}." if row.reason and row.status != "done" else ""
    advice = f" {row.advice}" if row.advice and row.status != "done" else ""
    return "".join(words) + reason + advice


def figures(row: RunRow) -> dict[str, str]:
    """What a bar says beside its length: loss, tokens/s, memory, time left."""
    known: Mapping[str, Any] = row.progress or {}
    loss, speed, memory = known.get("loss"), known.get("tokens_per_s"), known.get("host_mib")
    trains = row.phase == "training"
    return {
        "loss": f"loss {loss:.3f}" if trains and loss is not None else row.phase or row.status,
        "speed": f"{speed:,.0f} tokens/s" if trains and speed is not None else "",
        "memory": f"{memory:,.0f} MiB" if memory is not None else "",
        "left": f"{span(known.get('remaining_s'))} left" if trains and known.get("remaining_s") else "",
    }


def fraction(row: RunRow) -> float:
    return 1.0 if row.status == "done" else float((row.progress or {}).get("fraction", 0.0))


class Silence:
    """--quiet."""

    def __enter__(self) -> Silence:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def show(self, rows: list[RunRow]) -> None:
        return None


class Lines:
    """Plain lines: when a run starts, every now and then, when it ends."""

    def __init__(self) -> None:
        self._status: dict[int, str] = {}
        self._said: dict[int, float] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def show(self, rows: list[RunRow]) -> None:
        now = time.monotonic()
        for row in rows:
            if row.over:
                if self._status.get(row.id) != row.status:
                    sys.stderr.write(f"{outcome(row)}\n")
            elif row.status == "running" and now - self._said.get(row.id, 0.0) > LINE_SECONDS:
                self._said[row.id] = now
                parts = [part for part in figures(row).values() if part]
                sys.stderr.write(f"{label(row)}: {fraction(row):.0%}, {', '.join(parts)}\n")
            self._status[row.id] = row.status
        sys.stderr.flush()


class Bars:
    """rich: one bar for each run that is under way, a line above for each that has ended, one bar for the whole."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            *(TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("loss", "speed", "memory", "left")),
            console=Console(stderr=True, highlight=False),
            refresh_per_second=2,
            transient=True,
        )
        self._tasks: dict[int, Any] = {}
        self._ended: set[int] = set()
        self._whole: Any = None

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def show(self, rows: list[RunRow]) -> None:
        for row in rows:
            if row.over:
                self._end(row)
            elif row.status != "queued":
                if row.id not in self._tasks:
                    self._tasks[row.id] = self._bars.add_task(label(row), total=1.0, loss="", speed="", memory="", left="")
                fields: dict[str, Any] = {**figures(row)}
                self._bars.update(self._tasks[row.id], completed=fraction(row), **fields)
        if len(rows) > 1:
            if self._whole is None:
                self._whole = self._bars.add_task("all runs", total=1.0, loss="", speed="", memory="", left="")
            share = sum(1.0 if row.over else fraction(row) for row in rows) / len(rows)
            self._bars.update(self._whole, completed=share, loss=f"{sum(row.over for row in rows)} of {len(rows)} ended")

    def _end(self, row: RunRow) -> None:
        if row.id in self._ended:
            return
        self._ended.add(row.id)
        if row.id in self._tasks:
            self._bars.remove_task(self._tasks.pop(row.id))
        self._bars.console.print(f"{_MARKS[row.status]} {outcome(row)}", markup=False, soft_wrap=True)
