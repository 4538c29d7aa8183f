"""What can be said about the chosen section: its heading, the text above its figures, the axes of a trade-off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QTextCursor
from PySide6.QtWidgets import QFormLayout, QLineEdit, QPlainTextEdit, QVBoxLayout, QWidget

from engines.report import labels
from engines.report.design import KINDS, LONGEST, Section
from workbench.widgets.choices import Choice
from workbench.widgets.text import label

HINT = "Markdown: **bold**, *slanted*, `code`, # headings, - lists, tables with |. Tags are shown as text."


class SectionEditor(QWidget):
    """Tells of every change; what is shown is set from outside, so that undoing shows too."""

    altered = Signal(dict)
    """Values of the section: title, text, x, y."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumWidth(210)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 14)
        column.setSpacing(8)
        self.heading = label("", "heading", wrap=True)
        self.shows = label("", "caption", wrap=True)
        column.addWidget(self.heading)
        column.addWidget(self.shows)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapAllRows)
        self.title = QLineEdit()
        self.title.setMaxLength(500)
        self.title.setAccessibleName("Heading of the section")
        self.title.textEdited.connect(lambda text: self.altered.emit({"title": text}))
        form.addRow("Heading", self.title)
        self.axes: dict[str, Choice] = {}
        for axis, word in (("x", "Across"), ("y", "Up")):
            choice = Choice()
            choice.setAccessibleName(f"{word}: figure of the trade-off")
            choice.activated.connect(lambda _index, axis=axis: self.altered.emit({axis: str(self.axes[axis].currentData() or "")}))
            self.axes[axis] = choice
            form.addRow(word, choice)
        self._form = form
        column.addLayout(form)
        self.caption = label("Text", "strong")
        column.addWidget(self.caption)
        self.text = QPlainTextEdit()
        self.text.setUndoRedoEnabled(False)
        self.text.setAccessibleName("Text of the section, in Markdown")
        self.text.setTabChangesFocus(True)
        self.text.setPlaceholderText("Your own words")
        self.text.textChanged.connect(self._typed)
        self.caption.setBuddy(self.text)
        column.addWidget(self.text, 1)
        self.hint = label(HINT, "caption", wrap=True)
        column.addWidget(self.hint)

    def show_section(self, section: Section | None) -> None:
        """None: there is no section at all."""
        self.setEnabled(section is not None)
        if section is None:
            return
        kind = KINDS[section.kind]
        self.heading.setText(section.heading or "Text")
        self.shows.setText(f"{kind.shows}.")
        self.caption.setText("Text" if section.kind == "text" else "Text above the figures")
        self.title.setPlaceholderText(kind.title or "No heading")
        if self.title.text() != section.title:
            self.title.setText(section.title)
        for axis, choice in self.axes.items():
            self._form.setRowVisible(choice, section.kind == "tradeoff")
            choice.setCurrentIndex(max(0, choice.findData(getattr(section, axis))))
        if self.text.toPlainText() != section.text:
            self.text.blockSignals(True)
            _replace(self.text, section.text)
            self.text.blockSignals(False)

    def offer(self, comparison: Mapping[str, Any]) -> None:
        """The figures that at least two variants have."""
        counted: dict[str, int] = {}
        for variant in comparison["variants"].values():
            for key in variant["results"]:
                counted[key] = counted.get(key, 0) + 1
        shown = labels.columns(comparison)
        keys = [key for key in [*shown, *labels.other_keys(comparison, shown)] if counted.get(key, 0) > 1]
        for axis, choice in self.axes.items():
            now = choice.currentData()
            choice.clear()
            choice.addItem("Speed, memory and size in turn" if axis == "x" else "The first judging quality", "")
            for key in keys:
                choice.addItem(labels.name(key), key)
            choice.setCurrentIndex(max(0, choice.findData(now)))

    def _typed(self) -> None:
        text = self.text.toPlainText()
        if len(text) > LONGEST:
            self.text.blockSignals(True)
            _replace(self.text, text[:LONGEST])
            self.text.blockSignals(False)
        self.altered.emit({"text": text[:LONGEST]})


def _replace(edit: QPlainTextEdit, text: str) -> None:
    """Other text with the cursor where it was, as far as that is there."""
    place = edit.textCursor().position()
    edit.setPlainText(text)
    cursor = edit.textCursor()
    cursor.setPosition(min(place, len(edit.toPlainText())), QTextCursor.MoveMode.MoveAnchor)
    edit.setTextCursor(cursor)
