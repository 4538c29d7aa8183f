"""Word of the runs that ended: from the desktop while the window is not looked at, else in the status bar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

from workbench.desk import Desk

if TYPE_CHECKING:
    from engines.store.database import Store

PERIOD_MS = 3000
TOLD_MS = 10_000


@dataclass(frozen=True)
class Ending:
    """All runs of an experiment that were under way have ended. counts: how many by status."""

    experiment: int
    name: str
    counts: Mapping[str, int]

    def sentence(self) -> str:
        """As in "3 runs done, 1 failed"."""
        total = sum(self.counts.values())
        parts = [f"{count} {status}" for status, count in sorted(self.counts.items(), key=lambda each: (each[0] != "done", each[0]))]
        return f"{'Run' if total == 1 else 'Runs'} ended: {', '.join(parts)}"


class Endings(QObject):
    """Looks every few seconds which runs are under way. Runs that had ended before the window opened are no news."""

    def __init__(self, desk: Desk, window: QWidget) -> None:
        super().__init__(window)
        self._desk, self._window = desk, window
        self._open: dict[int, set[int]] = {}
        self._busy = False
        self._experiment: int | None = None
        self.tray: QSystemTrayIcon | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(PERIOD_MS)
        self._timer.timeout.connect(self.look)
        self._timer.start()

    def look(self) -> None:
        """Read once, in a thread."""
        store = self._desk.store
        if store is None or self._busy:
            return
        self._busy = True
        self._desk.errands.run(partial(read, store, self._open), self._found, self._failed)

    def _found(self, found: tuple[dict[int, set[int]], list[Ending]]) -> None:
        self._busy = False
        self._open, ended = found
        for ending in ended:
            self.tell(ending)

    def _failed(self, sentence: str) -> None:
        self._busy = False
        self._desk.says.emit(f"Whether runs ended could not be read: {sentence}")

    def tell(self, ending: Ending) -> None:
        """In the status bar always; where the window is not the active one, also by the desktop's notification or, without a tray, by its mark."""
        self._desk.says.emit(f"{ending.name}. {ending.sentence()}")
        if self._window.isActiveWindow():
            return
        QApplication.alert(self._window)
        if not (QSystemTrayIcon.isSystemTrayAvailable() and QSystemTrayIcon.supportsMessages()):
            return
        if self.tray is None:
            self.tray = QSystemTrayIcon(self._window.windowIcon(), self)
            self.tray.setToolTip("Efficiency Workbench")
            self.tray.messageClicked.connect(self._show)
            self.tray.activated.connect(lambda _reason: self._show())
        self._experiment = ending.experiment
        self.tray.show()
        self.tray.showMessage(ending.name, ending.sentence(), self._window.windowIcon(), TOLD_MS)

    def _show(self) -> None:
        if self.tray is not None:
            self.tray.hide()
        self._window.activateWindow()
        self._window.raise_()
        if self._experiment is not None:
            self._desk.wants_runs.emit(self._experiment)

    def close(self) -> None:
        """The window closes; runs go on."""
        self._timer.stop()
        if self.tray is not None:
            self.tray.hide()


def read(store: Store, before: Mapping[int, Iterable[int]]) -> tuple[dict[int, set[int]], list[Ending]]:
    """The runs under way by experiment, with those that ended of an experiment while others of it go on, and the experiments that have none left."""
    from engines.store import queries
    from engines.store.rows import ACTIVE, QUEUED

    now: dict[int, set[int]] = {}
    for run in queries.runs(store, status=(QUEUED, *ACTIVE)):
        now.setdefault(run.experiment_id, set()).add(run.id)
    over = [number for number in before if number not in now]
    ended: list[Ending] = []
    if over:
        names: dict[int, Any] = {row.id: row.name for row in queries.experiments(store)}
        for number in over:
            statuses = Counter(run.status for run in queries.runs_of(store, sorted(before[number])))
            if number in names and statuses:
                ended.append(Ending(number, names[number], dict(statuses)))
    return {number: ids | set(before.get(number, ())) for number, ids in now.items()}, ended
