"""What a person does with a whole experiment in the list: star, archive, tags, notes, delete with a way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QPoint
from PySide6.QtWidgets import QInputDialog, QMenu

from engines.store.rows import ARCHIVED, STARRED
from workbench.desk import Desk
from workbench.watching.experiment_list import ExperimentList
from workbench.widgets.surfaces import Notice


class Keeping(QObject):
    """The menu of an experiment of a list; every act is a short write in a thread, and what can be taken back says how."""

    def __init__(self, desk: Desk, experiments: ExperimentList, notice: Notice, refresh: Callable[[], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._desk, self._list, self._notice, self._refresh = desk, experiments, notice, refresh
        experiments.menu.connect(self.offer)

    def offer(self, number: int, place: QPoint) -> None:
        """Show the menu of an experiment."""
        menu = self.menu(number)
        menu.exec(place)
        menu.deleteLater()

    def menu(self, number: int) -> QMenu:
        """The menu of an experiment, as it now is."""
        tags = self._list.tags.get(number, ())
        own = [name for name in tags if name not in (STARRED, ARCHIVED)]
        menu = QMenu(self._list)
        starred, archived = STARRED in tags, ARCHIVED in tags
        menu.addAction("Take the star off" if starred else "Star", lambda: self.tag(number, STARRED, not starred))
        menu.addAction("Bring back from the archive" if archived else "Archive", lambda: self.tag(number, ARCHIVED, not archived))
        menu.addAction("Add a tag …", lambda: self._ask("Add a tag", "Tag:", lambda text: self.tag(number, text, True)))
        if own:
            fewer = menu.addMenu("Take a tag off")
            for name in own:
                fewer.addAction(name, partial(self.tag, number, name, False))
        menu.addSeparator()
        menu.addAction("Write a note …", lambda: self._ask("Write a note", "Note:", lambda text: self.note(number, text)))
        menu.addAction("Show its notes", lambda: self.show_notes(number))
        menu.addAction("Open in the editor", lambda: self._desk.wants_experiment.emit(number))
        menu.addSeparator()
        menu.addAction("Delete", lambda: self.delete(number))
        return menu

    def tag(self, number: int, name: str, present: bool) -> None:
        """Put a tag on, or take it off; archiving hides, so it says how to undo it."""
        undo = (lambda: self.tag(number, name, not present)) if name == ARCHIVED and present else None
        self._write(lambda store, commands: commands.set_tag(store, number, name, present), f"Experiment {number} is archived." if undo else "", undo)

    def note(self, number: int, text: str) -> None:
        self._write(lambda store, commands: commands.put_note(store, number, text), f"Noted beside experiment {number}.", None)

    def delete(self, number: int) -> None:
        """Gone from the lists at once; its runs are stopped. The notice brings it back, until freed space is collected."""
        self._write(
            lambda store, commands: commands.delete_experiment(store, number), f"Experiment {number} is deleted.", lambda: self.restore(number)
        )

    def restore(self, number: int) -> None:
        self._write(lambda store, commands: commands.restore_experiment(store, number), "", None)

    def show_notes(self, number: int) -> None:
        """All notes beside an experiment and its runs, in place."""
        store = self._desk.store
        if store is None:
            return

        def read() -> Sequence[Any]:
            from engines.store import queries

            return queries.notes(store, number)

        def show(rows: Sequence[Any]) -> None:
            lines = [f"{f'r{row.run_id}: ' if row.run_id is not None else ''}{row.text}" for row in rows]
            self._notice.say("info", "\n".join(lines) or f"No notes beside experiment {number} yet.")

        self._desk.errands.run(read, show, lambda sentence: self._notice.say("error", sentence))

    def _ask(self, title: str, prompt: str, then: Callable[[str], None]) -> None:
        text, given = QInputDialog.getText(self._list, title, prompt)
        if given and text.strip():
            then(text.strip()[:2000])

    def _write(self, act: Callable[[Any, Any], object], said: str, undo: Callable[[], None] | None) -> None:
        store = self._desk.store
        if store is None:
            return

        def work() -> None:
            from engines.store import commands

            act(store, commands)

        def done(_nothing: Any) -> None:
            self._refresh()
            if undo is not None:
                self._notice.say("info", said, "Undo", undo)
            elif said:
                self._desk.says.emit(said)

        self._desk.errands.run(work, done, lambda sentence: self._notice.say("error", sentence))
