"""The experiment file that is being edited: its tables, where it lies, what can be undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from engines.merging import list_of, table_of
from workbench.editor.draft import Tree, starting_point

if TYPE_CHECKING:
    from engines.experiment import Experiment


class _Edit(QUndoCommand):
    """One change as the whole tree before and after; edits with the same key in a row (typing in one field) become one."""

    def __init__(self, document: Document, label: str, before: Tree, after: Tree, key: str) -> None:
        super().__init__(label)
        self._document, self._before, self._after, self._key = document, before, after, key

    def redo(self) -> None:
        self._document._replace(self._after)

    def undo(self) -> None:
        self._document._replace(self._before)

    def id(self) -> int:
        return 1 if self._key else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, _Edit) or other._key != self._key:
            return False
        self._after = other._after
        return True


class Document(QObject):
    """Every edit goes through `edit`, so that it can be undone and everyone hears of it."""

    changed = Signal()
    """The tables changed."""
    named = Signal()
    """Where the file lies, or whether it is saved, changed."""
    replaced = Signal()
    """Another experiment is edited now."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.data: Tree = starting_point()
        self.path: Path | None = None
        self.folder = Path.cwd()
        self._text = ""
        self.undo = QUndoStack(self)
        self.undo.setUndoLimit(200)
        self.undo.cleanChanged.connect(self._clean_changed)

    def _clean_changed(self, _clean: bool) -> None:
        self.named.emit()

    @property
    def dirty(self) -> bool:
        return not self.undo.isClean()

    @property
    def text(self) -> str:
        """The file as it was read or last saved, for its comments; empty where there was none."""
        return self._text

    @property
    def name(self) -> str:
        """What the window calls it: the file's name, else the experiment's."""
        return self.path.name if self.path else str(table_of(self.data.get("experiment")).get("name") or "New experiment")

    @property
    def variants(self) -> list[Any]:
        return list_of(self.data.get("variant"))

    @property
    def experiment(self) -> Experiment:
        """The tables as the engine's experiment; it may hold something wrong."""
        from engines.experiment import Experiment

        return Experiment(self.data, self.folder, self._text)

    def edit(self, label: str, change: Callable[[Tree], object], key: str = "") -> None:
        """Apply a change to a copy of the tables; nothing happens where it leaves them equal. `key` joins edits of the same field."""
        after = deepcopy(self.data)
        change(after)
        # As the file says it: 2e6 and 2_000_000 are equal numbers and not the same text.
        if after != self.data or json.dumps(after, sort_keys=True) != json.dumps(self.data, sort_keys=True):
            self.undo.push(_Edit(self, label, self.data, after, key))

    def start_new(self) -> None:
        self._adopt(starting_point(), None, Path.cwd(), "")

    def open(self, path: Path) -> None:
        """Read an experiment file, also one with problems (the editor shows them). Raises ExperimentError where it cannot be read at all."""
        from engines.experiment import load

        loaded = load(path)
        self._adopt(loaded.data, path, loaded.folder, loaded.text)

    def open_copy(self, data: Tree, folder: Path, text: str = "", *, saved: bool = True) -> None:
        """Show the tables of an example or of a stored experiment as a file that has no place yet. saved: whether giving it up loses nothing."""
        self._adopt(deepcopy(data), None, folder, text, saved=saved)

    def recover(self, data: Tree, path: Path | None, folder: Path, text: str) -> None:
        """Go on with edits that were not saved: the document is what it was, and has changes that no step back undoes."""
        self._adopt(data, path, folder, text, saved=False)

    def save(self, path: Path) -> None:
        """Write the file; the comments of the text it was opened from stay. Relative paths in it are then relative to its new place.

        Raises OSError.
        """
        from engines.experiment import dump

        as_json = path.suffix.lower() == ".json"
        text = dump(self.experiment, format="json" if as_json else "toml")
        path.write_text(text, encoding="utf-8")
        if not as_json:
            self._text = text
        self.path, self.folder = path, path.resolve().parent
        self.undo.setClean()
        self.named.emit()

    def _adopt(self, data: Tree, path: Path | None, folder: Path, text: str, *, saved: bool = True) -> None:
        self.data, self.path, self.folder, self._text = data, path, folder, text
        self.undo.clear()
        if saved:
            self.undo.setClean()
        else:
            self.undo.resetClean()
        self.replaced.emit()
        self.changed.emit()
        self.named.emit()

    def _replace(self, data: Tree) -> None:
        self.data = data
        self.changed.emit()
