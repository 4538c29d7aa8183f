"""Work off the window's thread: a function runs in a thread, its result comes back as a call in the window's thread."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

CLOSE_SECONDS = 2.0


class Errands(QObject):
    """A few threads for reads and other waiting work. Results arrive in order of completion, never after `close`."""

    _finished = Signal(object, object)

    def __init__(self, threads: int = 2, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="window-errand")
        self._closed = False
        self._pending: set[Future[None]] = set()
        self._finished.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def run(self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[str], None]) -> None:
        """Call `work` in a thread, then `done(result)` or `failed(sentence)` in the window's thread."""
        if self._closed:
            return

        def carry_out() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - whatever went wrong is the answer; the window shows it where it was asked
                if not _is_sentence(error):
                    traceback.print_exc()
                self._answer(failed, str(error) or type(error).__name__)
            else:
                self._answer(done, result)

        self._pending = {future for future in self._pending if not future.done()}
        self._pending.add(self._pool.submit(carry_out))

    def _answer(self, receiver: Callable[[Any], None], value: Any) -> None:
        if not self._closed:
            self._finished.emit(receiver, value)

    def _deliver(self, receiver: Callable[[Any], None], value: Any) -> None:
        if not self._closed:
            receiver(value)

    def close(self) -> None:
        """Drop all results; wait for what is under way, but not long: a window closes at once. Idempotent."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(self._pending, timeout=CLOSE_SECONDS)


def _is_sentence(error: Exception) -> bool:
    """Errors of the engine are sentences for the user; anything else is a bug whose traceback belongs in the log."""
    return type(error).__module__.startswith("engines.") or isinstance(error, OSError)
