"""The right side of the editor: what is wrong and what the model amounts to, and below it the card that was asked for."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSplitter

from workbench.desk import Desk
from workbench.editor.card_beside import CardBeside
from workbench.editor.problems_panel import ProblemsPanel

WITH_CARD, WIDEST = 350, 520
"""Pixels of the side while it shows a card, which its equations need: a quarter of the editor within these."""


class Side(QSplitter):
    """The last part of a horizontal splitter, from which it takes width while it shows a card."""

    unfolded = Signal(bool)
    """It shows a card, or no longer."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(Qt.Orientation.Vertical)
        self.setChildrenCollapsible(False)
        self.problems = ProblemsPanel(desk)
        self.card = CardBeside(desk)
        self.addWidget(self.problems)
        self.addWidget(self.card)
        self._widths: list[int] = []
        self.card.closed.connect(self._narrow)
        desk.wants_card_beside.connect(self.show_card)

    def show_card(self, plugin_id: str) -> None:
        first = self.card.isHidden()
        if not self.card.show_card(plugin_id) or not first:
            return
        self.unfolded.emit(True)
        self.setSizes([self.height() * 2 // 5, self.height() * 3 // 5])
        columns = self.parentWidget()
        if isinstance(columns, QSplitter) and columns.orientation() == Qt.Orientation.Horizontal:
            self._widths = columns.sizes()
            *others, middle, right = self._widths
            wider = max(right, min(max(columns.width() // 4, WITH_CARD), WIDEST))
            columns.setSizes([*others, middle + right - wider, wider])

    def _narrow(self) -> None:
        columns = self.parentWidget()
        if isinstance(columns, QSplitter) and len(self._widths) == columns.count():
            columns.setSizes(self._widths)
        self._widths = []
        self.unfolded.emit(False)

    @property
    def shows_card(self) -> bool:
        return not self.card.isHidden()
