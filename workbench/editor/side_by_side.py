"""The variants as columns: one row for each setting in which any of them differs from the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QBrush, QColor, QFont
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from engines.differences import ABSENT, differences, text
from engines.merging import Index, Merged
from workbench.desk import Desk
from workbench.editor import draft
from workbench.editor.document import Document
from workbench.editor.draft import Tree
from workbench.widgets.surfaces import Card, icon_button
from workbench.widgets.text import label

WIDEST, TALLEST = 260, 420
"""Pixels of a column and of the table at most."""


@dataclass(frozen=True)
class Setting:
    """A key of the plans, what each variant has there, and which of them say otherwise than the baseline. A value under a part that a variant
    does not have is a dash."""

    key: str
    values: tuple[str, ...]
    differs: tuple[bool, ...]


def settings(data: Tree, index: Index) -> list[Setting]:
    """All settings in which variants differ, in the order of the plan."""
    names = draft.variant_names(data)
    if not names:
        return []
    plans = [as_written(draft.effective(data, index, number)) for number in range(len(names))]
    first = draft.baseline(data)
    base = plans[names.index(first) if first in names else 0]
    found = [{each["key"]: each for each in differences(base, plan)} for plan in plans]
    order = sorted({key for each in found for key in each}, key=lambda key: (list(base).index(key.partition(".")[0].partition("[")[0]), key))
    rows = []
    for key in order:
        old = next(each[key]["old"] for each in found if key in each)
        values = [each[key]["new"] if key in each else None if _replaced(key, each) else old for each in found]
        rows.append(Setting(key, tuple(map(text, values)), tuple(key in each for each in found)))
    return rows


def as_written(merged: Merged) -> Tree:
    """A variant as a plan of what the file says, defaults left out: it need not be without problems."""
    model: Tree = merged.whole.table if merged.whole else {"embedding": _table(merged.embedding), "layers": draft.raw_layers(merged)}
    model = model if merged.whole else {**model, "head": _table(merged.head)}
    training = {key: value for key, value in merged.training.items() if key in ("batch", "sequence")}
    return {
        "task": _table(merged.task), "corpus": _table(merged.corpus), "model": model, "training": training,
        "techniques": [part.table for part in merged.recipe],
    }  # fmt: skip


def _table(part: Any) -> Tree | None:
    return None if part is None else part.table


def _replaced(key: str, found: Tree) -> bool:
    """Whether a part that the key lies in was replaced as a whole."""
    return any(key.startswith((f"{above}.", f"{above}[")) for above in found)


class SideBySide(Card):
    """`chosen(number, key)`: a cell was activated. Hidden until it is opened; while it is hidden nothing is worked out."""

    chosen = Signal(int, str)

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(
            "Variants side by side", "Settings in which any variant differs from the baseline. Enter or a double click leads there.", parent
        )
        self._desk, self._document = desk, document
        self._rows: Sequence[Setting] = ()
        close = icon_button("close", "Close", desk.theme)
        close.clicked.connect(self.hide)
        self.corner.addWidget(close)
        self.table = QTableWidget()
        self.table.setAccessibleName("Variants side by side")
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setTabKeyNavigation(False)
        self.table.setShowGrid(False)
        self.table.setAlternatingRowColors(True)
        self.table.setWordWrap(False)
        self.table.verticalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header = self.table.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setHighlightSections(False)
        self.table.itemActivated.connect(lambda item: self.chosen.emit(item.column(), self._rows[item.row()].key))
        header.sectionDoubleClicked.connect(lambda number: self.chosen.emit(number, ""))
        self.body.addWidget(self.table)
        self._note = label("", "muted", wrap=True)
        self.body.addWidget(self._note)
        self.hide()

    def open(self, index: Index) -> None:
        self.show()
        self.show_document(index)
        self.table.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def show_document(self, index: Index) -> None:
        """Show the variants as they are now."""
        if self.isHidden():
            return
        data, theme = self._document.data, self._desk.theme
        self._rows = settings(data, index)
        names, first = draft.variant_names(data), draft.baseline(data)
        self.table.clear()
        self.table.setRowCount(len(self._rows))
        self.table.setColumnCount(len(names))
        self.table.setHorizontalHeaderLabels([f"★ {name}" if name == first else name for name in names])
        self.table.setVerticalHeaderLabels([row.key for row in self._rows])
        strong = QFont(self.font())
        strong.setWeight(QFont.Weight.DemiBold)
        for number, row in enumerate(self._rows):
            for column, (value, differs) in enumerate(zip(row.values, row.differs, strict=True)):
                item = QTableWidgetItem(value)
                item.setToolTip(f"{names[column]}, {row.key}: {value}")
                if differs:
                    item.setFont(strong)
                    item.setBackground(QBrush(QColor(theme.accent_soft)))
                item.setForeground(QBrush(QColor(theme.text if differs else theme.strong if value == ABSENT else theme.muted)))
                self.table.setItem(number, column, item)
        self.table.resizeColumnsToContents()
        for column in range(len(names)):
            self.table.setColumnWidth(column, min(WIDEST, self.table.columnWidth(column) + 16))
        self.table.setVisible(bool(self._rows))
        rows = sum(self.table.rowHeight(number) for number in range(len(self._rows)))
        bar = self.table.horizontalScrollBar().sizeHint().height()
        self.table.setFixedHeight(min(TALLEST, rows + self.table.horizontalHeader().sizeHint().height() + bar + 4))
        self._note.setText("" if self._rows else "All variants say the same.")
        self._note.setVisible(not self._rows)
