"""The settings of the window: how it looks, and which keys do what. Everything takes effect at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QHeaderView,
    QKeySequenceEdit,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)  # fmt: skip

from workbench import keys
from workbench.theme import TEXT_SIZES
from workbench.widgets.choices import Choice
from workbench.widgets.text import label

if TYPE_CHECKING:
    from workbench.window import Window

THEMES = (("As the system", "system"), ("Light", "light"), ("Dark", "dark"))
LOOK, KEYBOARD = 0, 1
"""Places of the tabs."""


class Preferences(QDialog):
    """place: the tab that is shown first."""

    def __init__(self, window: Window, place: int = LOOK) -> None:
        super().__init__(window)
        self.setWindowTitle("Settings")
        self._window = window
        column = QVBoxLayout(self)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self._look(), "Appearance")
        self.keyboard = KeyList(window)
        self.tabs.addTab(self.keyboard, "Keyboard")
        self.tabs.setCurrentIndex(place)
        column.addWidget(self.tabs)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column.addWidget(buttons)
        self.resize(min(680, window.width()), min(720, window.height() - 80))
        if place == KEYBOARD:
            self.keyboard.search.setFocus()

    def _look(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(6)
        window = self._window
        self.theme, self.text_size = Choice(), Choice()
        for name, value in THEMES:
            self.theme.addItem(name, value)
        self.theme.setCurrentIndex(self.theme.findData(window.appearance.choice))
        self.theme.activated.connect(lambda _place: window.appearance.choose_theme(self.theme.currentData()))
        for percent in TEXT_SIZES:
            self.text_size.addItem(f"{percent}%", percent)
        self.text_size.setCurrentIndex(self.text_size.findData(window.appearance.text_size))
        self.text_size.activated.connect(lambda _place: window.appearance.choose_text_size(int(self.text_size.currentData())))
        for name, about, choice in (
            ("Theme", "Colours of the window; the light ones are those of reports.", self.theme),
            ("Text size", "In percent of the desktop's text.", self.text_size),
        ):
            heading = label(name, "strong")
            heading.setBuddy(choice)
            choice.setAccessibleName(name)
            choice.setMaximumWidth(240)
            column.addWidget(heading)
            column.addWidget(choice)
            column.addWidget(label(about, "caption", wrap=True))
            column.addSpacing(10)
        column.addStretch(1)
        return page


class KeyList(QWidget):
    """All actions with their keys; those of a menu can be changed."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self._window = window
        self._actions = keys.actions(window.menuBar())
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 16, 16, 8)
        column.setSpacing(8)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find an action or a key")
        self.search.setAccessibleName("Find an action or a key")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._filter)
        column.addWidget(self.search)
        self.table = QTableWidget(len(self._actions) + len(keys.IN_PLACE), 2)
        self.table.setAccessibleName("Actions and their keys")
        self.table.setHorizontalHeaderLabels(["What", "Keys"])
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.setShowGrid(False)
        self.table.verticalHeader().hide()
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.currentCellChanged.connect(lambda *_: self._offer())
        column.addWidget(self.table, 1)
        row = QHBoxLayout()
        self.edit = QKeySequenceEdit()
        self.edit.setMaximumSequenceLength(1)
        self.edit.setClearButtonEnabled(True)
        self.edit.setAccessibleName("Keys of the chosen action")
        self.edit.setToolTip("Press the new keys; the cross takes them away")
        self.table.cellActivated.connect(lambda *_: self.edit.setFocus())
        self.edit.editingFinished.connect(self._change)
        row.addWidget(self.edit, 1)
        self.back, self.all_back = QPushButton("As it came"), QPushButton("All as they came")
        self.back.setToolTip("Give the chosen action the keys back that it came with")
        self.all_back.setToolTip("Give every action the keys back that it came with")
        self.back.clicked.connect(lambda: self._restore([self._actions[self.table.currentRow()]]))
        self.all_back.clicked.connect(lambda: self._restore(self._actions))
        row.addWidget(self.back)
        row.addWidget(self.all_back)
        column.addLayout(row)
        self.told = label("", "caption", wrap=True)
        column.addWidget(self.told)
        self._fill()
        self.table.setCurrentCell(0, 0)

    def _fill(self) -> None:
        rows = [*((name, keys.words(action)) for name, action in self._actions), *keys.IN_PLACE]
        for row, texts in enumerate(rows):
            for place, text in enumerate(texts):
                item = self.table.item(row, place) or QTableWidgetItem()
                item.setText(text)
                self.table.setItem(row, place, item)

    @property
    def chosen(self) -> QAction | None:
        """The action of the chosen row; None where its keys are fixed."""
        row = self.table.currentRow()
        return self._actions[row][1] if 0 <= row < len(self._actions) else None

    def _offer(self) -> None:
        action = self.chosen
        for widget in (self.edit, self.back):
            widget.setEnabled(action is not None)
        shown = action.shortcut() if action is not None else QKeySequence()
        self.edit.blockSignals(True)
        self.edit.setKeySequence(shown)
        self.edit.blockSignals(False)
        self._tell("Choose a line and press new keys below." if action is not None else "These keys belong to a part of the window, and stay.")

    def _change(self) -> None:
        action, wanted = self.chosen, self.edit.keySequence()
        if action is None or wanted == action.shortcut():
            return
        wrong = keys.refusal(self._window.menuBar(), action, wanted)
        if wrong:
            self._offer()
            self._tell(wrong, wrong=True)
            return
        name = self._actions[self.table.currentRow()][0]
        keys.choose(self._window.settings, name, action, wanted)
        self._fill()
        self._tell(f"{name}: {wanted.toString() or 'no keys'}.")

    def _restore(self, chosen: list[tuple[str, QAction]]) -> None:
        keys.restore(self._window.settings, chosen)
        self._fill()
        self._offer()

    def _tell(self, sentence: str, *, wrong: bool = False) -> None:
        self.told.setProperty("role", "error" if wrong else "caption")
        self.told.setText(sentence)
        self.told.style().unpolish(self.told)
        self.told.style().polish(self.told)

    def _filter(self, text: str) -> None:
        wanted = text.lower().split()
        model = self.table.model()
        for row in range(self.table.rowCount()):
            said = " ".join(str(model.index(row, place).data()) for place in range(2)).lower()
            self.table.setRowHidden(row, not all(word in said for word in wanted))
        shown = next((row for row in range(self.table.rowCount()) if not self.table.isRowHidden(row)), -1)
        self.table.setCurrentCell(shown, 0)
