"""Cards in columns: as many as fit, and cards that grow get the room."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from workbench.widgets.columns import Columns
from workbench.widgets.surfaces import Card, scrolled, topped
from workbench.widgets.text import label


def test_columns_follow_the_width_and_cards_that_grow_get_room(qtbot: QtBot) -> None:
    cards = [Card("One"), Card("Two", "caption")]
    texts = [label("", wrap=True), label("short", wrap=True)]
    for card, text in zip(cards, texts, strict=True):
        card.body.addWidget(text)
    columns = Columns(cards, [(0, [[0, 1]]), (500, [[0], [1]])])
    page = scrolled(topped(columns))
    qtbot.addWidget(page)
    page.resize(400, 500)
    page.show()
    qtbot.waitUntil(lambda: cards[1].geometry().top() > 0 and cards[1].parentWidget() is cards[0].parentWidget(), timeout=5000)
    page.resize(900, 500)
    qtbot.waitUntil(lambda: cards[1].parentWidget() is not cards[0].parentWidget(), timeout=5000)
    before = [card.height() for card in cards]
    for text in texts:
        text.setText("a long text that needs several lines " * 12)
    qtbot.waitUntil(lambda: all(card.height() > old + 30 for card, old in zip(cards, before, strict=True)), timeout=5000)
    assert all(card.height() >= card.heightForWidth(card.width()) for card in cards)
