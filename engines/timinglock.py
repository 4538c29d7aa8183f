"""The lock that makes one timing session at a time the only one of this machine and user, and keeps runs from starting beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from engines.places import user_folder


def lock_path() -> Path:
    """Shared by all stores of this user."""
    return user_folder() / "timing.lock"


def is_timing() -> bool:
    """Whether a timing session of any store is at work here."""
    if not lock_path().exists():
        return False
    try:
        with FileLock(lock_path()).acquire(blocking=False):
            return False
    except Timeout:
        return True


def who_times() -> str:
    """What is timed on this machine now, in words; empty where nothing is."""
    try:
        words = _words_path().read_text(encoding="utf-8")
    except OSError:
        return ""
    return words if is_timing() else ""


def _words_path() -> Path:
    """Beside the lock, whose own content no other process may read on every system. Who died while it held the lock leaves it behind."""
    return lock_path().with_suffix(".holder")


@contextmanager
def machine_to_ourselves(look_seconds: float, wait: Callable[[Path], None], what: str) -> Iterator[None]:
    """Held by a timing session. wait: called every `look_seconds` while another holds the lock; it may raise to give up.

    what: is timed, in words for those who wait meanwhile ("the profile of run r3").
    """
    path = lock_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=look_seconds)
            break
        except Timeout:
            wait(path)
    try:
        _words_path().write_text(what, encoding="utf-8")
        yield
    finally:
        _words_path().unlink(missing_ok=True)
        lock.release()
