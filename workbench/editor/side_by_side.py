"""The variants as columns, settings as rows: values are changed where they stand, variants added, copied, renamed and removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QFont
from PySide6.QtWidgets import QMenu, QTableWidgetItem, QToolButton, QWidget

from engines.differences import ABSENT, differences, text
from engines.merging import Index
from engines.problems import Problem
from workbench.desk import Desk
from workbench.editor import cells, draft
from workbench.editor.cells import as_written
from workbench.editor.document import Document
from workbench.editor.draft import Tree
from workbench.editor.variant_table import ACTS, VariantTable
from workbench.widgets.surfaces import Card, icon_button
from workbench.widgets.text import label

TALLEST, LOWEST = 420, 130
"""Pixels of the table at most; and of one that has more to show, in a low window."""


@dataclass(frozen=True)
class Setting:
    """A key of the plans, what each variant has there, and which of them say otherwise than the baseline. A value under a part that a variant
    does not have is a dash."""

    key: str
    values: tuple[str, ...]
    differs: tuple[bool, ...]


def settings(data: Tree, index: Index, *, equal: bool = False) -> list[Setting]:
    """All settings in which variants differ, in the order of the plan; equal: and those in which they do not."""
    names = draft.variant_names(data)
    if not names:
        return []
    plans = [as_written(draft.effective(data, index, number)) for number in range(len(names))]
    first = draft.baseline(data)
    base = plans[names.index(first) if first in names else 0]
    found = [{each["key"]: each for each in differences(base, plan)} for plan in plans]
    keys = {key for each in found for key in each}
    stated = {} if not equal else {key: cells.value_in(base, key) for key in cells.leaves(base)}
    order = sorted(keys | set(stated), key=lambda key: (list(base).index(key.partition(".")[0].partition("[")[0]), key))
    rows = []
    for key in order:
        old = next((each[key]["old"] for each in found if key in each), stated.get(key))
        values = [each[key]["new"] if key in each else None if _replaced(key, each) else old for each in found]
        rows.append(Setting(key, tuple(map(text, values)), tuple(key in each for each in found)))
    return rows


def _replaced(key: str, found: Tree) -> bool:
    """Whether a part that the key lies in was replaced as a whole."""
    return any(key.startswith((f"{above}.", f"{above}[")) for above in found)


class SideBySide(Card):
    """`chosen(number, key)`: the form of a setting is wanted. `asked(word, number, name)`: add, duplicate, rename or remove a variant. Hidden
    until it is opened; while it is hidden nothing is worked out."""

    chosen = Signal(int, str)
    asked = Signal(str, int, str)

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(
            "Variants side by side",
            "F2, a double click or typing changes a value where it stands, written as in the file; empty means its default. Enter leads to its form.",
            parent,
        )
        self._desk, self._document = desk, document
        self._index = Index({})
        self._rows: Sequence[Setting] = ()
        self._problems: Sequence[Problem] = ()
        self._waiting: Sequence[Problem] | None = None
        """What is wrong, while an open cell keeps the table from being drawn anew."""
        self.all = QToolButton()
        self.all.setProperty("quiet", True)
        self.all.setText("All settings")
        self.all.setCheckable(True)
        self.all.setToolTip("Settings in which all variants agree, too")
        self.all.toggled.connect(lambda _on: self.show_document(self._index, self._problems))
        self.corner.addWidget(self.all)
        for word, (icon_name, words, _keys) in ACTS.items():
            button = icon_button(icon_name, words, desk.theme)
            button.clicked.connect(lambda _=False, word=word: self.act(word))
            self.corner.addWidget(button)
        close = icon_button("close", "Close", desk.theme)
        close.clicked.connect(self.hide)
        self.corner.addWidget(close)
        self.table = VariantTable()
        self.table.setAccessibleName("Variants side by side")
        self.table.opened.connect(lambda row, column: self.chosen.emit(column, self._rows[row].key))
        self.table.written.connect(self._write)
        self.table.acted.connect(self.act)
        self.table.renamed.connect(lambda number, name: self.asked.emit("rename", number, name))
        self.table.closed.connect(self._show_what_waited)
        self.table.menu_wanted.connect(self._menu)
        self.body.addWidget(self.table)
        self._note = label("", "muted", wrap=True)
        self.body.addWidget(self._note)
        self.hide()

    def open(self, index: Index, problems: Sequence[Problem] = ()) -> None:
        self.show()
        self.show_document(index, problems)
        self.table.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def act(self, word: str) -> None:
        """Add a variant, or duplicate, rename or remove the one of the column where the cursor stands."""
        number = self.table.at_column
        if word == "rename":
            self.table.start_rename(number, draft.variant_names(self._document.data)[number])
            return
        self.asked.emit(word, number, "")
        if word in ("add", "duplicate"):
            self.table.go_to_column(len(self._document.variants) - 1)
            self.table.setFocus()

    def _write(self, row: int, number: int, written: str) -> None:
        """One step of the undo history; nothing where the cell says what it said."""
        key, index = self._rows[row].key, self._index
        merged = draft.effective(self._document.data, index, number)
        if written.strip() == cells.as_typed(cells.value_of(merged, key)):
            return
        value = cells.typed(written, cells.schema_of(merged, index, key))
        self._document.edit(f"Change {key}", lambda data: cells.change(data, index, number, key, value))

    def _menu(self, at: QPoint) -> None:
        menu = QMenu(self)
        for word, (_icon, words, keys) in ACTS.items():
            menu.addAction(f"{words}\t{keys}", partial(self.act, word))
        menu.exec(at)
        menu.deleteLater()

    def _show_what_waited(self) -> None:
        if self._waiting is not None:
            self.show_document(self._index, self._waiting)

    def show_document(self, index: Index, problems: Sequence[Problem] = ()) -> None:
        """Show the variants as they are now; while a cell is written in, when that is done."""
        self._index, self._problems = index, problems
        if self.isHidden():
            return
        if self.table.writing:
            self._waiting = problems
            return
        self._waiting = None
        data, theme = self._document.data, self._desk.theme
        here = (self._rows[self.table.currentRow()].key if 0 <= self.table.currentRow() < len(self._rows) else "", self.table.at_column)
        self._rows = settings(data, index, equal=self.all.isChecked())
        names, first = draft.variant_names(data), draft.baseline(data)
        self.table.clear()
        self.table.setRowCount(len(self._rows))
        self.table.setColumnCount(len(names))
        self.table.setHorizontalHeaderLabels([f"★ {name}" if name == first else name for name in names])
        self.table.setVerticalHeaderLabels([row.key for row in self._rows])
        strong = QFont(self.font())
        strong.setWeight(QFont.Weight.DemiBold)
        for column, name in enumerate(names):
            merged = draft.effective(data, index, column)
            wrong = cells.wrong_in(merged, column, problems)
            for number, row in enumerate(self._rows):
                value, differs, said = row.values[column], row.differs[column], wrong.get(row.key, "")
                item = QTableWidgetItem(value)
                can = cells.editable(merged, index, row.key)
                flags = item.flags()
                item.setFlags(flags if can else flags & ~Qt.ItemFlag.ItemIsEditable)
                item.setData(Qt.ItemDataRole.UserRole, cells.as_typed(cells.value_of(merged, row.key)) if can else "")
                item.setToolTip("\n".join(filter(None, (f"{name}, {row.key}: {value}", said))))
                if differs:
                    item.setFont(strong)
                    item.setBackground(QBrush(QColor(theme.accent_soft)))
                ink = theme.danger if said else theme.text if differs else theme.strong if value == ABSENT else theme.muted
                item.setForeground(QBrush(QColor(ink)))
                self.table.setItem(number, column, item)
        self._fit()
        self.table.go_to(next((n for n, row in enumerate(self._rows) if row.key == here[0]), 0), here[1])

    def _fit(self) -> None:
        self.table.fit_columns()
        rows = sum(self.table.rowHeight(number) for number in range(len(self._rows)))
        bar = self.table.horizontalScrollBar().sizeHint().height()
        most = max(LOWEST, min(TALLEST, self.window().height() * 2 // 5))
        self.table.setFixedHeight(min(most, rows + self.table.horizontalHeader().sizeHint().height() + bar + 4))
        self._note.setText("" if self._rows else "All variants say the same. “All settings” shows what they say.")
        self._note.setVisible(not self._rows)
