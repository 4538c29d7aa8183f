"""The window's line to the inspector process: questions and answers as JSON lines over QProcess. torch stays in that process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

IDLE_MINUTES = 5
"""An inspector that nobody asks for so long is ended: torch takes 200 MiB and more of memory."""

Answer = Callable[[Any], None]
Refusal = Callable[[str], None]


class Inspector(QObject):
    """Started at the first question and again after a crash, which costs the questions under way and nothing else."""

    state = Signal(str)
    """"", "starting", "working", "idle": for the status bar."""

    def __init__(self, parent: QObject | None = None, command: list[str] | None = None) -> None:
        super().__init__(parent)
        self._command = command or [sys.executable, "-m", "engines.runtime.inspector"]
        self._process: QProcess | None = None
        self._waiting: dict[int, tuple[Answer, Refusal]] = {}
        self._next = 1
        self._partial = b""
        self._errors = b""
        self._idle = QTimer(self)
        self._idle.setSingleShot(True)
        self._idle.setInterval(IDLE_MINUTES * 60_000)
        self._idle.timeout.connect(self._stop)

    def ask(self, what: str, answered: Answer, refused: Refusal, **fields: Any) -> int:
        """Ask one question; exactly one of the two functions is called later, unless the question is forgotten. Returns its number."""
        number, self._next = self._next, self._next + 1
        self._waiting[number] = (answered, refused)
        if self._process is None:
            self._start()
        assert self._process is not None
        self._idle.stop()
        self._process.write((json.dumps({"id": number, "ask": what, **fields}) + "\n").encode())
        self.state.emit("working")
        return number

    def forget(self, number: int) -> None:
        """Drop a question: its answer will not be delivered."""
        self._waiting.pop(number, None)

    def close(self) -> None:
        """End the process without telling anyone."""
        self._waiting.clear()
        self._stop()

    def _start(self) -> None:
        from engines.launching import process_environment

        process = QProcess(self)
        environment = QProcessEnvironment()
        for key, value in process_environment().items():
            environment.insert(key, value)
        process.setProcessEnvironment(environment)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._keep_errors)
        process.finished.connect(self._ended)
        process.errorOccurred.connect(self._failed)
        self._partial = self._errors = b""
        self._process = process
        self.state.emit("starting")
        process.start(self._command[0], self._command[1:])

    def _stop(self) -> None:
        self._idle.stop()
        process, self._process = self._process, None
        if process is None:
            return
        process.finished.disconnect(self._ended)
        process.errorOccurred.disconnect(self._failed)
        if process.state() != QProcess.ProcessState.NotRunning:
            process.kill()  # It holds nothing that is worth waiting for.
            process.waitForFinished(2000)
        process.deleteLater()
        self.state.emit("")

    def _read(self) -> None:
        if self._process is None:
            return
        self._partial += self._process.readAllStandardOutput().data()
        *lines, self._partial = self._partial.split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
                waiting = self._waiting.pop(message["id"], None)
            except (ValueError, TypeError, KeyError):
                continue  # Not one of ours: a library printed to standard output.
            if waiting is not None:
                answered, refused = waiting
                if "error" in message:
                    refused(str(message["error"]))
                else:
                    answered(message.get("answer"))
        if not self._waiting:
            self._idle.start()
            self.state.emit("idle")

    def _keep_errors(self) -> None:
        if self._process is not None:
            self._errors = (self._errors + self._process.readAllStandardError().data())[-4000:]

    def _failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._ended()

    def _ended(self, *_: object) -> None:
        process, self._process = self._process, None
        lines = self._errors.decode(errors="replace").strip().splitlines()
        last = f" Its last words: {lines[-1]}" if lines else ""
        waiting, self._waiting = self._waiting, {}
        for _answered, refused in waiting.values():
            refused(f"The inspector process ended before it answered.{last}")
        if process is not None:
            process.deleteLater()
        self._idle.stop()
        self.state.emit("")
