"""The list of variants: the base that all share, then each variant with what it changes; the baseline carries a star."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QLineEdit, QMenu, QToolButton, QVBoxLayout, QWidget

from engines.merging import Index
from workbench.desk import Desk
from workbench.editor import draft
from workbench.editor.document import Document
from workbench.editor.draft import Scope
from workbench.icons import pixmap
from workbench.widgets.flow import Beside
from workbench.widgets.surfaces import icon_button, scrolled
from workbench.widgets.text import ElidedLabel, flag, label


class _Entry(QFrame):
    """One line of the list: name and what differs. Enter or space chooses it, F2 renames, Delete removes."""

    chosen = Signal()
    renamed = Signal(str)
    removal = Signal()
    menu = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.setProperty("block", True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 8, 6, 10)
        column.setSpacing(2)
        row = QHBoxLayout()
        row.setSpacing(6)
        self.name = ElidedLabel("strong")
        row.addWidget(self.name, 1)
        self.editor = QLineEdit()
        self.editor.setAccessibleName("Name of the variant")
        self.editor.hide()
        self.editor.editingFinished.connect(self._finish)
        row.addWidget(self.editor, 1)
        self.star = QLabel()
        self.star.setToolTip("The baseline: the others are compared with it")
        row.addWidget(self.star)
        self.wrong = QLabel()
        row.addWidget(self.wrong)
        self.more = icon_button("more", "What to do with this variant", desk.theme)
        self.more.clicked.connect(self.menu)
        row.addWidget(self.more)
        column.addLayout(row)
        self.words = label("", "caption", wrap=True)
        column.addWidget(self.words)

    def show_entry(self, name: str, words: list[str], *, baseline: bool, current: bool, wrong: int) -> None:
        self.name.setText(name)
        self.words.setText("\n".join(words))
        self.setAccessibleName(name + (", the baseline" if baseline else ""))
        self.setAccessibleDescription("; ".join(words))
        ratio = self.devicePixelRatioF()
        self.star.setVisible(baseline)
        self.star.setPixmap(pixmap("star-filled", self._desk.theme.accent, 14, ratio))
        self.wrong.setVisible(bool(wrong))
        self.wrong.setPixmap(pixmap("error", self._desk.theme.danger, 16, ratio))
        self.wrong.setToolTip(f"{wrong} problem{'s' if wrong > 1 else ''}")
        flag(self, "current", current)

    def rename(self) -> None:
        if self.more.isHidden():
            return
        self.editor.setText(self.name.text())
        self.name.hide()
        self.editor.show()
        self.editor.selectAll()
        self.editor.setFocus()

    def _finish(self) -> None:
        if self.editor.isHidden():
            return
        self.editor.hide()
        self.name.show()
        text = self.editor.text().strip()
        if text and text != self.name.text():
            self.renamed.emit(text)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.rename()

    def contextMenuEvent(self, event) -> None:
        self.chosen.emit()
        if not self.more.isHidden():
            self.menu.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self.editor.isHidden():
            self.chosen.emit()
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and self.editor.isHidden():
            self.removal.emit()
        elif key == Qt.Key.Key_Escape and not self.editor.isHidden():
            self.editor.setText(self.name.text())
            self._finish()
        elif key in (Qt.Key.Key_Down, Qt.Key.Key_Up):
            (self.focusNextChild if key == Qt.Key.Key_Down else self.focusPreviousChild)()
        else:
            super().keyPressEvent(event)


class VariantsPanel(QWidget):
    """Choose, add, duplicate, rename, remove variants and say which is the baseline."""

    scope_chosen = Signal(object)
    sweep_asked = Signal()
    side_by_side_asked = Signal()
    ablation_asked = Signal(bool)
    """The techniques of the chosen variant left out one by one; True: added to the baseline one by one."""

    def __init__(self, desk: Desk, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk, self._document = desk, document
        self.scope: Scope = None
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 14, 12, 12)
        column.setSpacing(8)
        top = Beside(gap=4)
        top.addWidget(label("Variants", "heading"))
        self.add_button = QToolButton()
        self.add_button.setProperty("quiet", True)
        self.add_button.setText("Add variant")
        self.add_button.setToolTip("A new variant that starts from the shared base")
        self.add_button.clicked.connect(self.add)
        top.addWidget(self.add_button)
        self.many_button = icon_button("more", "Many variants at once", desk.theme)
        self.many_button.clicked.connect(lambda: self._offer_many(self.many_button))
        top.addWidget(self.many_button)
        column.addLayout(top)
        inside = QWidget()
        self._list = QVBoxLayout(inside)
        self._list.setContentsMargins(0, 0, 6, 0)
        self._list.setSpacing(6)
        self._list.addStretch(1)
        column.addWidget(scrolled(inside), 1)
        self._entries: list[_Entry] = []
        self.setMinimumWidth(220)

    def sizeHint(self) -> QSize:
        return QSize(260, 400)

    def show_document(self, index: Index, wrong: dict[Scope, int]) -> None:
        """Draw the list again; wrong: number of problems by scope."""
        names = draft.variant_names(self._document.data)
        if self.scope is not None and self.scope >= len(names):
            self.scope = len(names) - 1 if names else None
        while len(self._entries) > len(names) + 1:
            entry = self._entries.pop()
            entry.blockSignals(True)
            self._list.removeWidget(entry)
            entry.hide()
            entry.deleteLater()
        while len(self._entries) < len(names) + 1:
            self._append()
        self._entries[0].show_entry(
            "Shared base", ["Corpus, task, model and recipe that every variant starts from"], baseline=False, current=self.scope is None,
            wrong=wrong.get(None, 0),
        )  # fmt: skip
        baseline = draft.baseline(self._document.data)
        for number, name in enumerate(names):
            words = draft.differences(self._document.data, index, number) or ["same as the shared base"]
            self._entries[number + 1].show_entry(name, words, baseline=name == baseline, current=self.scope == number, wrong=wrong.get(number, 0))

    def _append(self) -> None:
        entry = _Entry(self._desk)
        scope = len(self._entries) - 1 if self._entries else None
        entry.chosen.connect(lambda: self.choose(scope))
        if scope is None:
            entry.more.hide()
        else:
            entry.renamed.connect(lambda name: self.rename(scope, name))
            entry.menu.connect(lambda: self._menu(scope))
            entry.removal.connect(lambda: self._remove_here(scope))
        self._list.insertWidget(len(self._entries), entry)
        self._entries.append(entry)

    def choose(self, scope: Scope) -> None:
        self.scope = scope
        self.scope_chosen.emit(scope)

    def add(self) -> None:
        self._append_variant()
        self._entries[-1].rename()

    def _append_variant(self) -> None:
        numbers: list[int] = []
        self._document.edit("Add a variant", lambda data: numbers.append(draft.add_variant(data)))
        self.choose(numbers[-1])

    def act(self, word: str, number: int, name: str) -> None:
        """add, duplicate, rename or remove, as it was asked for from elsewhere."""
        if word == "add":
            self._append_variant()
        elif word == "duplicate":
            self.duplicate(number)
        elif word == "rename":
            self.rename(number, name)
        else:
            self.remove(number)

    def duplicate(self, scope: Scope) -> None:
        if scope is None:
            self.add()
            return
        numbers: list[int] = []
        self._document.edit("Duplicate a variant", lambda data: numbers.append(draft.add_variant(data, copy_of=scope)))
        self.choose(numbers[-1])

    def rename(self, scope: int, name: str) -> None:
        """Give a variant another name; what refers to it follows."""
        names = draft.variant_names(self._document.data)
        if scope >= len(names):
            return  # Removed while its name was being typed.
        if name in names:
            self._desk.says.emit(f"There is already a variant named {name!r}.")
            return
        index = Index(self._desk.catalogue or {})
        self._document.edit("Rename a variant", lambda data: draft.rename_variant(data, index, scope, name))

    def start_rename(self) -> None:
        if self.scope is not None:
            self._entries[self.scope + 1].rename()

    def remove(self, scope: Scope) -> None:
        if scope is None:
            return
        if len(self._document.variants) <= 1:
            self._desk.says.emit("An experiment keeps at least one variant.")
            return
        self._document.edit("Remove a variant", lambda data: draft.remove_variant(data, scope))
        self.choose(min(scope, len(self._document.variants) - 1))

    def _remove_here(self, scope: int) -> None:
        """By the keyboard, which stays in the list."""
        self.remove(scope)
        self._entries[0 if self.scope is None else self.scope + 1].setFocus(Qt.FocusReason.OtherFocusReason)

    def make_baseline(self, scope: Scope) -> None:
        if scope is not None:
            name = draft.variant_names(self._document.data)[scope]
            self._document.edit("Set the baseline", lambda data: draft.set_baseline(data, name))

    def _add_many(self, menu: QMenu) -> None:
        menu.addAction("Show all side by side", self.side_by_side_asked.emit)
        menu.addAction("Sweep over values …", self.sweep_asked.emit)
        menu.addAction("Leave out its techniques one by one", lambda: self.ablation_asked.emit(False))
        menu.addAction("Add its techniques to the baseline one by one", lambda: self.ablation_asked.emit(True))

    def _offer_many(self, button: QToolButton) -> None:
        menu = QMenu(self)
        self._add_many(menu)
        menu.exec(button.mapToGlobal(button.rect().bottomLeft()))
        menu.deleteLater()

    def _menu(self, scope: int) -> None:
        self.choose(scope)
        menu = QMenu(self)
        menu.addAction("Rename", self.start_rename)
        menu.addAction("Duplicate", lambda: self.duplicate(scope))
        menu.addAction("Compare the others with this one", lambda: self.make_baseline(scope))
        menu.addSeparator()
        self._add_many(menu)
        menu.addSeparator()
        menu.addAction("Remove", lambda: self.remove(scope))
        button = self._entries[scope + 1].more
        menu.exec(button.mapToGlobal(button.rect().bottomLeft()))
        menu.deleteLater()
