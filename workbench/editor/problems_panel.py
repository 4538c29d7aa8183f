"""What is wrong with the experiment as a list that leads to the place, and details of what the variant costs."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from engines.problems import Problem
from workbench.desk import Desk
from workbench.editor.fix_button import Fixes, fixes_for, show_fixes
from workbench.editor.forecast import ForecastCard
from workbench.editor.places import sentence
from workbench.icons import pixmap
from workbench.widgets.surfaces import Card, emptied, scrolled
from workbench.widgets.text import label


class ProblemsPanel(QWidget):
    """Problems on top, below them what is known of the variant beside its costs, which stand at the foot of the editor."""

    jumped = Signal(object)
    fix_asked = Signal(object)

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self.problems: list[Problem] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 14, 14, 12)
        column.setSpacing(12)
        self._card = Card("Problems")
        self._state = label("", "caption", wrap=True)
        self._card.body.addWidget(self._state)
        self._list = QVBoxLayout()
        self._list.setSpacing(4)
        self._card.body.addLayout(self._list)
        inside = QWidget()
        stack = QVBoxLayout(inside)
        stack.setContentsMargins(0, 0, 4, 0)
        stack.setSpacing(12)
        stack.addWidget(self._card)
        self.forecast = ForecastCard(desk)
        stack.addWidget(self.forecast)
        stack.addStretch(1)
        column.addWidget(scrolled(inside), 1)
        self.setMinimumWidth(230)
        self.show_problems([], {}, checking=True)

    def show_problems(self, problems: Sequence[Problem], names: dict[int, str], *, checking: bool, fixes: Fixes | None = None) -> None:
        """names: variant names by number, to say where a problem is; checking: the inspector has not answered yet; fixes: what mends which."""
        self.problems = list(problems)
        emptied(self._list)
        for problem in problems:
            self._list.addWidget(self._line(problem, names))
            room = QVBoxLayout()
            room.setContentsMargins(28, 0, 4, 8)
            room.setSpacing(4)
            show_fixes(room, fixes_for(fixes or {}, problem), self.fix_asked.emit)
            self._list.addLayout(room)
        if problems:
            self._state.setText(f"{len(problems)} to mend before it can run. Choose one to go there.")
        else:
            self._state.setText("No problem found so far; the model is being built as a check …" if checking else "None. Ready to run.")

    def _line(self, problem: Problem, names: dict[int, str]) -> QPushButton:
        place = problem.path or "experiment"
        for number, name in names.items():
            place = place.replace(f"variant[{number}]", name or f"variant {number + 1}", 1)
        button = QPushButton()
        button.setProperty("quiet", True)
        row = QHBoxLayout(button)
        row.setContentsMargins(4, 6, 4, 6)
        row.setSpacing(8)
        sign = QLabel()
        sign.setPixmap(pixmap("error", self._desk.theme.danger, 16, self.devicePixelRatioF()))
        row.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        words = QVBoxLayout()
        words.setSpacing(1)
        where = label(place.replace(".", " › "), "caption", wrap=True)
        what = label(sentence(problem), wrap=True)
        for text in (where, what):
            text.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            words.addWidget(text)
        row.addLayout(words, 1)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        button.setSizePolicy(policy)
        button.setMinimumHeight(row.totalHeightForWidth(230) + 4)
        button.setAccessibleName(problem.sentence())
        button.setToolTip(problem.sentence())
        button.clicked.connect(lambda: self.jumped.emit(problem))
        return button
