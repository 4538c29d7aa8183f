"""The description of a report while it is edited: every change can be undone, and is kept with the experiments a moment later."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from engines.report import design as designs
from engines.report.design import KINDS, Design, Section
from engines.store.database import Store
from workbench.desk import Desk

KEEP_MS = 600
"""After the last change it is written into the store's files."""
TOGETHER_S = 2.0
"""Changes of one text no further apart than this are undone at once."""
OWN = ("text", "tradeoff")
"""Kinds that there may be several of, so they can be added and removed."""


class _Edit(QUndoCommand):
    def __init__(self, draft: Draft, label: str, after: Design, chosen: int, key: str) -> None:
        super().__init__(label)
        self._draft, self._before, self._after, self._key = draft, draft.design, after, key
        self._chosen_before, self._chosen_after = draft.chosen, chosen
        self._time = time.monotonic()

    def redo(self) -> None:
        self._draft._take(self._after, self._chosen_after)

    def undo(self) -> None:
        self._draft._take(self._before, self._chosen_before)

    def id(self) -> int:
        return 1 if self._key else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, _Edit) or other._key != self._key or other._time - self._time > TOGETHER_S:
            return False
        self._after, self._chosen_after, self._time = other._after, other._chosen_after, other._time
        return True


class Draft(QObject):
    """The design of some experiments and the section that is chosen in it."""

    changed = Signal()
    """The design, or the chosen section, is another one."""
    failed = Signal(str)
    """It could not be kept; why, in a sentence."""

    def __init__(self, desk: Desk, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self._store: Store | None = None
        self.experiments: list[int] = []
        self.design = Design()
        self.chosen = 0
        self.undo = QUndoStack(self)
        self.undo.setUndoLimit(500)
        self._unkept = False
        self._keep = QTimer(self)
        self._keep.setSingleShot(True)
        self._keep.setInterval(KEEP_MS)
        self._keep.timeout.connect(self.keep)

    def open(self, store: Store, experiments: Sequence[int], design: Design) -> None:
        """Edit the report of other experiments; what was changed before is kept first."""
        self.keep()
        self._store, self.experiments = store, list(experiments)
        self.undo.clear()
        self._keep.stop()
        self._unkept = False
        self.design, self.chosen = design, 0
        self.changed.emit()

    def keep(self) -> None:
        """Write what is not written yet, in a thread."""
        self._keep.stop()
        store, experiments, design = self._store, list(self.experiments), self.design
        if not self._unkept or store is None:
            return
        self._unkept = False
        self._desk.errands.run(lambda: designs.remember(store, experiments, design), lambda _kept: None, self.failed.emit)

    def keep_now(self) -> None:
        """Write what is not written yet before the window closes, when no thread will: a small file."""
        self._keep.stop()
        if self._unkept and self._store is not None:
            self._unkept = False
            try:
                designs.remember(self._store, self.experiments, self.design)
            except designs.DesignError as error:
                self.failed.emit(str(error))

    # --- Changes ----------------------------------------------------------------------------------------------------------------------------

    @property
    def section(self) -> Section | None:
        """The chosen one."""
        return self.design.sections[self.chosen] if 0 <= self.chosen < len(self.design.sections) else None

    def choose(self, index: int) -> None:
        """Choose a section; no change of the report."""
        if index != self.chosen and 0 <= index < len(self.design.sections):
            self.chosen = index
            self.changed.emit()

    def entitle(self, title: str) -> None:
        """The title of the report; empty for the experiment's name."""
        self._edit("Title of the report", self.design.model_copy(update={"title": title}), self.chosen, "title")

    def alter(self, index: int, **values: str | bool) -> None:
        """Other values of one section: shown, title, text, x, y."""
        section = self.design.sections[index]
        if all(getattr(section, name) == value for name, value in values.items()):
            return
        sections = list(self.design.sections)
        sections[index] = section.model_copy(update=values)
        typed = {"title", "text"} & set(values)
        label = f"{section.heading or 'Text'}: {', '.join(values)}"
        self._edit(label, self._with(sections), self.chosen, f"{index} {sorted(typed)}" if typed else "")

    def arrange(self, order: Sequence[int]) -> None:
        """The sections in another order, given by their present places."""
        if list(order) == list(range(len(self.design.sections))):
            return
        self._edit("Order of the sections", self._with([self.design.sections[place] for place in order]), list(order).index(self.chosen))

    def move(self, index: int, by: int) -> None:
        """A section further up (-1) or down (1)."""
        target = index + by
        if 0 <= target < len(self.design.sections):
            order = list(range(len(self.design.sections)))
            order.insert(target, order.pop(index))
            self.arrange(order)

    def add(self, section: Section) -> None:
        """Another section behind the chosen one."""
        place = min(self.chosen + 1, len(self.design.sections))
        sections = [*self.design.sections[:place], section, *self.design.sections[place:]]
        self._edit(f"Add {KINDS[section.kind].title or 'text'}".lower(), self._with(sections), place)

    def remove(self, index: int) -> None:
        """Take a section of one's own out; the others are only hidden, since they would be missed."""
        section = self.design.sections[index]
        if section.kind not in OWN or (section.kind == "tradeoff" and sum(each.kind == "tradeoff" for each in self.design.sections) < 2):
            self.alter(index, shown=False)
            return
        sections = [*self.design.sections[:index], *self.design.sections[index + 1 :]]
        self._edit("Remove a section", self._with(sections), max(0, min(self.chosen, len(sections) - 1)))

    def reset(self) -> None:
        """The usual report again; can be undone."""
        if self.design != Design():
            self._edit("The usual report", Design(), 0)

    def take(self, design: Design, label: str) -> None:
        """Another description, read from a file."""
        self._edit(label, design, 0)

    def _with(self, sections: Sequence[Section]) -> Design:
        return Design(title=self.design.title, sections=tuple(sections))

    def _edit(self, label: str, after: Design, chosen: int, key: str = "") -> None:
        if after != self.design:
            self.undo.push(_Edit(self, label, after, chosen, key))

    def _take(self, design: Design, chosen: int) -> None:
        self.design, self.chosen = design, chosen
        self._unkept = True
        self._keep.start()
        self.changed.emit()
