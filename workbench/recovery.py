"""Unsaved edits in the window: the journal of what is edited, what a closed window left to go on with, and the offer of what a killed one left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from workbench.editor.journal import Journal, Unsaved, left_behind
from workbench.editor.recovery_bar import RecoveryBar

if TYPE_CHECKING:
    from workbench.editor.document import Document
    from workbench.window import Window


class Recovery(QObject):
    """Belongs to a window. store: as the window was given it."""

    def __init__(self, window: Window, store: str | None) -> None:
        super().__init__(window)
        self._window, self._store = window, store
        self._journal: Journal | None = None
        self.bar = RecoveryBar()
        self.bar.restored.connect(self._restore)
        self.bar.discarded.connect(self._discard)

    def look(self, *, go_on: bool) -> None:
        """Look, in a thread, for what earlier windows left. go_on: the latest that was closed over is edited again; all else is offered."""

        def offer(answer: tuple[list[Unsaved], list[str]]) -> None:
            found, unreadable = answer
            last = next((each for each in found if each.closed and not each.overtaken), None)
            taken = last is not None and go_on and not self._window.document.dirty
            self.bar.offer([each for each in found if each is not last or not taken])
            if last is not None and taken:
                self._take(last)
            if unreadable:
                self._window.say(" ".join(unreadable))

        self._window.desk.errands.run(lambda: left_behind(self._store), offer, self._window.say)

    def follow(self, document: Document) -> None:
        """Keep the unsaved edits of this document."""
        self._journal = Journal(document, self._store, self)
        self._journal.failed.connect(lambda sentence: self._window.view("experiment").notice.say("warning", sentence))

    def _restore(self, unsaved: Unsaved) -> None:
        if self._window.may_discard():
            self._take(unsaved)
            self._window.go("experiment")

    def _take(self, unsaved: Unsaved) -> None:
        self._window.document.recover(unsaved.data, unsaved.path, unsaved.folder, unsaved.text)
        journal = self._journal
        assert journal is not None  # The document exists, and with it its journal.
        # The old file goes once the edits are in one of this window's own.
        journal.write(lambda: self._finish(unsaved))

    def _finish(self, unsaved: Unsaved) -> None:
        if unsaved.journal.exists():
            unsaved.drop()
            self.bar.done(unsaved)
            self._window.say(f"The changes of “{unsaved.name}” are back; they are not saved yet (Ctrl+S).")

    def _discard(self, unsaved: Unsaved) -> None:
        unsaved.drop()
        self.bar.done(unsaved)
        self._window.say(f"The unsaved changes of “{unsaved.name}” were discarded.")

    def keep(self) -> bool:
        """The window is closed over changes that are not saved: write them down for the next one. False where that is not possible."""
        if self._journal is None:
            return False
        try:
            self._journal.keep()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """The window closes cleanly: nothing of its own is left, and what was offered and not decided stays."""
        self.bar.leave()
        if self._journal is not None:
            self._journal.close()
