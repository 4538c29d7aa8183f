"""What the editor showed last stands there again in the next window, however the last one ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

if TYPE_CHECKING:
    from engines.store.database import Store
    from workbench.editor.document import Document
    from workbench.window import Window

KEY = "last"
"""Of the settings: `file PATH`, `example PATH` or `stored ID STORE`; empty where a new experiment was begun."""


class LastOpened(QObject):
    """Belongs to a window. In the window of a bundle the editor shows the experiment of the bundle, and nothing is remembered."""

    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self._window = window
        self._settled = self._engine = False

    def follow(self, document: Document) -> None:
        """The editor was built: show there what was opened last, now or as soon as that can be read."""
        document.replaced.connect(self._settle)
        self.bring_back()

    def engine_loaded(self) -> None:
        """From now on no other thread is loading the modules that files are read with."""
        self._engine = True
        self.bring_back()

    def remember(self, kind: str = "", what: Path | int = 0) -> None:
        """This is what stands in the editor now; nothing: a new experiment. kind: file, example (with a path) or stored (with an id)."""
        store = self._window.desk.store
        if store is not None and store.read_only:
            return
        place = f" {store.place}" if kind == "stored" and store is not None else ""
        named = what.absolute() if isinstance(what, Path) else what
        self._window.settings.setValue(KEY, f"{kind} {named}{place}" if kind else "")

    def bring_back(self) -> None:
        """Show it, once, while the editor stands as it was built."""
        window = self._window
        if self._settled or not self._engine or "experiment" not in window.views or window.document.dirty:
            return
        store = window.desk.store
        kind, _, what = str(window.settings.value(KEY, "")).partition(" ")
        if store is not None and store.read_only:
            self._show_stored(store, None)
        elif kind in ("file", "example"):
            self._show_file(Path(what), copy=kind == "example")
        elif kind == "stored" and store is not None:
            number, _, place = what.partition(" ")
            if place == str(store.place):
                self._show_stored(store, int(number))

    def _settle(self) -> None:
        self._settled = True

    def _show_file(self, path: Path, *, copy: bool) -> None:
        from engines.experiment import load
        from engines.problems import ExperimentError

        document = self._window.document
        try:
            if copy:
                loaded = load(path)
                document.open_copy(loaded.data, loaded.folder, loaded.text)
            else:
                document.open(path)
        except ExperimentError as error:
            self._settle()
            self._window.say(f"What was opened last could not be opened again: {error.problems[0].sentence()}")

    def _show_stored(self, store: Store, number: int | None) -> None:
        """number: None for the one experiment of a bundle."""
        from engines.store import queries

        def read() -> Any:
            return queries.experiments(store)[0] if number is None else queries.experiment(store, number)

        def show(row: Any) -> None:
            if not self._settled and not self._window.document.dirty:
                self._window.document.open_copy(row.document, Path(row.folder or "."), row.text or "")

        self._window.desk.errands.run(read, show, self._window.say)
