"""Explanations stand as they are in the comparison; where there are none, that is said."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from workbench.comparing.subject import Subject
from workbench.comparing.why import UNEXPLAINED, Why
from workbench.desk import Desk
from workbench.widgets.surfaces import Card


@pytest.fixture
def part(qtbot: QtBot, subject: Subject, desk: Desk, comparison: dict[str, Any]) -> Why:
    made = Why(subject, desk)
    qtbot.addWidget(made)
    made.draw(comparison)
    subject.selected.connect(made.mark)
    made.mark("")
    return made


def cards(part: Why) -> dict[str, list[str]]:
    found = [part.cards.itemAt(place).widget() for place in range(part.cards.count())]
    return {card.heading.text(): [each.text() for each in card.findChildren(QLabel)] for card in found if isinstance(card, Card)}


def test_every_sentence_of_every_variant(qtbot: QtBot, part: Why, comparison: dict[str, Any]) -> None:
    others = [name for name in comparison["variants"] if name != comparison["baseline"]]
    qtbot.waitUntil(lambda: list(cards(part)) == others, timeout=5000)
    for name, texts in cards(part).items():
        variant = comparison["variants"][name]
        for explanation in variant["explanations"]:
            assert f"• {explanation['sentence']}" in texts
        for effect in variant["effects"]:
            assert f"{effect['technique']}: {effect['sentence']}" in texts
    assert comparison["variants"]["int8"]["violations"][0] in cards(part)["int8"]


def test_the_selected_variant_alone_and_all_again(qtbot: QtBot, part: Why, subject: Subject, comparison: dict[str, Any]) -> None:
    subject.select("int8")
    assert list(cards(part)) == ["int8"]
    part.all.click()
    qtbot.waitUntil(lambda: len(cards(part)) == len(comparison["variants"]) - 1, timeout=5000)


def test_what_is_not_explained_says_so(part: Why, comparison: dict[str, Any]) -> None:
    comparison["variants"]["int8"]["explanations"] = []
    part.draw(comparison)
    part.mark("int8")
    assert UNEXPLAINED in cards(part)["int8"]
    assert "4 of 5 variants are explained" in part.note.text()


def test_a_profiled_run_is_one_click_away(qtbot: QtBot, part: Why, desk: Desk, comparison: dict[str, Any]) -> None:
    comparison["variants"]["int8"]["profile"] = 17
    part.draw(comparison)
    part.mark("int8")
    card = part.cards.itemAt(0).widget()
    with qtbot.waitSignal(desk.wants_profile) as asked:
        next(button for button in card.findChildren(QPushButton) if "17" in button.text()).click()
    assert asked.args == [17]
