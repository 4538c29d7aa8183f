"""One supervisor per store and machine: who holds it, how it is started, what keeps it alive. No torch, no Qt, no SQL.

Three kinds of lock files lie in the store's lock folder; the operating system drops a lock when its holder dies, however it dies.

    supervisor-<host>.lock      held by the supervisor for its whole life
    gate-<host>.lock            held for a moment by whoever starts a supervisor, and by a supervisor that decides to leave
    client-<host>-<pid>-<n>.lock    one for each client (window, `workbench run`); while one is held the supervisor stays

A client takes its own lock first and passes the gate afterwards, so a supervisor that is about to leave either sees the client or is
already gone when the client looks.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from engines import probes
from engines.places import user_folder
from engines.store.address import sqlite_path, store_url

START_SECONDS = 30.0
"""How long a supervisor may take to say that it holds its lock (a cold disk, a loaded machine)."""
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""torch's switch (Linux) that puts tensors of 2 MiB and more at multiples of that size and asks the kernel for huge pages."""
_numbers = itertools.count()
_OPEN_FILES_STAY = sys.platform == "win32"
"""Whether the system refuses to remove a file that somebody has open."""


class LaunchError(RuntimeError):
    """A supervisor could not be started; the message is a sentence for the user."""


# --- Places -------------------------------------------------------------------------------------------------------------------------------


def lock_folder(url: str) -> Path:
    """The folder of the lock files: beside an SQLite file, else in the user's data folder."""
    database = sqlite_path(store_url(url))
    if database is not None:
        return database.with_name(f"{database.name}.locks")
    return user_folder() / "locks" / hashlib.sha256(url.encode()).hexdigest()[:16]


def supervisor_lock(url: str) -> FileLock:
    """Held by the supervisor of a store for its whole life."""
    return _lock(lock_folder(url) / f"supervisor-{_host()}.lock")


def gate(url: str) -> FileLock:
    """Held for a moment by whoever starts a supervisor, and by one that decides to leave."""
    return _lock(lock_folder(url) / f"gate-{_host()}.lock")


def _lock(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, thread_local=False)


def _host() -> str:
    return "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in platform.node()) or "localhost"


# --- The supervisor that runs ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holder:
    """The supervisor that serves a store on this machine."""

    pid: int
    pid_started: float
    url: str
    since: float


def announce(url: str) -> None:
    """Written by a supervisor once it holds its lock, so that whoever started it can go on."""
    path = _notice(url)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"pid": os.getpid(), "pid_started": probes.started(os.getpid()), "url": store_url(url), "since": time.time()}))
    draft.replace(path)


