"""Forms from a plugin's JSON Schema: labels with symbol and unit, bounds, help, and what is wrong beside each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QPushButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from workbench.fields import EntriesField, Field, field_for
from workbench.model_field import ModelField
from workbench.schemas import MISSING, Shape, bounds, default, resolved, shape
from workbench.widgets.text import flag, label

if TYPE_CHECKING:
    from engines.candidates import Candidate

COLUMN_WIDTH = 250
"""Pixels a column of fields needs; a form shows as many columns as fit."""


class Row(QWidget):
    """One parameter: name with symbol and unit, editor, help; the help gives way to a sentence where something is wrong."""

    changed = Signal(str, object)

    def __init__(self, key: str, schema: Mapping[str, Any], shape: Shape, variants: Sequence[str], folder: Path) -> None:
        super().__init__()
        self.key = key
        self.default = schema.get("default", MISSING)
        self._explicit = False
        self._outside = ""
        name = key.replace("_", " ").capitalize()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.setSpacing(3)
        head = QHBoxLayout()
        head.setSpacing(6)
        self.field: Field = ModelField(variants, folder) if shape.kind == "model" else field_for(shape, name, variants, folder)
        caption = label(name, "strong")
        caption.setBuddy(self.field)
        head.addWidget(caption)
        unit = str(schema.get("unit", ""))
        told = unit and unit not in name.lower().split()  # "Rounds" need not say that they are rounds.
        remarks = [text for text in (str(schema.get("symbol", "")), unit if told else "") if text]
        if remarks:
            head.addWidget(label(" · ".join(remarks), "caption"))
        head.addStretch(1)
        self.reset = QToolButton()
        self.reset.setProperty("quiet", True)
        self.reset.setText("default")
        self.reset.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.reset.clicked.connect(self._reset)
        policy = self.reset.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.reset.setSizePolicy(policy)
        head.addWidget(self.reset)
        column.addLayout(head)
        column.addWidget(self.field)
        self._help = str(schema.get("description", ""))
        limits = bounds(shape)
        self._note = label(self._help, "caption", wrap=True)
        column.addWidget(self._note)
        column.addStretch(1)
        unit = f", unit: {schema['unit']}" if schema.get("unit") else ""
        given = "" if self.default is MISSING else f"\nDefault: {_text(self.default)}"
        self.field.setToolTip(f"{key}{unit}{f', allowed: {limits}' if limits else ''}{given}" + (f"\n{self._help}" if self._help else ""))
        self.field.setAccessibleName(name)
        self.field.setAccessibleDescription(self._help)
        focus = self.field.focusProxy()
        if focus is not None:
            focus.setAccessibleName(name)
            focus.setAccessibleDescription(self._help + unit)
        self.reset.setToolTip("" if self.default is MISSING else f"Back to the default: {_text(self.default)}")
        self.field.changed.connect(self._edited)

    def set_value(self, value: Any, explicit: bool) -> None:
        """Show a value; explicit: it stands in the file (a default need not)."""
        self._explicit = explicit
        shown = self.field.value()
        if shown != value or isinstance(shown, bool) != isinstance(value, bool):
            self.field.set_value(value)  # Otherwise left alone: the text is being typed.
        self._show()

    def given(self) -> Any:
        """The value that belongs into the file, or MISSING where the default is meant."""
        value = self.field.value()
        if value == self.default and type(value) is type(self.default) and not self._explicit:
            return MISSING
        return value

    def refresh(self) -> None:
        """Judge the value again: what it is judged by has changed."""
        self._show()

    def complain(self, sentence: str) -> None:
        """Show a problem that was found elsewhere (another field, the inspector); empty takes it back."""
        self._outside = sentence
        self._show()

    def problem(self) -> str:
        return self.field.problem() or self._outside

    def _edited(self, value: Any) -> None:
        self._outside = ""
        self._show()
        self.changed.emit(self.key, value)

    def _reset(self) -> None:
        self._explicit = False
        self.field.set_value(self.default)
        self._edited(self.default)

    def _show(self) -> None:
        wrong = self.problem()
        self.field.mark(bool(wrong))
        self._note.setText(wrong or self._help)
        flag(self._note, "role", "error" if wrong else "caption")
        self._note.setVisible(bool(wrong or self._help))
        self.reset.setVisible(self.default is not MISSING and self.field.value() != self.default)


class Form(QWidget):
    """All parameters of one plugin. `edited(values)` tells the table that belongs into the file, without its id."""

    edited = Signal(dict)

    def __init__(self, schema: Mapping[str, Any], *, variants: Sequence[str] = (), folder: Path | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        definitions = schema.get("$defs", {})
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(22)
        self._grid.setVerticalSpacing(8)
        self._unknown: dict[str, Any] = {}
        self._columns = 0
        self.rows: dict[str, Row | Group] = {}
        for key, property_ in schema.get("properties", {}).items():
            flat = resolved(property_, definitions)
            kind = shape(property_, definitions)
            row: Row | Group
            if kind.kind in ("object", "objects"):
                row = Group(key, {**flat, "default": default(property_, definitions)}, kind, definitions, variants, folder or Path.cwd())
            else:
                row = Row(key, flat, kind, variants, folder or Path.cwd())
            row.changed.connect(lambda _key, _value: self.edited.emit(self.values()))
            self.rows[key] = row
        self._arrange(1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show the parameters of the file; keys that the schema does not know are kept as they are."""
        self._unknown = {key: value for key, value in values.items() if key not in self.rows}
        for key, row in self.rows.items():
            row.set_value(values.get(key, row.default), key in values)

    def values(self) -> dict[str, Any]:
        """The table that belongs into the file: what was given, defaults left out."""
        given = {key: row.given() for key, row in self.rows.items()}
        return {**{key: value for key, value in given.items() if value is not MISSING}, **self._unknown}

    def complain(self, problems: Mapping[str, str]) -> None:
        """Show problems found elsewhere beside their fields: {parameter: sentence}; all others are taken back."""
        for key, row in self.rows.items():
            row.complain(problems.get(key, ""))

    def problems(self) -> dict[str, str]:
        """What is wrong with the values as they stand: {parameter: sentence}."""
        return {key: sentence for key, row in self.rows.items() if (sentence := row.problem())}

    def offer_models(self, runs: Sequence[Candidate]) -> None:
        """Take the finished runs of the store for the fields that name a finished model."""
        for row in self.rows.values():
            if isinstance(row, Row) and isinstance(row.field, ModelField):
                row.field.offer(runs)
                row.refresh()

    def focus(self, key: str) -> bool:
        """Put the cursor into a field; False where there is no such field."""
        row = self.rows.get(key)
        if row is None:
            return False
        row.field.setFocus(Qt.FocusReason.ShortcutFocusReason)
        return True

    def _arrange(self, columns: int) -> None:
        if columns == self._columns:
            return
        for column in range(max(columns, self._columns)):
            self._grid.setColumnStretch(column, 1 if column < columns else 0)
        self._columns = columns
        line, place = 0, 0
        for row in self.rows.values():
            wide = isinstance(row, Group) or isinstance(row.field, EntriesField)
            if wide and place:
                line, place = line + 1, 0
            self._grid.addWidget(row, line, place, 1, columns if wide else 1)
            place += columns if wide else 1
            if place >= columns:
                line, place = line + 1, 0

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        fitting = max(1, min(4, len(self.rows), (event.size().width() + 22) // (COLUMN_WIDTH + 22)))
        # Rather two full lines than one full line and a single field below it.
        self._arrange(fitting - 1 if fitting > 2 and len(self.rows) % fitting == 1 else fitting)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, self._grid.minimumSize().height())


class Group(QWidget):
    """A parameter that is a table of its own, or a list of them."""

    changed = Signal(str, object)

    def __init__(
        self, key: str, schema: Mapping[str, Any], shape: Shape, definitions: Mapping[str, Any], variants: Sequence[str], folder: Path
    ) -> None:
        super().__init__()
        self.key, self.default = key, schema["default"]
        self._many = shape.kind == "objects"
        inner = (shape.items.schema if self._many and shape.items else shape.schema) or {}
        self._schema = {**inner, "$defs": definitions}
        self._variants, self._folder = variants, folder
        self._explicit = False
        self._forms: list[Form] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.setSpacing(4)
        column.addWidget(label(key.replace("_", " ").capitalize(), "strong"))
        if schema.get("description"):
            column.addWidget(label(str(schema["description"]), "caption", wrap=True))
        self._inside = QVBoxLayout()
        column.addLayout(self._inside)
        self._note = label("", "error", wrap=True)
        self._note.hide()
        column.addWidget(self._note)
        self.field: QWidget = self
        if self._many:
            add = QPushButton("Add one")
            add.setProperty("quiet", True)
            add.clicked.connect(self._add)
            column.addWidget(add, 0, Qt.AlignmentFlag.AlignLeft)
        else:
            self._append({})

    def _add(self) -> None:
        self._append({})
        self._tell()

    def _append(self, values: Mapping[str, Any]) -> None:
        frame = QFrame()
        frame.setProperty("inset", True)
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(12, 10, 12, 10)
        form = Form(self._schema, variants=self._variants, folder=self._folder)
        form.set_values(values)
        form.edited.connect(lambda _values: self._tell())
        inside.addWidget(form)
        self._forms.append(form)
        if self._many:
            remove = QPushButton("Remove")
            remove.setProperty("quiet", True)
            remove.clicked.connect(lambda: self._remove(form, frame))
            inside.addWidget(remove, 0, Qt.AlignmentFlag.AlignRight)
        self._inside.addWidget(frame)

    def _remove(self, form: Form, frame: QFrame) -> None:
        self._forms.remove(form)
        frame.setParent(None)
        frame.deleteLater()
        self._tell()

    def _tell(self) -> None:
        self.changed.emit(self.key, self.given())

    def set_value(self, value: Any, explicit: bool) -> None:
        self._explicit = explicit
        if not self._many:
            self._forms[0].set_values(value if isinstance(value, Mapping) else {})
            return
        for form in list(self._forms):
            frame = form.parentWidget()
            if isinstance(frame, QFrame):
                self._forms.remove(form)
                frame.setParent(None)
                frame.deleteLater()
        for item in value if isinstance(value, list | tuple) else []:
            self._append(item)

    def given(self) -> Any:
        value: Any = [form.values() for form in self._forms] if self._many else self._forms[0].values()
        if not self._explicit and (value == self.default or not value):
            return MISSING
        return value

    def complain(self, sentence: str) -> None:
        self._note.setText(sentence)
        self._note.setVisible(bool(sentence))

    def problem(self) -> str:
        return next((f"{key}: {text}" for form in self._forms for key, text in form.problems().items()), "")


def _text(value: Any) -> str:
    return "not set" if value is None else str(value)
