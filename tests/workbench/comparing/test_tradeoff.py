"""The scatter: its front agrees with brute force, its dots carry the figures, its readout tells them exactly."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from PySide6.QtCore import QPointF, Qt
from pytestqt.qtbot import QtBot

from workbench.comparing.subject import Subject
from workbench.comparing.tradeoff import Tradeoff
from workbench.desk import Desk


@pytest.fixture
def tradeoff(qtbot: QtBot, desk: Desk, subject: Subject, comparison: dict[str, Any]) -> Tradeoff:
    made = Tradeoff(subject, desk)
    qtbot.addWidget(made)
    made.resize(1000, 700)
    made.draw(comparison)
    subject.selected.connect(made.mark)
    made.show()
    return made


def choose(part: Tradeoff, side: str, key: str) -> None:
    part.choices[side].setCurrentIndex(part.choices[side].findData(key))
    part.choices[side].activated.emit(0)


def test_the_front_is_what_brute_force_finds(tradeoff: Tradeoff, comparison: dict[str, Any]) -> None:
    keys = ["speed/infer_tokens_per_s", "quality/test_perplexity", "size/model_mib", "latency/p50_ms"]
    for x, y in itertools.permutations(keys, 2):
        choose(tradeoff, "x", x)
        choose(tradeoff, "y", y)
        results = {name: variant["results"] for name, variant in comparison["variants"].items()}

        def cost(name: str, key: str, results: dict[str, Any] = results) -> float:
            return results[name][key]["value"] * (-1 if results[name][key]["better"] == "higher" else 1)

        beaten = {
            one
            for one, other in itertools.permutations(results, 2)
            if all(cost(other, key) <= cost(one, key) for key in (x, y)) and any(cost(other, key) < cost(one, key) for key in (x, y))
        }
        assert set(tradeoff.scatter.front) == set(results) - beaten, (x, y)
        assert {name for name, dot in tradeoff.scatter.dots.items() if dot.beaten} == beaten
        assert tradeoff.scatter.points == {name: (found[x]["value"], found[y]["value"]) for name, found in results.items()}


def test_a_figure_without_a_better_side_has_no_front(tradeoff: Tradeoff) -> None:
    choose(tradeoff, "x", "quality/test_unigram_perplexity")
    assert tradeoff.scatter.front == []
    assert not any(dot.beaten for dot in tradeoff.scatter.dots.values())
    assert "no front" in tradeoff.note.text()


def test_exact_figures_of_the_dot_under_the_mouse(tradeoff: Tradeoff, subject: Subject, comparison: dict[str, Any]) -> None:
    tradeoff.scatter.pointed.emit("int8")
    assert "int8: inference speed" in tradeoff.readout.text()
    assert "test perplexity" in tradeoff.readout.text()
    assert comparison["variants"]["int8"]["violations"][0] in tradeoff.readout.text()
    subject.select("adaptive")
    tradeoff.scatter.pointed.emit("")
    assert tradeoff.readout.text().startswith("adaptive: ")


def test_dots_are_found_and_selected(qtbot: QtBot, tradeoff: Tradeoff, subject: Subject) -> None:
    scatter = tradeoff.scatter
    x, y = scatter._at["adaptive"]
    place = scatter._box.mapViewToScene(QPointF(x, y))
    assert scatter._nearest(place) == "adaptive"
    scatter.setFocus()
    order = sorted(scatter._at, key=lambda name: scatter._at[name])
    qtbot.keyClick(scatter, Qt.Key.Key_Right)
    assert subject.variant == order[0]
    qtbot.keyClick(scatter, Qt.Key.Key_Right)
    assert subject.variant == order[1]
    qtbot.keyClick(scatter, Qt.Key.Key_Escape)
    assert subject.variant == ""


def test_what_is_missing_is_said(tradeoff: Tradeoff, comparison: dict[str, Any]) -> None:
    thin = copy.deepcopy(comparison)
    del thin["variants"]["int8"]["results"]["speed/infer_tokens_per_s"]
    tradeoff.draw(thin)
    assert "Not measured in both: int8." in tradeoff.note.text()
    for variant in thin["variants"].values():
        variant["results"] = {}
    tradeoff.draw(thin)
    assert tradeoff.pages.currentWidget() is tradeoff.missing


def test_the_chosen_figures_are_what_is_drawn(tradeoff: Tradeoff) -> None:
    drawn = tradeoff.picture()
    assert drawn is not None
    assert (drawn.attributes["data-x"], drawn.attributes["data-y"]) == tuple(tradeoff.choices[side].currentData() for side in ("x", "y"))


def test_what_all_share_or_many_lack_is_not_what_is_shown_first(
    qtbot: QtBot, desk: Desk, subject: Subject, comparison: dict[str, Any]
) -> None:  # fmt: skip
    """As in an experiment on searches: one perplexity for all; a recall that tells them apart."""
    searches = copy.deepcopy(comparison)
    for place, variant in enumerate(searches["variants"].values()):
        results = variant["results"]
        results["quality/test_perplexity"]["value"] = 50.0
        results["quality/test_recall_at_1"] = results["quality/test_perplexity"] | {"value": 0.5 + place / 100, "better": "higher"}
        if place:
            results.pop("quality/test_accuracy", None)
    part = Tradeoff(subject, desk)
    qtbot.addWidget(part)
    part.draw(searches)
    assert part.choices["y"].currentData() == "quality/test_recall_at_1"
    assert len(part.scatter.dots) == len(searches["variants"])
    assert part.scatter._plot.getAxis("left").labelText.startswith("test recall@1")
