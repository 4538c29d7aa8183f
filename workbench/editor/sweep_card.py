"""Many variants at once: a sweep over values of fields, or an ablation of a recipe. Each is one step of the undo history."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QCompleter, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from engines.experiment import Experiment
from engines.keypaths import KeyPathError
from engines.merging import Index
from engines.problems import ExperimentError
from engines.sweeping import MOST, Axis, ablate, axis, sweep, sweepable
from workbench.desk import Desk
from workbench.editor import draft
from workbench.editor.document import Document
from workbench.editor.draft import Scope
from workbench.widgets.surfaces import Card, icon_button
from workbench.widgets.text import duration, flag, label

FIELDS = 4
VALUES = "0.5, 0.7, 0.9   or   0.1:0.9:5 (from, to, how many)   or   1e-4:1e-1:4:log"


class _Field(QWidget):
    """A field and the values it takes."""

    changed = Signal()
    removed = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.path = QComboBox()
        self.path.setEditable(True)
        self.path.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.path.setMinimumWidth(240)
        self.path.setAccessibleName("Field")
        completer = self.path.completer()
        assert isinstance(completer, QCompleter)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        self.values = QLineEdit()
        self.values.setPlaceholderText(VALUES)
        self.values.setAccessibleName("Values")
        self.values.setToolTip(VALUES)
        self.path.editTextChanged.connect(lambda _text: self.changed.emit())
        self.values.textChanged.connect(lambda _text: self.changed.emit())
        row.addWidget(self.path, 2)
        row.addWidget(self.values, 3)
        self.remove = icon_button("minus", "Take this field away", desk.theme)
        self.remove.clicked.connect(self.removed)
        row.addWidget(self.remove)

    def offer(self, paths: list[str]) -> None:
        kept = self.path.currentText()
        self.path.blockSignals(True)
        self.path.clear()
        self.path.addItems(paths)
        self.path.setEditText(kept)
        self.path.blockSignals(False)

    @property
    def axis(self) -> Axis:
        """Raises KeyPathError."""
        return axis(f"{self.path.currentText()}={self.values.text()}")


class SweepCard(Card):
    """made(first): variants were added, the first of them at this place."""

    made = Signal(int)

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__("Sweep", "A variant for each value of a field, or for each combination of several.", parent)
        self._desk, self._document = desk, document
        self._scope: Scope = None
        self._seconds: tuple[str, float] | None = None
        self.fields: list[_Field] = []
        self._rows = QVBoxLayout()
        self.body.addLayout(self._rows)
        row = QHBoxLayout()
        self.more = QPushButton("One more field")
        self.more.setProperty("quiet", True)
        self.more.clicked.connect(self._add_field)
        row.addWidget(self.more)
        self.together = QCheckBox("Values go together, first with first")
        self.together.setToolTip("Instead of all combinations; every field then needs as many values")
        self.together.toggled.connect(lambda _on: self._tell())
        row.addWidget(self.together)
        row.addStretch(1)
        self.body.addLayout(row)
        self.told = label("", "caption", wrap=True)
        self.body.addWidget(self.told)
        close = icon_button("close", "Close the sweep", desk.theme)
        close.clicked.connect(self.hide)
        self.corner.addWidget(close)
        self.make = QPushButton("Add variants")
        self.make.setProperty("primary", True)
        self.make.clicked.connect(self._make)
        self.body.addWidget(self.make, 0, Qt.AlignmentFlag.AlignRight)
        self._add_field()
        self.hide()

    def open(self) -> None:
        """Show it and put the cursor into the first field."""
        self.show()
        self.fields[0].path.setFocus()
        self._tell()

    def show_scope(self, index: Index, scope: Scope) -> None:
        """Which variant is swept: the one that is shown, the baseline where it is the shared base."""
        self._scope = scope
        if self.isVisible():
            merged = draft.effective(self._document.data, index, self._place())
            for field in self.fields:
                field.offer(sweepable(merged, index))
            self._tell()

    def foretell(self, variant: str, seconds: float | None) -> None:
        """What training one variant takes here; None: not known."""
        self._seconds = None if seconds is None else (variant, seconds)
        if self.isVisible():
            self._tell()

    def ablate(self, scope: Scope, *, add_one: bool = False) -> str:
        """Variants of a scope that each lack one technique (the baseline with each alone). Returns why not, or the empty string."""
        self._scope = scope
        names = draft.variant_names(self._document.data)
        name = names[scope] if scope is not None else ""
        return self._put("Ablate", lambda plain, catalogue: ablate(plain, catalogue, variant=name, add_one=add_one))

    # --- Fields ---------------------------------------------------------------------------------------------------------------------------

    def _add_field(self) -> None:
        field = _Field(self._desk)
        field.changed.connect(self._tell)
        field.removed.connect(lambda: self._remove_field(field))
        self.fields.append(field)
        self._rows.addWidget(field)
        self._settle()
        self.show_scope(Index(self._desk.catalogue or {}), self._scope)

    def _remove_field(self, field: _Field) -> None:
        self.fields.remove(field)
        self._rows.removeWidget(field)
        field.hide()
        field.deleteLater()
        self._settle()
        self._tell()

    def _settle(self) -> None:
        self.more.setEnabled(len(self.fields) < FIELDS)
        self.together.setVisible(len(self.fields) > 1)
        for field in self.fields:
            field.remove.setVisible(len(self.fields) > 1)

    # --- What it comes to -----------------------------------------------------------------------------------------------------------------

    def _place(self) -> Scope:
        if self._scope is not None:
            return self._scope
        names, baseline = draft.variant_names(self._document.data), draft.baseline(self._document.data)
        return names.index(baseline) if baseline in names else None

    def _axes(self) -> list[Axis]:
        return [field.axis for field in self.fields]

    def _tell(self) -> None:
        """The number of variants and what they take, or what is wrong; the button says it too."""
        empty = all(not field.path.currentText().strip() or not field.values.text().strip() for field in self.fields)
        count, wrong = 0, ""
        try:
            counts = [len(each.values) for each in self._axes()] if not empty else []
            count = (counts[0] if self.together.isChecked() else math.prod(counts)) if counts else 0
        except KeyPathError as error:
            wrong = f"{error}."
        if count > MOST:
            wrong = f"That would be {count:,} variants, more than {MOST}: fewer values."
        seeds = len(draft.table_of(self._document.data.get("experiment")).get("seeds") or [0])
        if wrong:
            self.told.setText(wrong)
        elif not count:
            self.told.setText("Choose a field of the variant that is shown, and give its values.")
        else:
            runs = f"{count} variants, {count * seeds} runs" if seeds > 1 else f"{count} variants"
            if self._seconds is None:
                time = "How long they train is not known yet."
            else:
                name, seconds = self._seconds
                time = f"About {duration(seconds * count * seeds)} of training, if each takes as long as “{name}”."
            self.told.setText(f"{runs}. {time}")
        flag(self.told, "role", "error" if wrong else "caption")
        self.make.setText(f"Add {count} variants" if count and not wrong else "Add variants")
        self.make.setEnabled(bool(count) and not wrong and self._desk.catalogue is not None)

    def _make(self) -> None:
        names = draft.variant_names(self._document.data)
        place = self._place()
        name = names[place] if place is not None else ""
        together = self.together.isChecked()
        wrong = self._put("Sweep", lambda plain, catalogue: sweep(plain, self._axes(), catalogue, variant=name, together=together))
        if wrong:
            self.told.setText(wrong)
            flag(self.told, "role", "error")
        else:
            self.hide()

    def _put(self, what: str, change: Callable[[Experiment, Mapping[str, Any]], Experiment]) -> str:
        """Add what `change` makes of the experiment as one edit; returns what is wrong with it, or the empty string."""
        catalogue, first = self._desk.catalogue, len(self._document.variants)
        if catalogue is None:
            return "The catalogue is still being read; try again in a moment."
        try:
            # Without its text: comments are put back when the file is written.
            swept = change(replace(self._document.experiment, text=""), catalogue)
        except (ExperimentError, KeyPathError) as error:
            return "\n".join(dict.fromkeys(problem.sentence() for problem in error.problems)) if isinstance(error, ExperimentError) else str(error)
        self._document.edit(f"{what}: {len(swept.data['variant']) - first} variants", lambda data: data.update(swept.data))
        self.made.emit(first)
        return ""
