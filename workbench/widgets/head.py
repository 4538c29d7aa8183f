"""The head of a view: what is shown, a caption below it, and what can be done with it at the right, or below where that is too narrow."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from workbench.widgets.flow import Beside
from workbench.widgets.text import ElidedLabel

TITLE = 220
"""Pixels that a title needs to be told from others."""


class Head(QFrame):
    """`row` takes what stands right of the titles, `column` what stands below them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("bar")
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(20, 10, 16, 10)
        self.column.setSpacing(8)
        self.row = Beside(least=TITLE)
        titles = QVBoxLayout()
        titles.setSpacing(1)
        self.title = ElidedLabel("title")
        self.caption = ElidedLabel("caption")
        titles.addWidget(self.title)
        titles.addWidget(self.caption)
        self.row.addLayout(titles)
        self.column.addLayout(self.row)
