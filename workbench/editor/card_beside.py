"""The card of a plugin beside the experiment: what it does, its equations, paper and cost; its page in the catalogue is a click away."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from workbench.cards import card_html, facts
from workbench.certificates import Certificates
from workbench.desk import Desk
from workbench.widgets.richtext import RichText
from workbench.widgets.surfaces import Card, Notice, icon_button, scrolled
from workbench.widgets.text import label


class CardBeside(QWidget):
    """Hidden until a card is asked for; Escape or the cross closes it."""

    closed = Signal()

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self.plugin_id = ""
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 0, 14, 12)
        card = Card()
        column.addWidget(card)
        top = QHBoxLayout()
        self.title = label("", "heading", wrap=True)
        top.addWidget(self.title, 1)
        close = icon_button("close", "Close the card (Escape)", desk.theme)
        close.clicked.connect(self.close_card)
        top.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        card.body.addLayout(top)
        self._facts = label("", "caption", wrap=True, selectable=True)
        self._notice = Notice()
        self.text = RichText()
        self.text.setAccessibleName("Card")
        self.page_button = QPushButton("Its page in the Catalogue")
        self.page_button.setToolTip("With its parameters and what they allow")
        self.page_button.clicked.connect(lambda: desk.wants_card.emit(self.plugin_id))
        card.body.addWidget(self.page_button, 0, Qt.AlignmentFlag.AlignLeft)
        inside = QWidget()
        stack = QVBoxLayout(inside)
        stack.setContentsMargins(0, 0, 6, 0)
        stack.setSpacing(8)
        self.certificates = Certificates(desk, self._notice)
        for part in (self._facts, self._notice, self.text, self.certificates):
            stack.addWidget(part)
        stack.addStretch(1)
        self._scroll = scrolled(inside)
        card.body.addWidget(self._scroll, 1)
        QShortcut(QKeySequence("Escape"), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut).activated.connect(self.close_card)
        desk.theme_changed.connect(lambda _theme: self.show_card(self.plugin_id) if self.plugin_id else None)
        self.hide()

    def show_card(self, plugin_id: str) -> bool:
        """Show the card of a plugin; False where the catalogue does not know it."""
        entry = self._desk.entry(plugin_id)
        if entry is None:
            return False
        if plugin_id != self.plugin_id:
            self._scroll.verticalScrollBar().setValue(0)
        self.plugin_id = plugin_id
        self.title.setText(str(entry["title"]))
        self._facts.setText(f"{plugin_id}  ·  " + "  ·  ".join(facts(entry)))
        self._notice.clear()
        if not entry["available"]["ok"]:
            self._notice.say("warning", f"Not available here: {entry['available']['reason']}")
        self.certificates.show_plugin(entry)
        self.text.say(card_html(entry, self._desk.theme), str(entry["card"]))
        self.show()
        return True

    def close_card(self) -> None:
        self.plugin_id = ""
        self.certificates.close_down()
        self.hide()
        self.closed.emit()