def holder(url: str) -> Holder | None:
    """The supervisor that serves this store here, or None."""
    try:
        found = Holder(**json.loads(_notice(url).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if probes.is_alive(found.pid, found.pid_started) else None


def _notice(url: str) -> Path:
    return lock_folder(url) / f"supervisor-{_host()}.json"


def ensure_supervisor(url: str | None = None, *, jobs: int | None = None, environment: dict[str, str] | None = None, spare: bool = False) -> Holder:
    """Start a detached supervisor for a store unless one serves it already; return the one that does.

    Many processes may call this at once: the gate lets one look and start at a time. jobs: runs at once (default: WORKBENCH_JOBS, else 1);
    a supervisor that already runs keeps its own. spare: it keeps a worker waiting while a client is there; likewise. Raises LaunchError with a
    sentence.
    """
    url = store_url(url)
    try:
        with gate(url).acquire(timeout=START_SECONDS + 5):
            return _found_or_started(url, jobs, environment or {}, spare)
    except Timeout as error:
        raise LaunchError(
            f"Another process has been starting a supervisor for {url} for over {START_SECONDS:.0f} s. Look into {log_path(url)}, then try again."
        ) from error
    except OSError as error:
        raise LaunchError(f"The store {url} cannot be used: its lock folder {lock_folder(url)} cannot be written ({_why(error)}).") from error


def _found_or_started(url: str, jobs: int | None, environment: dict[str, str], spare: bool) -> Holder:
    """Look until somebody holds the lock and has said so; start a supervisor where nobody does.

    A lock without a notice is that of a supervisor that begins, or of one that was killed and whose threads are still ending.
    """
    deadline = time.monotonic() + START_SECONDS
    child: subprocess.Popen[bytes] | None = None
    while time.monotonic() < deadline:
        found = holder(url)
        if found is not None and (child is None or found.pid == child.pid):
            return found
        if child is None and _is_free(supervisor_lock(url)):
            child = _start(url, jobs, environment, spare)
        elif child is not None and child.poll() is not None:
            break
        time.sleep(0.02)
    ended = f" (it ended with exit code {child.returncode})" if child is not None and child.returncode is not None else ""
    raise LaunchError(f"The supervisor of {url} did not start{ended}. Its log says why: {log_path(url)}")


def _is_free(lock: FileLock) -> bool:
    try:
        with lock.acquire(blocking=False):
            return True
    except Timeout:
        return False


def _why(error: OSError) -> str:
    return error.strerror or str(error)


def _start(url: str, jobs: int | None, environment: dict[str, str], spare: bool) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own with its own files as standard streams: it holds no pipe or terminal of ours open."""
    command = [sys.executable, "-m", "engines.serving", "--store", url]
    if jobs is not None:
        command += ["--jobs", str(jobs)]
    if spare:
        command.append("--spare")
    log = log_path(url)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env=process_environment() | environment,
            **detached(),
        )


def detached() -> dict[str, Any]:
    """How subprocess starts a process that outlives this one and gets none of its Ctrl+C."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}


def process_environment() -> dict[str, str]:
    """The environment of our processes: as it is, with this installation importable from any folder (a checkout that is not installed), and
    with large tensors on whole huge pages unless it says otherwise ([0026](resources/decisions/0026-large-tensors-on-huge-pages.md))."""
    environment = {HUGE_PAGES: "1"} | os.environ
    root = str(Path(__file__).resolve().parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in (environment.get("PYTHONPATH", ""), root) if path)
    return environment


def log_path(url: str) -> Path:
    """Where a detached supervisor writes what it has to say."""
    database = sqlite_path(store_url(url))
    return (database.with_name(f"{database.name}.files") if database is not None else lock_folder(url)) / "supervisor.log"


# --- Clients ------------------------------------------------------------------------------------------------------------------------------


class Presence:
    """A client that keeps the supervisor of a store alive while it is open. Dies with its process, however that ends.

    with Presence(url):
        ensure_supervisor(url)
    """

    def __init__(self, url: str | None = None) -> None:
        self.url = store_url(url)
        self._lock: FileLock | None = None

    def open(self) -> Presence:
        """Take the lock. Raises LaunchError where the lock folder cannot be written."""
        try:
            while self._lock is None:
                path = lock_folder(self.url) / f"client-{_host()}-{os.getpid()}-{next(_numbers)}.lock"
                lock = _lock(path)
                lock.acquire(timeout=5)
                # A supervisor that looked between creation and locking took the file for that of a dead client and removed it.
                if path.exists():
                    self._lock = lock
                else:
                    lock.release()
        except (OSError, Timeout) as error:
            where = lock_folder(self.url)
            raise LaunchError(f"The store {self.url} cannot be used: its lock folder {where} cannot be written ({_why(error)}).") from error
        return self

    def close(self) -> None:
        """Give the lock back; the supervisor may leave then."""
        if self._lock is not None:
            _remove(self._lock)
            self._lock = None

    def __enter__(self) -> Presence:
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def clients(url: str) -> int:
    """How many clients of this machine are present. Lock files that nobody holds any more are removed."""
    present = 0
    for path in lock_folder(url).glob(f"client-{_host()}-*.lock"):
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            present += 1
            continue
        except FileNotFoundError:
            continue
        _remove(lock)
    return present


def _remove(lock: FileLock) -> None:
    """Release a lock that we hold and remove its file."""
    path = Path(lock.lock_file)
    if _OPEN_FILES_STAY:
        lock.release()
        # Whoever has opened it meanwhile holds it now; the file is then theirs.
        with suppress(OSError):
            path.unlink()
    else:
        # Removed while it is held: afterwards a client could have taken it already, and would be present without a file.
        path.unlink(missing_ok=True)
        lock.release()
