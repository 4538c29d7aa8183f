"""The processes that are timed: one variant each, a few alive, exactly one of them at work at a time."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from engines import probes
from engines.launching import HUGE_PAGES, process_environment

MODULE = "engines.runtime.timing"
LOAD_SECONDS = 300.0
TURN_SECONDS = 600.0
LEAVE_SECONDS = 5.0
KILLED = -9
STEADY_ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000", HUGE_PAGES: os.environ.get(HUGE_PAGES, "1"),
}  # fmt: skip
"""What keeps glibc from giving memory back and asking for it anew in every step (bytes; other systems ignore it). Whether it does depends on
where a process happened to lay its tensors: without this one of two equal processes is 5 to 10% slower than the other for its whole life.
Huge pages besides keep memory from growing with every step of large tensors."""


class StopwatchError(RuntimeError):
    """A variant could not be timed; the message is a sentence with its reason. memory: whether memory ran out."""

    def __init__(self, sentence: str, *, memory: bool = False) -> None:
        super().__init__(sentence)
        self.memory = memory


def of_model(folder: Path, target: Mapping[str, Any], batches: Sequence[int] = ()) -> list[str]:
    """Arguments of a process that times a finished model on a target, and its scoring at further batch sizes."""
    return ["--model", str(folder), "--target", json.dumps(target), "--batches", json.dumps(list(batches))]


def of_training(folder: Path, seed: int, teachers: Mapping[str, Path]) -> list[str]:
    """Arguments of a process that times the training of the plan that a finished model came from."""
    folders = {name: str(path) for name, path in teachers.items()}
    return ["--train", str(folder), "--seed", str(seed), "--teachers", json.dumps(folders)]


class Stopwatch:
    """A process that is timed. arguments: see `of_model` and `of_training`; log: file that its standard error is appended to."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", MODULE, *arguments]
        environment = process_environment() | STEADY_ALLOCATOR
        self._kills = probes.out_of_memory_kills()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8", env=environment
            )
        self._log = log
        self._lines: queue.Queue[str] = queue.Queue()
        self.pid = self._process.pid
        # A thread, because a pipe cannot be waited for with a limit on every system; it sleeps while a model is timed.
        self._reader = threading.Thread(target=self._read, name="stopwatch", daemon=True)
        self._reader.start()

    def loaded(self) -> None:
        """Wait until the process has loaded what it is to time. Raises StopwatchError."""
        self._next(LOAD_SECONDS)

    def ask(self, **request: Any) -> dict[str, Any]:
        """One line there, one line back. Raises StopwatchError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._death() from error
        return self._next(TURN_SECONDS)

    def close(self) -> None:
        """End the process: it leaves when its input ends, and is killed when it does not. Nothing happens where it has ended."""
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()  # type: ignore[union-attr]

    def __enter__(self) -> Stopwatch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _next(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise StopwatchError(f"It gave no answer within {seconds:.0f} s.") from None
        if not line:
            raise self._death()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise StopwatchError(f"It answered {line.strip()!r}, which is no figure.") from error
        if "error" in answer:
            raise StopwatchError(answer["error"], memory=bool(answer.get("memory")))
        return answer

    def _death(self) -> StopwatchError:
        try:
            code: int | None = self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        if code == KILLED and probes.out_of_memory_kills() > self._kills:
            return StopwatchError("The system killed its process for memory.", memory=True)
        return StopwatchError(f"Its process ended with code {code}; its log is {self._log}.")
