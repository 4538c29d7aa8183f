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


@contextmanager
def machine_to_ourselves(look_seconds: float, wait: Callable[[Path], None]) -> Iterator[None]:
    """Held by a timing session. wait: called every `look_seconds` while another holds the lock; it may raise to give up."""
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
        yield
    finally:
        lock.release()
