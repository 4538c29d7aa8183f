"""Programs of the engine beside the window: one process, its progress line by line, its answer at the end, errors as sentences."""

from __future__ import annotations

import sys
from codecs import getincrementaldecoder
from collections.abc import Collection, Mapping, Sequence

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

GRACE_MS = 5000
"""How long a program that was asked to stop may take to do so."""


class Program(QObject):
    """`python -m MODULE ...`, one at a time. Exactly one of `answered`, `failed` and `stopped` follows a start, unless it is closed."""

    said = Signal(str)
    """A line of standard error: progress."""
    told = Signal(str)
    """A line of standard output, as it comes."""
    answered = Signal(str)
    """All of standard output, when the program ended well."""
    failed = Signal(str)
    """Why there is no answer, as a sentence."""
    stopped = Signal()
    """It ended because it was asked to."""

    def __init__(self, parent: QObject | None = None, *, fine: Collection[int] = (0,)) -> None:
        super().__init__(parent)
        self._fine = fine
        self._process: QProcess | None = None
        self._forget()
        self._stopping = False

    def _forget(self) -> None:
        # Incremental: the bytes of one letter may come in two pieces.
        self._decoders = {stream: getincrementaldecoder("utf-8")(errors="replace") for stream in ("out", "errors")}
        self._lines = {"out": "", "errors": ""}
        self._answer = self._errors = ""

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self, arguments: Sequence[str], surroundings: Mapping[str, str] | None = None) -> None:
        """Run `python ARGUMENTS`, in the environment of our processes unless another is given; nothing happens where one is at work already."""
        from engines.launching import process_environment

        if self._process is not None:
            return
        process = QProcess(self)
        environment = QProcessEnvironment()
        for key, value in (process_environment() if surroundings is None else surroundings).items():
            environment.insert(key, value)
        process.setProcessEnvironment(environment)
        process.readyReadStandardError.connect(self._listen)
        process.readyReadStandardOutput.connect(self._listen)
        process.finished.connect(self._ended)
        process.errorOccurred.connect(self._could_not)
        self._forget()
        self._stopping = False
        self._process = process
        process.start(sys.executable, list(arguments))

    def stop(self) -> None:
        """Ask it to stop, and kill it where it does not in a few seconds."""
        process = self._process
        if process is None or self._stopping:
            return
        self._stopping = True
        if sys.platform == "win32":
            process.kill()  # There is no polite way to end a process without a window.
            return
        process.terminate()
        QTimer.singleShot(GRACE_MS, process, process.kill)

    def close(self) -> None:
        """End it without telling anyone; it has a second to put its things in order."""
        process, self._process = self._process, None
        if process is None:
            return
        process.finished.disconnect(self._ended)
        process.errorOccurred.disconnect(self._could_not)
        if process.state() != QProcess.ProcessState.NotRunning:
            process.terminate()
            if not process.waitForFinished(1000):
                process.kill()
                process.waitForFinished(2000)
        process.deleteLater()

    def _listen(self) -> None:
        if self._process is None:
            return
        errors = self._decoders["errors"].decode(bytes(self._process.readAllStandardError().data()))
        answer = self._decoders["out"].decode(bytes(self._process.readAllStandardOutput().data()))
        self._errors = (self._errors + errors)[-4000:]
        self._answer += answer
        for line in self._whole("errors", errors):
            self.said.emit(line)
        for line in self._whole("out", answer):
            self.told.emit(line)

    def _whole(self, stream: str, text: str) -> list[str]:
        """Lines that are complete now; the rest waits for its end."""
        *lines, self._lines[stream] = (self._lines[stream] + text).replace("\r", "\n").split("\n")
        return [line.strip() for line in lines if line.strip()]

    def _could_not(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._ended(-1)

    def _ended(self, code: int, *_: object) -> None:
        self._listen()
        process, self._process = self._process, None
        if process is None:
            return
        crashed = process.error() == QProcess.ProcessError.FailedToStart or process.exitStatus() == QProcess.ExitStatus.CrashExit
        process.deleteLater()
        if not crashed and code in self._fine:
            self.answered.emit(self._answer)
        elif self._stopping:
            self.stopped.emit()
        else:
            self.failed.emit(self._why(code, crashed))

    def _why(self, code: int, crashed: bool) -> str:
        """The sentence that the program left; for a crash, how it ended and its last words."""
        lines = [line.strip() for line in self._errors.splitlines() if line.strip()]
        if not crashed and lines and not any(line.startswith("Traceback") for line in lines):
            return lines[-1]
        how = "was killed or crashed" if crashed else f"ended with exit code {code}"
        return f"The process {how}." + (f" Its last words: {lines[-1]}" if lines else "")
