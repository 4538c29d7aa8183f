"""The predicted price of training in the editor: figures, the card, and the process that answers."""

from __future__ import annotations

from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from tests.engines.runtime import session as small
from workbench.desk import Desk
from workbench.editor.forecast import Forecast, ForecastCard, figures

ANSWER: dict[str, Any] = {
    "train_peak_mib": 500.0, "step_ms": 50.0, "roofline_ms": 20.0, "bounds": {"compute": 0.2, "memory": 0.7, "launch": 0.1},
    "memory_mib": {"process": 400.0, "parameters": 20.0, "gradients": 0.0, "optimizer": 40.0, "activations": 30.0, "other": 10.0},
    "missing": ["The vocabulary's size is assumed."],
}  # fmt: skip


def plan(**budget: float) -> dict[str, Any]:
    return {"training": {"batch": 10, "sequence": 20}, "budget": budget}


@pytest.mark.parametrize(("budget", "shown"), [({"steps": 1200}, "1 min 00 s"), ({"tokens": 24_000}, "6 s"), ({"seconds": 9}, "9 s")])
def test_figures_follow_from_the_answer_and_the_plan(budget: dict[str, float], shown: str) -> None:
    rows = {name: (value, unit, tip) for name, value, unit, tip in figures(ANSWER, plan(**budget))}
    assert rows["Memory at the peak"][:2] == ("500", "MiB")
    assert rows["A training step"][:2] == ("50", "ms")
    assert "20 ms at least, most of it for moving bytes" in rows["A training step"][2].replace("20.0", "20")
    assert rows["Training speed"][:2] == ("4,000", "tokens/s")
    assert rows["The budget"][0] == shown


def test_what_was_not_predicted_is_no_figure() -> None:
    assert figures({"missing": []}, plan(steps=1)) == []


def test_the_card_shows_owners_and_what_is_missing_and_hides_where_there_is_nothing(qtbot: QtBot, desk: Desk) -> None:
    card = ForecastCard(desk)
    qtbot.addWidget(card)
    assert card.isHidden()
    card.show_forecast(None, "A few steps are being tried out …")
    assert not card.isHidden()
    assert card.bar.isHidden()
    card.show_forecast(ANSWER, "", plan(steps=10))
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
