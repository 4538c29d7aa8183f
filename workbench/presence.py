"""The window as a client of the supervisor: its presence keeps one alive, and the status bar says how it is."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QLabel

from workbench.desk import Desk

PERIOD_MS = 3000


class Presence(QObject):
    """Holds the client lock of the store while the window is open and looks for the supervisor every few seconds."""

    def __init__(self, desk: Desk, state: QLabel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._desk, self._state = desk, state
        self._lock: Any = None
        self._timer = QTimer(self)
        self._timer.setInterval(PERIOD_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()
        self._busy = False
        self._look()

    def _look(self) -> None:
        store = self._desk.store
        if store is None or self._busy:
            return
        self._busy = True
        url = store.url

        def work() -> Any:
            from engines import launching

            if self._lock is None:
                self._lock = launching.Presence(url).open()
            return launching.holder(url)

        self._desk.errands.run(work, self._found, self._failed)

    def _found(self, holder: Any) -> None:
        self._busy = False
        self._state.setText(f"● Supervisor running (process {holder.pid})" if holder else "○ Supervisor idle: starts with the next run")
        store = self._desk.store
        self._state.setToolTip(f"The supervisor works on queued runs, also while this window is closed.\nStore: {store.url if store else ''}")

    def _failed(self, sentence: str) -> None:
        self._busy = False
        self._state.setText("Supervisor unknown")
        self._state.setToolTip(sentence)

    def close(self) -> None:
        """Give up the client lock; runs go on."""
        self._timer.stop()
        # The errand may be taking the lock right now; the pool is drained first by whoever closes the desk, so the lock is released there too.
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()
