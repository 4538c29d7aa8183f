"""Rich text that is part of a page."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QFrame, QSizePolicy, QTextBrowser


class RichText(QTextBrowser):
    """As tall as its text, so that the page scrolls and not the text; links open outside."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenExternalLinks(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setStyleSheet("QTextBrowser { border: 0; background: transparent; padding: 0; }")
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.document().setDocumentMargin(0)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.document().documentLayout().documentSizeChanged.connect(lambda size: self.setFixedHeight(int(size.height()) + 4))

    def say(self, html: str, spoken: str) -> None:
        """Show rich text. spoken: what a screen reader says of it, where raised and lowered letters are not told apart."""
        self.setHtml(html)
        self.setAccessibleName(spoken)

    def sizeHint(self) -> QSize:
        return QSize(400, int(self.document().size().height()) + 4)
