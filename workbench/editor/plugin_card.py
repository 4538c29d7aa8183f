"""One chosen plugin: which one, its parameters in a form that opens, what is wrong, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from workbench.desk import Desk
from workbench.editor.draft import names_models, parameters, short_id
from workbench.editor.places import Trouble
from workbench.forms import Form
from workbench.widgets.choices import Choice
from workbench.widgets.surfaces import icon_button
from workbench.widgets.text import ElidedLabel, flag, label

NONE = ""


class PluginCard(QFrame):
    """Shows one table of the experiment file. `picked(id)` asks for another plugin, `edited(values)` tells the parameters.

    nothing: what an optional choice is called while there is none.
    """

    picked = Signal(str)
    edited = Signal(dict)

    def __init__(
        self, desk: Desk, caption: str, *, optional: bool = False, nothing: str = "None", framed: bool = True, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._desk, self._optional, self._nothing = desk, optional, nothing
        self._id: str | None = None
        self._schema: Mapping[str, Any] | None = None
        self._names: tuple[str, ...] = ()
        self._folder = Path.cwd()
        self._entries: list[tuple[str, str]] = []
        self.form: Form | None = None
        self.student: Callable[[], Mapping[str, Any] | None] = lambda: None
        """The plan of the variant that the card is shown of, for fields that name a teacher; None where it cannot be made yet."""
        desk.store_opened.connect(self.read_models)
        if framed:
            self.setProperty("block", True)
        column = QVBoxLayout(self)
        column.setContentsMargins(*((12, 8, 8, 8) if framed else (0, 2, 0, 2)))
        column.setSpacing(6)
        row = QHBoxLayout()
        row.setSpacing(6)
        self.disclosure = QToolButton()
        self.disclosure.setProperty("bare", True)
        self.disclosure.setArrowType(Qt.ArrowType.RightArrow)
        self.disclosure.setCheckable(True)
        self.disclosure.setToolTip("Show the parameters")
        self.disclosure.setAccessibleName(f"Parameters of {caption}")
        self.disclosure.toggled.connect(self._open)
        row.addWidget(self.disclosure)
        self._caption = label(caption, "caption")
        self._caption.setMinimumWidth(84)
        row.addWidget(self._caption)
        self.choice = Choice()
        self.choice.setMaximumWidth(300)
        self.choice.setAccessibleName(caption)
        self.choice.activated.connect(self._pick)
        row.addWidget(self.choice, 5)
        self._summary = ElidedLabel("muted")
        row.addWidget(self._summary, 4)
        self._row = row
        info = icon_button("info", "About this plugin", desk.theme)
        info.clicked.connect(lambda: desk.wants_card_beside.emit(self._id or ""))
        policy = info.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        info.setSizePolicy(policy)
        self._info = info
        row.addWidget(info)
        self.corner = QHBoxLayout()
        self.corner.setSpacing(0)
        row.addLayout(self.corner)
        column.addLayout(row)
        self._column = column
        self._wrong = label("", "error", wrap=True)
        self._wrong.hide()
        column.addWidget(self._wrong)
        self.fixes = QVBoxLayout()
        self.fixes.setContentsMargins(30, 0, 6, 0)
        column.addLayout(self.fixes)
        self._room = QWidget()
        self._inside = QVBoxLayout(self._room)
        self._inside.setContentsMargins(30, 4, 6, 4)
        self._room.hide()
        column.addWidget(self._room)

    def add_below(self, widget: QWidget) -> None:
        """Something under the choice, above what is wrong and the parameters."""
        self._column.insertWidget(1, widget)

    def add_action(self, icon_name: str, tip: str, act: Callable[[], object]) -> QToolButton:
        """A small button at the right end."""
        button = icon_button(icon_name, tip, self._desk.theme)
        button.clicked.connect(lambda: act())
        self.corner.addWidget(button)
        return button

    def offer(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """The plugins to choose from, as catalogue entries."""
        listed = [(str(entry["id"]), str(entry["title"])) for entry in entries]
        if listed == self._entries:
            return
        self._entries = listed
        self.choice.clear()
        if self._optional:
            self.choice.addItem(self._nothing, NONE)
        for entry in entries:
            self.choice.addItem(str(entry["title"]), entry["id"])
            place = self.choice.count() - 1
            reason = "" if entry["available"]["ok"] else f"\nNot available here: {entry['available']['reason']}"
            self.choice.setItemData(place, f"{entry['id']}: {entry['title']}{reason}", Qt.ItemDataRole.ToolTipRole)
            if reason:
                self.choice.setItemText(place, f"{self.choice.itemText(place)} (not available here)")
        self._choose(self._id)

    def show_table(self, table: Mapping[str, Any] | None, *, variants: Sequence[str] = (), folder: Path | None = None) -> None:
        """Show a table of the experiment file ({"id": ..., parameters}); None where nothing is chosen."""
        name = str(table.get("id", "")) if table else NONE
        entry = self._desk.entry(name)
        schema = (entry or {}).get("parameters")
        names, folder = tuple(variants), folder or self._folder
        rebuild = (name, folder) != (self._id, self._folder) or schema is not self._schema
        if names != self._names and self.form is not None and schema and names_models(schema):
            rebuild = True
        self._id, self._schema, self._names, self._folder = name, schema, names, folder
        if rebuild:
            self._drop_form()
        self._choose(name)
        self.choice.setToolTip(f"{name}: {entry['title']}" if entry else name)
        self._info.setVisible(entry is not None)
        self._values = parameters(table or {})
        has_parameters = bool((schema or {}).get("properties"))
        self.disclosure.setEnabled(has_parameters)
        if self.disclosure.isChecked() and has_parameters:
            self._build_form()
        if self.form is not None:
            self.form.set_values(self._values)
        self._summarise()

    def show_trouble(self, trouble: Trouble) -> None:
        """Show what is wrong beside the fields and, where it concerns the whole, under the choice. Something wrong opens the card."""
        flag(self, "problem", bool(trouble))
        shown = list(trouble.whole)
        known = (self._schema or {}).get("properties", {})
        shown += [f"{key}: {text}" for key, text in trouble.parameters.items() if key not in known]
        entry = self._desk.entry(self._id or "")
        if entry is not None and not entry["available"]["ok"] and not shown:
            shown.append(f"Not available here: {entry['available']['reason']}")
        self._wrong.setText("\n".join(shown))
        self._wrong.setVisible(bool(shown))
        if any(key in known for key in trouble.parameters) and not self.disclosure.isChecked():
            self.disclosure.setChecked(True)
        if self.form is not None:
            self.form.complain(trouble.parameters)

    def reveal(self, parameter: str) -> None:
        """Open the card and put the cursor into a field."""
        if parameter and self.disclosure.isEnabled():
            self.disclosure.setChecked(True)
        if self.form is None or not self.form.focus(parameter):
            self.choice.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def _choose(self, name: str | None) -> None:
        index = self.choice.findData(name)
        if index < 0 and name:
            self.choice.addItem(f"{name} (unknown)" if self._desk.catalogue else short_id(name).capitalize(), name)
            index = self.choice.count() - 1
        self.choice.setCurrentIndex(index)

    def _pick(self, _index: int) -> None:
        name = self.choice.currentData()
        if name != self._id:
            self.picked.emit(name)

    def _open(self, opened: bool) -> None:
        self.disclosure.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.disclosure.setToolTip("Hide the parameters" if opened else "Show the parameters")
        if opened:
            self._build_form()
        self._room.setVisible(opened and self.form is not None)
        self._summarise()

    def _build_form(self) -> None:
        if self.form is not None or not self._schema:
            return
        others = [name for name in self._names if name]
        self.form = Form(self._schema, variants=others, folder=self._folder)
        self.form.set_values(self._values)
        self.form.edited.connect(self.edited)
        self._inside.addWidget(self.form)
        self._room.setVisible(self.disclosure.isChecked())
        self.read_models()

    def read_models(self) -> None:
        """Let the fields that name a finished model offer the runs of the store that fit."""
        form, store = self.form, self._desk.store
        if form is None or store is None or not names_models(dict(self._schema or {})):
            return
        student = self.student()
        if student is None:
            return

        def work() -> Any:
            from engines.candidates import candidates

            return candidates(store, student)

        def show(found: Any) -> None:
            if form is self.form:
                form.offer_models(found)

        self._desk.errands.run(work, show, self._desk.says.emit)

    def _drop_form(self) -> None:
        if self.form is not None:
            self._inside.removeWidget(self.form)
            self._room.hide()
            self.form.deleteLater()
            self.form = None

    def _summarise(self) -> None:
        given = ", ".join(f"{key} {_word(value)}" for key, value in self._values.items()) if self._id is not None else ""
        self._summary.setText("" if self.disclosure.isChecked() else given)
        self._row.setStretchFactor(self._summary, 4 if self._summary.text() else 1)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_word, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)
