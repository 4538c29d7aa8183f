"""Unsaved edits outlive the window, however it ends: what is edited is written to a file within a second, and found by the next window.

Each window process keeps at most one file, `<host>-<pid>-<random>.json`, and holds the lock beside it. The operating system drops the lock
however the process ends, so a file whose lock is free was left by a window that was killed or crashed; that of a live window is nobody else's.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer, Signal

from engines.places import user_folder
from engines.store.address import files_folder, store_url
from workbench.errands import Errands

if TYPE_CHECKING:
    from filelock import FileLock

    from workbench.editor.document import Document

PERIOD_MS = 1000
"""An edit is in the file so long after it at the latest, and the file is not written more often than that."""
FORMAT = 1


def folder_of(store: str | None) -> Path:
    """Where windows on this store keep their journals: beside the store; the user's own folder for a bundle, which is never written to."""
    from engines.store.bundles import is_bundle

    return (user_folder() if is_bundle(store) else files_folder(store_url(store))) / "unsaved"


class Journal(QObject):
    """Follows a document; all that touches the disk happens in a thread.

    store: as the window was given it. The file goes away when the document is saved, replaced or undone to what was saved, and with `close`;
    after `keep` it stays for the next window.
    """

    failed = Signal(str)
    """The journal could not be written; told once until it succeeds again."""

    def __init__(self, document: Document, store: str | None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document, self._store = document, store
        self._errands = Errands(1, self)
        self._disk = threading.Lock()
        self._closed = self._warned = False
        self._path: Path | None = None
        self._lock: FileLock | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PERIOD_MS)
        self._timer.timeout.connect(lambda: self.write())
        document.changed.connect(self._follow)
        document.named.connect(self._follow)

    def _follow(self) -> None:
        if not self._document.dirty:
            self._timer.stop()
            self._errands.run(self._remove, lambda _nothing: None, lambda _sentence: None)
        elif not self._timer.isActive():
            self._timer.start()

    def write(self, then: Callable[[], object] = lambda: None) -> None:
        """Begin to write the document as it is now; `then` once it is written.

        Its tables are replaced by edits, never changed, so that a thread may read them.
        """
        self._timer.stop()
        record = self._record(closed=False)

        def succeeded(_nothing: object) -> None:
            self._warned = False
            then()

        self._errands.run(lambda: self._write(record), succeeded, self._told)

    def _record(self, *, closed: bool) -> dict[str, Any]:
        document = self._document
        return {
            "format": FORMAT,
            "written": time.time(),
            "closed": closed,
            "name": document.name,
            "path": str(document.path) if document.path else None,
            "folder": str(document.folder),
            "text": document.text,
            "data": document.data,
        }

    def _told(self, sentence: str) -> None:
        if not self._warned:
            self._warned = True
            self.failed.emit(f"Unsaved changes would not outlive a crash, since they cannot be written down: {sentence}. Save the experiment.")

    def _write(self, record: dict[str, Any], *, last: bool = False) -> None:
        with self._disk:
            if self._closed:
                return
            if self._path is None:
                host = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in platform.node()) or "localhost"
                path = folder_of(self._store) / f"{host}-{os.getpid()}-{secrets.token_hex(4)}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = _lock_beside(path)
                self._lock.acquire(blocking=False)
                self._path = path
            draft = self._path.with_suffix(".draft")
            with draft.open("w", encoding="utf-8") as file:
                json.dump(record, file, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
            self._closed = last

    def _remove(self) -> None:
        """The file goes first and the lock after it, so that nobody ever sees the file without its lock."""
        with self._disk:
            path, lock = self._path, self._lock
            self._path = self._lock = None
            if path is not None and lock is not None:
                _drop(path, lock)

    def keep(self) -> None:
        """The window is closed over changes that are not saved: the next one goes on with them. Raises OSError where they cannot be written."""
        self._timer.stop()
        self._write(self._record(closed=True), last=True)
        self._errands.close()
        if self._lock is not None:
            self._lock.release()
        self._path = self._lock = None

    def close(self) -> None:
        """Everything is saved, or was given up on purpose: nothing is kept."""
        self._timer.stop()
        self._errands.close()
        self._closed = True
        self._remove()


# --- What windows left behind ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unsaved:
    """Unsaved edits of a window that has ended. Whoever holds this holds their lock: no other window is offered them.

    written: Unix time of the last edit that is in there, in seconds. path: the file that was edited, None where there was none yet. closed: the
    person closed the window over them, and knows of them.
    """

    name: str
    written: float
    path: Path | None
    folder: Path
    text: str
    data: dict[str, Any]
    journal: Path
    lock: FileLock
    closed: bool = False

    @property
    def overtaken(self) -> bool:
        """Whether the file that was edited was written after the last of these edits."""
        try:
            return self.path is not None and self.path.stat().st_mtime > self.written
        except OSError:
            return False

    def drop(self) -> None:
        """They are not needed any more."""
        _drop(self.journal, self.lock)

    def keep(self) -> None:
        """Let go of them: the next window is offered them again."""
        self.lock.release()


def left_behind(store: str | None) -> tuple[list[Unsaved], list[str]]:
    """What windows on this store left that live no more, the latest first; and sentences about what cannot be read, which is set aside."""
    found, unreadable = [], []
    for path in sorted(folder_of(store).glob("*.json")):
        lock = _taken(path)
        if lock is None:
            continue
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']} of another version of this program")
            edited, data = record["path"], record["data"]
            if not isinstance(data, dict):
                raise ValueError("it holds no tables")
            where = Path(edited) if edited else None
            named, written, folder, text = str(record["name"]), float(record["written"]), Path(record["folder"]), str(record["text"])
            found.append(Unsaved(named, written, where, folder, text, data, path, lock, record.get("closed") is True))
        except (OSError, ValueError, KeyError, TypeError) as error:
            aside = path.with_suffix(".unreadable")
            path.replace(aside)
            _drop(path, lock)
            unreadable.append(f"Unsaved edits of an earlier window cannot be read ({error}); they are kept in {aside}")
    return sorted(found, key=lambda each: -each.written), unreadable


def _lock_beside(path: Path) -> FileLock:
    from filelock import FileLock

    return FileLock(path.with_suffix(".lock"), thread_local=False)


def _taken(path: Path) -> FileLock | None:
    """The lock of a journal, held; None where its window lives, or another one has just dealt with it."""
    from filelock import Timeout

    lock = _lock_beside(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    if not path.exists():
        lock.release()
        path.with_suffix(".lock").unlink(missing_ok=True)
        return None
    return lock


def _drop(path: Path, lock: FileLock) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".draft").unlink(missing_ok=True)
    lock.release()
    path.with_suffix(".lock").unlink(missing_ok=True)
