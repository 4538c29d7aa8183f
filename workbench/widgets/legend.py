"""What the colours of a picture mean, in one line that wraps."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QWidget


class Legend(QLabel):
    """Entries of (colour as "#RRGGBB", text), or of (colour, text, the sign that stands for it)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self.setProperty("role", "caption")

    def show_entries(self, entries: Iterable[tuple[str, str] | tuple[str, str, str]]) -> None:
        kept = [(*entry, "■")[:3] for entry in entries]
        # Joined inside an entry, so that a line never breaks between a square and its text.
        parts = [f"<span style='color:{colour}'>{sign}</span>&nbsp;{escape(text).replace(' ', '&nbsp;')}" for colour, text, sign in kept]
        self.setText("&nbsp;&nbsp;&nbsp; ".join(parts))
        self.setAccessibleName(", ".join(text for _colour, text, _sign in kept))
