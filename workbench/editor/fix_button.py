"""A button that mends a problem: the sentence of the fix, on as many lines as it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLayout, QPushButton, QSizePolicy, QWidget

from engines.fixes import Fix
from engines.problems import Problem
from workbench.widgets.surfaces import emptied
from workbench.widgets.text import label

Fixes = dict[tuple[str, str], list[Fix]]
"""What mends a problem, by its path and rule."""


def fixes_for(fixes: Fixes, problem: Problem) -> list[Fix]:
    return fixes.get((problem.path, problem.rule), [])


class FixButton(QPushButton):
    """Shows the whole sentence: what a button cuts off cannot be judged."""

    def __init__(self, fix: Fix, apply: Callable[[Fix], object], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.fix = fix
        row = QHBoxLayout(self)
        row.setContentsMargins(10, 5, 10, 5)
        words = label(fix.sentence, wrap=True)
        words.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        row.addWidget(words)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMinimumWidth(120)
        self.setAccessibleName(f"Mend it: {fix.sentence}")
        self.setToolTip("Mends it and brings no other problem; Ctrl+Z takes it back")
        self.clicked.connect(lambda: apply(fix))

    def sizeHint(self) -> QSize:
        row = self.layout()
        assert row is not None
        natural = row.sizeHint().width() + 12
        return QSize(natural, row.totalHeightForWidth(natural))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        row = self.layout()
        assert row is not None
        height = row.totalHeightForWidth(event.size().width())
        if height != self.minimumHeight():
            self.setMinimumHeight(height)


def show_fixes(room: QLayout, fixes: Sequence[Fix], apply: Callable[[Fix], object]) -> None:
    """Put a button for each fix into a layout in place of what is in it."""
    emptied(room)
    for fix in fixes:
        room.addWidget(FixButton(fix, apply))
