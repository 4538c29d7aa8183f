"""Errors of the database turned into one sentence for the user: what happened, where, what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

BUSY_SECONDS = 10.0
"""How long a connection waits for another process's write before it tries once more."""

# Primary result codes of SQLite; the extended ones carry more in the higher bits.
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class StoreError(RuntimeError):
    """The store cannot do what was asked; the message is a sentence for the user. What was stored before stays stored."""


def code_of(error: BaseException) -> int:
    """SQLite's primary result code of an error, 0 where there is none."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return int(getattr(cause, "sqlite_errorcode", 0) or 0) & 0xFF


def is_busy(error: BaseException) -> bool:
    return code_of(error) in _BUSY


def explained(error: BaseException, place: Path | str) -> StoreError:
    """The sentence for an error of the database driver. place: the file of the store, or its address."""
    code, said = code_of(error), _said(error)
    if code in _BUSY:
        return StoreError(
            f"Another process has been writing to the store {place} for over {2 * BUSY_SECONDS:.0f} s. "
            "Look for a process that hangs or a backup that holds the file, then try again."
        )
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_write(error)):
        return StoreError(f"The store {place} cannot grow ({said}): free space on its disk, then resume. What was stored before is safe.")
    if code == sqlite3.SQLITE_READONLY:
        return StoreError(f"The store {place} cannot be written: make the file and its folder writable for you, or choose another with --store.")
    if code in _DAMAGED:
        return StoreError(
            f"{place} is not a store or is damaged ({said}). Move it away or choose another with --store; "
            'where it is a damaged store, "sqlite3 FILE .recover" saves what can be read.'
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreError(f"The store {place} cannot be opened: check that its folder exists and that you may read and write there.")
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(f"The disk of the store {place} failed ({said}): check the disk or the network share. What was stored before is kept.")
    return StoreError(f"The store {place} refused: {said}.")


def _is_write(error: BaseException) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else error
    name = str(getattr(cause, "sqlite_errorname", ""))
    return name in {"SQLITE_IOERR_WRITE", "SQLITE_IOERR_TRUNCATE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_FSYNC"}


def _said(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split()).rstrip(".")
