"""The predicted price of training in the editor: figures, the card, and the process that answers."""

from __future__ import annotations

from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from tests.engines.runtime import session as small
from workbench.desk import Desk
from workbench.editor.cost_bar import UNKNOWN, CostBar
from workbench.editor.costs import Known, costs, details
from workbench.editor.forecast import Forecast, ForecastCard

ANSWER: dict[str, Any] = {
    "train_peak_mib": 500.0, "step_ms": 50.0, "roofline_ms": 20.0, "bounds": {"compute": 0.2, "memory": 0.7, "launch": 0.1},
    "memory_mib": {"process": 400.0, "parameters": 20.0, "gradients": 0.0, "optimizer": 40.0, "activations": 30.0, "other": 10.0},
    "missing": ["The vocabulary's size is assumed."],
}  # fmt: skip


def plan(**budget: float) -> dict[str, Any]:
    return {"training": {"batch": 10, "sequence": 20}, "budget": budget}


SHAPES: dict[str, Any] = {"parameters": 2_000_000, "trainable": 500_000, "weights_mib": 7.63, "flops_per_token": 10.0, "bytes_per_token": 4096.0}


@pytest.mark.parametrize(("budget", "shown"), [({"steps": 1200}, "1 min 00 s"), ({"tokens": 24_000}, "6 s"), ({"seconds": 9}, "9 s")])
def test_costs_follow_from_the_answers_and_the_plan(budget: dict[str, float], shown: str) -> None:
    known = Known("full", plan(**budget), SHAPES, ANSWER)
    rows = {row.name: row for row in (*costs(known, None), *details(known, None))}
    assert (rows["Parameters"].value, rows["Stored"].value, rows["For a token"].value) == ("2M", "7.63", "10")
    assert rows["Parameters"].tip == "2,000,000, of them 500,000 trained"
    assert (rows["Memory at the peak"].value, rows["Memory at the peak"].unit) == ("500", "MiB")
    assert rows["A training step"].value == "50"
    assert "20 ms at least, most of it for moving bytes" in rows["A training step"].tip.replace("20.0", "20")
    assert (rows["Training speed"].value, rows["Training speed"].unit) == ("4,000", "tokens/s")
    assert rows["Bytes moved"].value == "4,096"
    assert rows["Trainable"].value == "500k"
    assert rows["The budget"].value == shown
    assert not any(row.ratio for row in rows.values())


def test_costs_stand_in_proportion_to_the_baseline_where_they_differ() -> None:
    base = Known("full", plan(steps=10), SHAPES, ANSWER)
    half = Known("half", plan(steps=10), {**SHAPES, "parameters": 1_000_000}, {**ANSWER, "step_ms": 75.0})
    ratios = {row.name: row.ratio for row in costs(half, base)}
    assert ratios == {
        "Parameters": "0.50x", "Stored": "", "For a token": "", "A training step": "1.50x", "Memory at the peak": "", "The budget": "1.50x",
    }  # fmt: skip
    assert '1,000,000; 2,000,000 in "full"' in costs(half, base)[0].tip


def test_the_tip_of_the_peak_adds_up() -> None:
    held = [{"name": "embedding", "owners_mib": {"parameters": 20.0}}, {"name": "layers.0.mixer", "owners_mib": {"activations": 30.0}},
            {"name": "(outside)", "owners_mib": {"optimizer": 40.0, "other": 10.0}}]  # fmt: skip
    tip = costs(Known("full", plan(steps=1), SHAPES, {**ANSWER, "modules": held}), None)[4].tip
    assert "50 in embedding, layers and head" in tip.replace("50.0", "50")
    assert "50 outside them, 400 in the process itself" in tip.replace("50.0", "50")


def test_what_is_not_known_is_no_figure() -> None:
    assert not any(row.value for row in costs(Known(), None))
    assert details(Known("a", plan(steps=1), None, {"missing": []}), None) == []
    fitted = Known("a", plan(steps=1), {**SHAPES, "fitted": True}, None, "It is fitted.")
    assert not any(row.value for row in costs(fitted, None))


def test_the_bar_keeps_what_is_being_found_out_again_and_forgets_another_variant(qtbot: QtBot, desk: Desk) -> None:
    bar = CostBar()
    qtbot.addWidget(bar)

    def texts() -> list[str]:
        return [cell.figure.text() for cell in bar.cells]

    bar.show_known(Known("full", plan(steps=1200), SHAPES, ANSWER), None)
    assert texts() == ["2M", "7.63", "10", "50", "500", "1 min 00 s"]
    bar.show_known(Known("full"), None, "The model is being built on paper …", waiting=True)
    assert texts() == ["2M", "7.63", "10", "50", "500", "1 min 00 s"]
    assert {cell.figure.property("role") for cell in bar.cells} == {"muted"}
    bar.show_known(Known("full", plan(steps=1200), {**SHAPES, "parameters": 100}), None, "A few steps are being tried out …", waiting=True)
    assert texts()[0] == "100"
    assert [cell.figure.property("role") for cell in bar.cells] == ["strong"] * 3 + ["muted"] * 3
    bar.show_known(Known("full", refused="Something is being timed."), None)
    assert texts() == [UNKNOWN] * 6
    bar.show_known(Known("full", plan(steps=1200), SHAPES, ANSWER), None)
    bar.show_known(Known("half"), Known("full"), "The model is being built on paper …", waiting=True)
    assert texts() == [UNKNOWN] * 6
    assert bar.beside.text() == "in proportion to full"


def test_the_card_shows_owners_and_what_is_missing_and_hides_where_there_is_nothing(qtbot: QtBot, desk: Desk) -> None:
    card = ForecastCard(desk)
    qtbot.addWidget(card)
    assert card.isHidden()
    card.show_known(Known("full", refused="Something is being timed."), None)
    assert not card.isHidden()
    assert card.bar.isHidden()
    assert card.state.text() == "Something is being timed."
    card.show_known(Known("full", plan(steps=10), SHAPES, ANSWER), None)
    assert list(card.bar.mib) == ["process", "parameters", "optimizer", "activations", "other"]
    assert "optimizer" in card.legend.text()
    assert card.state.text() == "The vocabulary's size is assumed."
    card.resize(240, 300)
    assert not card.grab().isNull()


@pytest.mark.slow
def test_a_process_tries_the_plan_out_and_a_wrong_one_is_refused(qtbot: QtBot) -> None:
    forecast = Forecast()
    told: list[Any] = []
    chosen = small.plan([{"id": "optimization/adam"}])
    forecast.ask(chosen, {"other": chosen}, "", told.append, told.append)
    forecast.ask(chosen, {"other": chosen}, "", told.append, told.append)  # Only the latest question is answered.
    qtbot.waitUntil(lambda: bool(told), timeout=90_000)
    assert told[0]["step_ms"] > 0
    forecast.ask(small.plan([]), {}, "", told.append, told.append)
    qtbot.waitUntil(lambda: len(told) > 1, timeout=90_000)
    assert "has no optimizer" in told[1]
    forecast.ask(chosen, {}, "", told.append, told.append)
    forecast.forget()
    assert not forecast.running
    assert len(told) == 2
