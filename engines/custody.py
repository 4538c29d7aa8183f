"""One worker process in the supervisor's charge: its start, its pipe, what it uses, and what its death means."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from engines import probes
from engines.launching import process_environment

WORKER_MODULE = "engines.runtime.worker"
MEMORY_ADVICE = (
    "Use a smaller batch or sequence, gradient accumulation, gradient checkpointing, fewer runs at once, or a smaller model; then resume the run."
)


@dataclass(frozen=True)
class Sample:
    """What a worker used at one moment, seen from outside. host_mib: resident memory; cpu_percent: of one core, since the last sample."""

    time: float
    host_mib: float
    cpu_percent: float


class Custody:
    """Starts `python -m <module> --store URL --run ID --claim TOKEN` in a process group of its own, with a pipe as its standard input.

    folder: the run's folder; standard output and error of the worker are appended to worker.log in it. spare: a worker that waits for a run; it
    is taken in place of a new one, if it lives. Raises OSError.
    """

    def __init__(self, url: str, run_id: int, claim: str, folder: Path, module: str = WORKER_MODULE, spare: Spare | None = None) -> None:
        self.run_id, self.claim = run_id, claim
        self.log = folder / "worker.log"
        self.memory_kills_before = probes.out_of_memory_kills()
        self.last_host_mib = 0.0
        self.asked_to_stop: float | None = None
        """Monotonic time at which the worker was told to stop; None while it may run."""
        self.stop_reason = ""
        self.forced = ""
        """The signal we sent because the worker did not stop by itself."""
        folder.mkdir(parents=True, exist_ok=True)
        taken = spare.take(run_id, claim, folder) if spare is not None else None
        if taken is None:
            with self.log.open("ab") as output:
                taken = _start([module, "--store", url, "--run", str(run_id), "--claim", claim], stdout=output, stderr=output, cwd=folder)
        self._process = taken
        self.pid = self._process.pid
        try:
            self._seen = psutil.Process(self.pid)
            self.pid_started = self._seen.create_time()
            self._seen.cpu_percent(None)
        except psutil.Error as error:
            # A process that nobody can watch is not kept.
            self._process.kill()
            self._process.wait()
            _end_group(self.pid)
            self._close_pipe()
            raise OSError(f"its process {self.pid} cannot be looked at ({error})") from error

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 where signal 9 ended it. What is left of its process group ends with it."""
        running = self._process.returncode is None
        code = self._process.poll()
        if running and code is not None:
            _end_group(self.pid)
            self._close_pipe()
        return code

    def sample(self) -> Sample | None:
        """None where the process is gone, or dead and not yet reaped (it then holds no memory)."""
        try:
            with self._seen.oneshot():
                percent = self._seen.cpu_percent(None)
                resident = self._seen.memory_info().rss / probes.MIB
        except psutil.Error:
            return None
        if resident == 0:
            return None
        self.last_host_mib = resident
        return Sample(time.time(), resident, percent)

    def ask_to_stop(self, reason: str) -> None:
        """Tell the worker to write a checkpoint and end."""
        if self.asked_to_stop is None:
            self.asked_to_stop, self.stop_reason = time.monotonic(), reason
            self._tell("stop\n")

    def insist(self, after: float) -> None:
        """Terminate a worker that was told to stop `after` seconds ago, and kill it after twice that."""
        if self.asked_to_stop is None:
            return
        waited = time.monotonic() - self.asked_to_stop
        if waited > 2 * after:
            self.kill()
        elif waited > after and not self.forced:
            self.forced = "SIGTERM"
            with suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        self.forced = "SIGKILL"
        with suppress(ProcessLookupError):
            self._process.kill()

    def wait(self, seconds: float) -> bool:
        """Whether the worker is gone within that time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        _end_group(self.pid)
        return True

    def _tell(self, line: str) -> None:
        pipe: IO[bytes] | None = self._process.stdin
        # A worker that has just ended needs no telling: its death is seen at the next look.
        with suppress(BrokenPipeError, ValueError):
            if pipe is not None:
                pipe.write(line.encode())
                pipe.flush()

    def _close_pipe(self) -> None:
        with suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()


class Spare:
    """A worker that has loaded torch and waits on its pipe to be told its run, so that this begins without loading.

    It has nothing of any run in it: each is used for one and ends with it, as one that was started cold. Raises OSError.
    """

    def __init__(self, url: str, module: str = WORKER_MODULE) -> None:
        self._process: subprocess.Popen[bytes] | None = _start([module, "--store", url, "--spare"])

    @property
    def waits(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def take(self, run_id: int, claim: str, folder: Path) -> subprocess.Popen[bytes] | None:
        """The process, told its run; None where it is gone."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return None
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps({"run": run_id, "claim": claim, "folder": str(folder)}).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            process.wait()
            return None
        return process

    def close(self) -> None:
        """End it, where it still waits."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _end_group(process.pid)
            assert process.stdin is not None
            process.stdin.close()


def _start(arguments: list[str], **streams: Any) -> subprocess.Popen[bytes]:
    """A worker with a pipe as its standard input."""
    environment = process_environment() | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen([sys.executable, "-m", *arguments], stdin=subprocess.PIPE, env=environment, **streams, **_own_group())


def end_leftover(pid: int, pid_started: float, grace: float = 2.0) -> bool:
    """End the worker that a dead supervisor left. Its pipe is closed, so it gets a moment to go by itself. True where it was alive.

    Only the very process that was recorded is touched: a pid that the system has given to another program is left alone.
    """
    if not probes.is_alive(pid, pid_started):
        return False
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        try:
            process.wait(grace)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(10)
    _end_group(pid)
    return True


def _end_group(pid: int) -> None:
    """Children that a dead worker left would hold its memory and its GPU."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


# --- What a death means ---------------------------------------------------------------------------------------------------------------------


def explain_stop(custody: Custody, patience: float) -> tuple[str, str]:
    """(reason, advice) for a worker that was told to stop; patience: seconds that it had for it."""
    forced = f" It did not stop within {patience:.0f} s and was ended by {custody.forced}." if custody.forced else ""
    return f"{custody.stop_reason}.{forced}", "Resume continues from the last checkpoint."


def explain_death(custody: Custody, code: int) -> tuple[str, str]:
    """(reason, advice) for a worker that ended without saying how: the signal by name, the kernel's memory killer where it did it."""
    if code >= 0:
        last = _last_line(custody.log)
        said = f' Its last words: "{last}".' if last else ""
        return f"The worker ended with exit code {code} before it could store why.{said}", f"Its log has the details: {custody.log}"
    number = -code
    reason = f"killed by signal {number} ({_signal_name(number)})"
    if number == 9 and probes.out_of_memory_kills() > custody.memory_kills_before:
        seen = f" (the worker held {custody.last_host_mib:.0f} MiB when last seen)" if custody.last_host_mib else ""
        return f"{reason}; the kernel's out-of-memory killer did it{seen}.", MEMORY_ADVICE
    if number in (9, 15):
        return f"{reason} by another process.", "Resume continues from the last checkpoint."
    return f"{reason}: native code crashed.", f"The log may show where: {custody.log}. Resume continues from the last checkpoint."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "an unnamed signal"


def _last_line(log: Path, most: int = 4096) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - most))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
