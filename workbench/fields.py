"""One editor per kind of parameter: text with a reader, choice, switch, path. Each tells `changed(value)` and keeps what was typed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QLineEdit, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from workbench.schemas import MISSING, Shape, broken_rule, read, write
from workbench.widgets.choices import Choice
from workbench.widgets.text import flag


class Field(QWidget):
    """An editor for one value. `value()` is what the experiment file gets, even where it is wrong; `problem()` says what is wrong."""

    changed = Signal(object)

    def value(self) -> Any:
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show a value without telling `changed`."""
        raise NotImplementedError

    def problem(self) -> str:
        """Why the value cannot be used, as a sentence; empty where it can."""
        return ""

    def mark(self, wrong: bool) -> None:
        """Show the editor as wrong or right."""


class _Line(QLineEdit):
    """A line whose up and down keys step a number."""

    stepped = Signal(int)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.stepped.emit(1 if event.key() == Qt.Key.Key_Up else -1)
            return
        super().keyPressEvent(event)


class TextField(Field):
    """Numbers, texts and lists as text; wrong text stays as it was typed and becomes the value, so that nothing is lost."""

    def __init__(self, shape: Shape, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shape_ = shape
        self._value: Any = MISSING
        self._problem = ""
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        self.line = _Line()
        if shape.nullable:
            self.line.setPlaceholderText("not set")
        self.line.textEdited.connect(self._edited)
        self.line.editingFinished.connect(self._tidy)
        self.line.stepped.connect(self._step)
        row.addWidget(self.line, 1)
        self.setFocusProxy(self.line)

    def value(self) -> Any:
        return self._value

    def set_value(self, value: Any) -> None:
        self._value = value
        self.line.setText(write(value, self.shape_))
        self.line.setCursorPosition(0)
        self._judge()

    def problem(self) -> str:
        return self._problem

    def mark(self, wrong: bool) -> None:
        flag(self.line, "problem", wrong)

    def _edited(self, text: str) -> None:
        try:
            self._value = read(text, self.shape_) if text.strip() or self.shape_.nullable else ([] if self.shape_.kind == "list" else text.strip())
            self._judge()
        except ValueError as error:
            self._value = text
            self._problem = str(error)
        self.changed.emit(self._value)

    def _judge(self) -> None:
        if self._value is MISSING or (self._value == "" and self.shape_.kind != "string"):
            self._problem = "A value is needed."
        else:
            self._problem = broken_rule(self._value, self.shape_)

    def _tidy(self) -> None:
        if not self._problem and self._value is not MISSING:
            text = write(self._value, self.shape_)
            if text != self.line.text():
                self.line.setText(text)

    def _step(self, direction: int) -> None:
        if self.shape_.kind not in ("integer", "number") or not isinstance(self._value, int | float):
            return
        if self.shape_.kind == "integer":
            step = 1 if abs(self._value) < 100 else 10 ** (len(str(abs(int(self._value)))) - 2)
            stepped: Any = self._value + direction * step
        else:
            stepped = float(f"{self._value * (1.1 if direction > 0 else 1 / 1.1):.3g}") if self._value else 0.01 * direction
        if not broken_rule(stepped, self.shape_):
            self.set_value(stepped)
            self.changed.emit(stepped)


class EntriesField(Field):
    """A table with keys of one's own, as JSON with an entry on each line; what is no JSON stays as it was typed and becomes the value."""

    LEAST, MOST = 2, 8
    """Lines that are seen at once."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value: Any = MISSING
        self._problem = ""
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.text = QPlainTextEdit()
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setTabChangesFocus(True)
        self.text.textChanged.connect(self._edited)
        row.addWidget(self.text)
        self.setFocusProxy(self.text)

    def value(self) -> Any:
        return self._value

    def set_value(self, value: Any) -> None:
        self._value, self._problem = value, "" if isinstance(value, Mapping) else "A table is needed."
        self.text.blockSignals(True)
        self.text.setPlainText(_entries(value))
        self.text.blockSignals(False)
        self._fit()

    def problem(self) -> str:
        return self._problem

    def mark(self, wrong: bool) -> None:
        flag(self.text, "problem", wrong)

    def _edited(self) -> None:
        text = self.text.toPlainText().strip()
        try:
            self._value = json.loads(text) if text else {}
            self._problem = "" if isinstance(self._value, dict) else 'Write a table: {"name": value, ...}.'
        except json.JSONDecodeError as error:
            self._value = text
            self._problem = f'Line {error.lineno}, column {error.colno}: {error.msg}. Write a table: {{"name": value, ...}}.'
        self._fit()
        self.changed.emit(self._value)

    def _fit(self) -> None:
        lines = min(self.MOST, max(self.LEAST, self.text.blockCount()))
        self.text.setFixedHeight(lines * self.text.fontMetrics().lineSpacing() + 34)


def _entries(value: Any) -> str:
    """JSON with an entry on each line."""
    if not isinstance(value, Mapping):
        return "" if value is MISSING or value is None else str(value)
    lines = [f"  {json.dumps(key, ensure_ascii=False)}: {json.dumps(entry, ensure_ascii=False)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"


class ChoiceField(Field):
    """One of several values; an unknown value of the file is kept, shown and marked."""

    def __init__(self, options: Sequence[Any], nullable: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.choice = Choice()
        self._options = list(options)
        if nullable:
            self.choice.addItem("not set", None)
        for option in options:
            self.choice.addItem(str(option), option)
        self.choice.activated.connect(lambda _index: self.changed.emit(self.value()))
        column.addWidget(self.choice)
        self.setFocusProxy(self.choice)

    def value(self) -> Any:
        return self.choice.currentData() if self.choice.currentIndex() >= 0 else MISSING

    def set_value(self, value: Any) -> None:
        index = next((i for i in range(self.choice.count()) if self.choice.itemData(i) == value), -1)
        if index < 0 and value is not MISSING and value is not None:
            self.choice.addItem(f"{value} (unknown)", value)
            index = self.choice.count() - 1
        self.choice.setCurrentIndex(index)

    def problem(self) -> str:
        value = self.value()
        if value is MISSING or value == "":
            return "Choose one."
        return "" if value is None or value in self._options else f"There is no {value!r} to choose here."

    def mark(self, wrong: bool) -> None:
        flag(self.choice, "problem", wrong)


class SwitchField(Field):
    """On or off."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 4, 0, 4)
        self.box = QCheckBox(text)
        self.box.clicked.connect(lambda on: self.changed.emit(bool(on)))
        row.addWidget(self.box)
        row.addStretch(1)
        self.setFocusProxy(self.box)

    def value(self) -> Any:
        return self.box.isChecked()

    def set_value(self, value: Any) -> None:
        self.box.setChecked(bool(value) if value is not MISSING else False)


class PathField(TextField):
    """A file or folder, relative to the experiment file where it lies below it."""

    def __init__(self, shape: Shape, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(Shape("string", shape.nullable, schema=shape.schema), parent)
        self._folder = folder
        browse = QPushButton("Browse …")
        browse.setAccessibleName("Browse for a file")
        browse.clicked.connect(self._browse)
        layout = self.layout()
        assert layout is not None
        layout.addWidget(browse)

    def _browse(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Choose a file", str(self._folder))
        if not name:
            return
        path = Path(name)
        text = path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else str(path)
        self.set_value(text)
        self.changed.emit(text)


def field_for(shape: Shape, name: str, variants: Sequence[str], folder: Path) -> Field:
    """The editor for a shape that is no finished model (those have a ModelField); variants are the names that a reference may take."""
    if shape.kind == "boolean" and not shape.nullable:
        return SwitchField(name)
    if shape.kind == "boolean":
        return ChoiceField((True, False), nullable=True)
    if shape.kind == "enum":
        return ChoiceField(shape.options, shape.nullable)
    if shape.kind == "variant":
        return ChoiceField(variants, shape.nullable)
    if shape.kind == "path":
        return PathField(shape, folder)
    if shape.kind == "json" and not shape.nullable and (shape.schema or {}).get("type") == "object":
        return EntriesField()
    return TextField(shape)
