"""In what order a window comes to life: the first paint, the first view, then engine, store and catalogue in threads, then what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer

from workbench import openings
from workbench.desk import Desk
from workbench.kinds import BUNDLE
from workbench.starting import COPY, READ_ONLY, prepare_to_run

if TYPE_CHECKING:
    from workbench.window import Window

PREPARE_MS = 1500
"""After the window is usable: what makes a run begin sooner shall not make the window open later."""


@dataclass(frozen=True)
class Asked:
    """What a window is opened with."""

    store: str | None = None
    """URL or file of the store, or a bundle; None for the person's own."""
    experiment_path: Path | None = None
    copy_of: Path | None = None
    """A bundle whose experiment is opened as a new one."""
    run: bool = False
    """Start the experiment at once."""


class Startup(QObject):
    """Belongs to a window, which tells it of its paints and of each view that is shown."""

    def __init__(self, window: Window, asked: Asked) -> None:
        super().__init__(window)
        self._window, self._asked = window, asked
        self._started = self._prepared = False
        self._run_at_once = asked.run
        window.desk.store_opened.connect(self._store_opened)

    def painted(self) -> None:
        """The window was painted; at the first time everything else begins."""
        if not self._started:
            self._started = True
            QTimer.singleShot(0, self._start)

    def _start(self) -> None:
        window, asked = self._window, self._asked
        bundle = asked.store is not None and asked.store.endswith(BUNDLE)
        first = "experiment" if asked.experiment_path is not None or asked.copy_of is not None else "compare" if bundle else ""
        window.go(first or str(window.settings.value("view", "start")))
        desk = window.desk
        desk.catalogue_ready.connect(lambda _catalogue: self._run_when_ready())
        desk.store_opened.connect(lambda _store: self._run_when_ready())
        desk.store_failed.connect(self._store_failed)
        desk.catalogue_failed.connect(lambda sentence: window.view("experiment").notice.say("error", f"The catalogue could not be read: {sentence}"))
        load_engine(desk, self._loaded)

    def _loaded(self) -> None:
        window, asked = self._window, self._asked
        if asked.experiment_path is not None:
            window.open_path(asked.experiment_path)
        elif asked.copy_of is not None:
            openings.open_copy_of(window, asked.copy_of)
        else:
            window.last.engine_loaded()
        window.recovery.look(go_on=asked.experiment_path is None and asked.copy_of is None)
        open_store(window.desk, asked.store)
        open_catalogue(window.desk)

    def _store_failed(self, sentence: str) -> None:
        window = self._window
        window.supervisor_state.setText("No store")
        window.supervisor_state.setToolTip(sentence)
        window.view("experiment").notice.say("error", sentence, "Try again", lambda: open_store(window.desk, self._asked.store))

    def _store_opened(self, store: Any) -> None:
        window = self._window
        if store.read_only:
            window.supervisor_state.setText(f"Read-only: {store.path.stem if store.path else store.place}")
            window.supervisor_state.setToolTip(READ_ONLY)
            window.notice.say("info", READ_ONLY, COPY, window.desk.wants_copy.emit)
            window.copy_action.setEnabled(True)
            window.show_title()
        else:
            window.follow_runs()
        window.last.bring_back()
        window.desk.inspector.state.connect(lambda state: window.inspector_state.setText(f"Model checker {state}" if state else ""))
        self.prepare_soon()

    def _run_when_ready(self) -> None:
        if self._run_at_once and self._window.desk.catalogue is not None and self._window.desk.store is not None:
            self._run_at_once = False
            self._window.start_run(False)

    def prepare_soon(self) -> None:
        """Make ready to run, once, where somebody works on an experiment: who came to look at results needs no worker."""
        if self._window.desk.store is not None:
            QTimer.singleShot(PREPARE_MS, self, self._prepare_to_run)

    def _prepare_to_run(self) -> None:
        if self._window.current == "experiment" and not self._prepared:
            self._prepared = True
            prepare_to_run(self._window.desk)


def load_engine(desk: Desk, then: Callable[[], None]) -> None:
    """Import the engine in one thread before others use it: imports of one package in two threads at once can see it half made."""

    def work() -> None:
        import engines.catalogue
        import engines.experiment
        import engines.launching
        import engines.store.commands
        import engines.store.queries  # noqa: F401

    desk.errands.run(work, lambda _nothing: then(), desk.store_failed.emit)


def open_store(desk: Desk, url: str | None) -> None:
    """Open the person's own store, or the one named, in a thread; a bundle is laid out and opened read-only."""

    def work() -> Any:
        from engines.store.bundles import is_bundle, unpack
        from engines.store.database import Store

        if url is not None and is_bundle(url):
            return Store.open(unpack(Path(url)), read_only=True)
        return Store.open(url)

    desk.errands.run(work, desk.set_store, desk.store_failed.emit)


def open_catalogue(desk: Desk) -> None:
    """Read the catalogue in a thread: at once what the cache holds, then, where plugins changed since, what a process of its own builds."""

    def cached() -> Any:
        from engines import catalogue

        found = catalogue.read(build=False)
        return found, found["digest"] == catalogue.digest()

    def build() -> Any:
        from engines import catalogue

        return catalogue.read()

    def show(answer: tuple[dict[str, Any], bool]) -> None:
        found, current = answer
        if found["plugins"]:
            desk.set_catalogue(found)
        if not current:
            desk.errands.run(build, desk.set_catalogue, desk.catalogue_failed.emit)

    desk.errands.run(cached, show, desk.catalogue_failed.emit)
