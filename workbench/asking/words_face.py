"""Which words are near each other in a model's vectors: neighbours of a word or of a sum of words, as a list and in a plane."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLineEdit,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)  # fmt: skip

from workbench.asking.neighbour_table import NeighbourTable, shown
from workbench.asking.question import Question
from workbench.asking.word_map import WordMap
from workbench.desk import Desk
from workbench.widgets.choices import Choice
from workbench.widgets.pills import PillDelegate
from workbench.widgets.surfaces import Card, Empty, Notice, icon_button
from workbench.widgets.text import label

FREQUENT = 200
"""Words of the picture before any word was asked for."""
COUNTS = (10, 20, 50)
NEIGHBOURS, COMMON = "neighbours", "frequent"
MINUS = ("-", "−", "–")


def terms(text: str) -> tuple[list[str], list[str]]:
    """The words that are added and those that are taken away: "king − man + woman" -> [king, woman], [man].

    Signs stand by themselves between blanks, so that words may contain them; a sign alone is a word.
    """
    parts = text.split()
    if len(parts) == 1:
        return parts, []
    plus: list[str] = []
    minus: list[str] = []
    side = plus
    for part in parts:
        if part == "+" or part in MINUS:
            side = plus if part == "+" else minus
        else:
            side.append(part)
            side = plus
    return plus, minus


class WordsFace(QWidget):
    """`run` tells which run is asked; refusals are said in `notice`. Before the first question the most frequent words are drawn."""

    def __init__(self, desk: Desk, notice: Notice, run: Callable[[], int | None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self._earlier: list[str] = []
        self._asked: tuple[list[str], list[str]] = ([], [])
        self._near: list[dict[str, Any]] = []
        self._counts: dict[str, int] = {}
        self._still = ""
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.back_button = icon_button("revert", "The question before (Alt+Left)", desk.theme)
        self.back_button.clicked.connect(self.back)
        self.back_button.setEnabled(False)
        row.addWidget(self.back_button)
        self.line = QLineEdit()
        self.line.setPlaceholderText("A word, or a sum of words: king − man + woman")
        self.line.setAccessibleName("A word, or a sum of words with blanks around + and −")
        self.line.setClearButtonEnabled(True)
        self.line.returnPressed.connect(self.find_near)
        row.addWidget(self.line, 1)
        self.count = Choice()
        for count in COUNTS:
            self.count.addItem(f"{count} neighbours", count)
        self.count.setFixedWidth(140)
        self.count.setAccessibleName("How many neighbours")
        self.count.activated.connect(lambda _place: self._again())
        row.addWidget(self.count)
        self.find_button = QPushButton("Find neighbours")
        self.find_button.setProperty("primary", True)
        self.find_button.clicked.connect(self.find_near)
        row.addWidget(self.find_button)
        column.addLayout(row)
        cards = QHBoxLayout()
        cards.setSpacing(14)
        cards.addWidget(self._list(), 2)
        cards.addWidget(self._picture(), 3)
        column.addLayout(cards, 1)
        self._to_find = Question(desk, notice, run, self.find_button, "Looking …")
        self._to_draw = Question(desk, notice, run)
        shortcut = QShortcut(QKeySequence("Alt+Left"), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(self.back)

    def _list(self) -> Card:
        card = Card("Nearest words", "By the cosine of their vectors.")
        self.sum = label("", "strong", wrap=True, selectable=True)
        self.sum.hide()
        card.body.addWidget(self.sum)
        self.empty = Empty(
            "search",
            "Ask for a word",
            "Type one, or click one in the picture. A sum asks for an analogy: king − man + woman is what is to woman as king is to man.",
        )
        self.empty.paint_with(self._desk.theme)
        card.body.addWidget(self.empty, 1)
        self.table = QTableView()
        self.model = NeighbourTable(self)
        self.table.setModel(self.model)
        self.delegate = PillDelegate(self._desk.theme, self.table)
        self.table.setItemDelegate(self.delegate)
        self.table.setAccessibleName("Neighbours, the nearest first")
        self.table.setShowGrid(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setTabKeyNavigation(False)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(30)
        header = self.table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.setColumnWidth(1, 150)
        self.table.setColumnWidth(2, 90)
        self.table.activated.connect(lambda index: self.ask_for(self.model.rows[index.row()]["word"]))
        self.table.selectionModel().currentRowChanged.connect(self._row_chosen)
        self.table.hide()
        card.body.addWidget(self.table, 1)
        return card

    def _picture(self) -> Card:
        card = Card("In the plane", "Directions in which these words differ most. A click asks for a word, the wheel zooms, Home shows all.")
        self.which = Choice()
        self.which.addItem("Word and neighbours", NEIGHBOURS)
        self.which.addItem("Frequent words", COMMON)
        self.which.setCurrentIndex(1)
        self.which.setFixedWidth(170)
        self.which.setAccessibleName("Which words are drawn")
        self.which.activated.connect(lambda _place: self._draw())
        card.corner.addWidget(self.which)
        self.map = WordMap(self._desk.theme)
        self.map.asked.connect(self.ask_for)
        self.map.pointed.connect(self._point)
        card.body.addWidget(self.map, 1)
        self.told = label("", "caption")
        card.body.addWidget(self.told)
        return card

    # --- Asking -----------------------------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Another model is asked: what the last one said goes, its most frequent words are drawn; a question it answered is asked again."""
        self._to_find.forget()
        self._to_draw.forget()
        if not self._near:
            self.line.clear()  # What the other model could not answer.
        self._asked, self._near = ([], []), []
        self.model.show_rows([])
        self._show_list(on=False)
        self.map.show_words([], (0.0, 0.0))
        self._draw()
        self._again()

    def ask_for(self, word: str) -> None:
        """Neighbours of this word."""
        self.line.setText(word)
        self.find_near()

    def find_near(self) -> None:
        """Neighbours of what the line says; Back leads to the question before."""
        text = self.line.text().strip()
        if text and (not self._earlier or self._earlier[-1] != text):
            self._earlier.append(text)
        self.back_button.setEnabled(len(self._earlier) > 1)
        self._again()

    def back(self) -> None:
        """Ask the question before once more."""
        if len(self._earlier) > 1:
            self._earlier.pop()
            self.line.setText(self._earlier[-1])
            self.back_button.setEnabled(len(self._earlier) > 1)
            self._again()

    def _again(self) -> None:
        """Ask what the line says; nothing where it says nothing."""
        plus, minus = terms(self.line.text())
        if plus or minus:
            found = partial(self._found, len(plus))
            self._to_find.ask("neighbours", found, plus=plus, minus=minus, k=self.count.currentData())

    def _found(self, added: int, answer: Any) -> None:
        """The answer to a sum whose first `added` words are added, the others taken away."""
        self._asked = answer["words"][:added], answer["words"][added:]
        self._near = answer["neighbours"]
        self.model.show_rows(self._near)
        self.sum.setText(" − ".join([" + ".join(shown(word) for word in self._asked[0]), *(shown(word) for word in self._asked[1])]))
        self._show_list(on=True)
        self.which.setCurrentIndex(self.which.findData(NEIGHBOURS))
        self._draw()

    def _show_list(self, *, on: bool) -> None:
        for widget, there in ((self.sum, on), (self.table, on), (self.empty, not on)):
            widget.setVisible(there)

    def _draw(self) -> None:
        """The picture of the words that are chosen; frequent ones where there are no three others."""
        plus, minus = self._asked
        words = list(dict.fromkeys([*plus, *minus, *(row["word"] for row in self._near)]))
        if self.which.currentData() == COMMON or len(words) < 3:
            self.which.setCurrentIndex(self.which.findData(COMMON))
            words = []
        model = self.which.model()
        model.item(0).setEnabled(len(self._near) > 1)  # type: ignore[attr-defined]
        self._to_draw.ask("projection", self._drawn, words=words, most=FREQUENT)

    def _drawn(self, answer: Any) -> None:
        self._counts = {point["word"]: point["count"] for point in answer["points"]}
        self.map.show_words(answer["points"], answer["explained"], *self._asked)
        shown_share = sum(answer["explained"])
        self._still = f"The plane shows {shown_share:.0%} of how these {len(answer['points'])} words differ: near here can be far in the rest."
        self.told.setText(self._still)

    def _row_chosen(self, index: Any, _before: Any) -> None:
        if index.isValid():
            self.map.mark(self.model.rows[index.row()]["word"])

    def _point(self, word: str) -> None:
        """Tell of the word under the mouse, and bring its row out."""
        if not word:
            self.told.setText(self._still)
            return
        row = self.model.row_of(word)
        cosine = "" if row is None else f", cosine {self.model.rows[row]['cosine']:.3f}"
        self.told.setText(f"{shown(word)}: {self._counts.get(word, 0):,} times in the training text{cosine}")
        if row is not None:
            self.table.selectRow(row)

    def paint_again(self) -> None:
        """Take the colours of the theme."""
        self.delegate.theme = self._desk.theme
        self.table.viewport().update()
        self.map.paint_with(self._desk.theme)
