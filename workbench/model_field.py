"""The field for a finished model: a variant of the experiment, a finished run of the store, or what is typed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QCompleter, QFileDialog, QHBoxLayout, QPushButton, QWidget

from engines.teachers import is_path, run_of
from workbench.fields import Field
from workbench.schemas import MISSING
from workbench.widgets.choices import Choice
from workbench.widgets.text import flag

if TYPE_CHECKING:
    from engines.candidates import Candidate

REFERENCE = Qt.ItemDataRole.UserRole
SHOWN = 200
"""Runs that are listed, the latest; any may be typed."""
LIST_WIDTH = 460


class _Completer(QCompleter):
    """Finds an entry by any part of what is said of it, and puts its reference into the line."""

    def pathFromIndex(self, index: QModelIndex | QPersistentModelIndex) -> str:
        return str(index.data(REFERENCE))


class ModelField(Field):
    """Variants and the runs that fit in a list that is searched while one types; `run:12` and paths of exported files may be typed too."""

    def __init__(self, variants: Sequence[str], folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder, self._variants = folder, list(variants)
        self._known: dict[int, Candidate] | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        self.choice = Choice()
        self.choice.setEditable(True)
        self.choice.setInsertPolicy(Choice.InsertPolicy.NoInsert)
        self.choice.view().setMinimumWidth(LIST_WIDTH)
        self.choice.view().setTextElideMode(Qt.TextElideMode.ElideRight)
        line = self.choice.lineEdit()
        assert line is not None
        line.setPlaceholderText("variant, run:12 or file")
        line.textEdited.connect(lambda _text: self.changed.emit(self.value()))
        self.completer = _Completer(self.choice.model(), self)
        self.completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        popup = self.completer.popup()
        assert popup is not None
        popup.setMinimumWidth(LIST_WIDTH)
        self.completer.activated[str].connect(self._take)  # type: ignore[index]
        line.setCompleter(self.completer)
        self.choice.activated.connect(lambda place: self._take(str(self.choice.itemData(place, REFERENCE))))
        row.addWidget(self.choice, 1)
        browse = QPushButton("Browse …")
        browse.setAccessibleName("Browse for an exported model")
        browse.clicked.connect(self._browse)
        row.addWidget(browse)
        self.setFocusProxy(self.choice)
        self._list()

    def offer(self, runs: Sequence[Candidate]) -> None:
        """Take the finished runs of the store; those that fit are listed below the variants."""
        self._known = {each.run: each for each in runs}
        self._list()

    def _list(self) -> None:
        line = self.choice.lineEdit()
        assert line is not None
        written, cursor = line.text(), line.cursorPosition()
        self.choice.clear()
        for name in self._variants:
            self.choice.addItem(name, name)
        for each in [each for each in (self._known or {}).values() if not each.why_not][:SHOWN]:
            self.choice.addItem(_described(each), each.reference)
            tip = "Trained on the text of this variant." if each.same_text else "Trained on another text: its tokens are compared before training."
            self.choice.setItemData(self.choice.count() - 1, f"{each.experiment}\n{tip}", Qt.ItemDataRole.ToolTipRole)
        self.choice.setCurrentIndex(-1)
        self.choice.setEditText(written)
        line.setCursorPosition(cursor)

    def value(self) -> Any:
        return self.choice.currentText().strip() or MISSING

    def set_value(self, value: Any) -> None:
        self.choice.setCurrentIndex(-1)
        self.choice.setEditText("" if value is MISSING or value is None else str(value))

    def problem(self) -> str:
        value = self.value()
        if value is MISSING:
            return "Name a variant, a run (run:12) or an exported file."
        if value in self._variants:
            return ""
        if (run := run_of(value)) is not None:
            return self._wrong_run(run)
        if is_path(value):
            return "" if (self._folder / value).exists() else f"There is no file or folder {self._folder / value}."
        return f"No other variant is called “{value}”. Choose one of the list, or write run:12 or the path of an exported file."

    def _wrong_run(self, run: int) -> str:
        if self._known is None:
            return ""
        if run not in self._known:
            return f"No finished run {run} with its model is in this store: choose one of the list."
        return self._known[run].why_not

    def mark(self, wrong: bool) -> None:
        flag(self.choice, "problem", wrong)

    def _take(self, reference: str) -> None:
        self.set_value(reference)
        self.changed.emit(self.value())

    def _browse(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Choose an exported model", str(self._folder), "Exported models (*.safetensors)")
        if name:
            self._take(_within(Path(name), self._folder))


def _described(run: Candidate) -> str:
    """Its reference, what it is, when it ended, task and experiment: what is typed is looked for in this."""
    day = time.strftime("%Y-%m-%d", time.localtime(run.ended))
    task = run.task.partition("/")[2].replace("_", " ")
    return " · ".join((run.reference, f"{run.variant}, seed {run.seed}", day, task, *([] if run.same_text else ["another text"]), run.experiment))


def _within(path: Path, folder: Path) -> str:
    """A path as the file of an experiment in `folder` says it; with a slash, so that it is no name."""
    return f"./{path.relative_to(folder).as_posix()}" if path.is_relative_to(folder) else str(path)
