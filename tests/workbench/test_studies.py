"""The studies view: what a study says while it is measured, its result, earlier results, running and stopping."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from engines.store import commands
from engines.store.database import Store
from workbench import theme
from workbench.desk import Desk
from workbench.studying.hearing import Hearing, exponent_words, memory_of, parameter_words
from workbench.studying.plot import StudyPlot
from workbench.studying.result_page import step_row
from workbench.views.studies import StudiesView

sys.path.insert(0, str(Path(__file__).parent))
import studies


@pytest.fixture
def view(qtbot: QtBot, desk: Desk, store: Store, store_url: str) -> Iterator[StudiesView]:
    desk.set_store(Store.open(store_url))
    desk.set_catalogue(studies.catalogue())
    made = StudiesView(desk)
    qtbot.addWidget(made)
    made.resize(1184, 746)
    made.show()
    yield made
    made.leave()


def measured(store: Store, result: dict[str, Any] | None, *, status: str = "done", reason: str = "", **parameters: Any) -> int:
    """A study that has ended, written as its process does."""
    given = {"seconds": 1.0, "largest": 8192, "dtypes": ["float32", "bfloat16"], "device": "auto", **parameters}
    number = commands.begin_study(store, "studies/matmul", given, None, "test", 1, 1.0)
    assert commands.finish_study(store, number, status, result=result, reason=reason)
    return number


def plays(lines: list[str], *, last: dict[str, Any], code: int = 0, wait: bool = False) -> list[str]:
    """A process that says these lines; with `wait` it says the last one when its input ends."""
    spoken = "".join(f"print({line!r}, flush=True)\n" for line in lines)
    waiting = "import signal; signal.signal(signal.SIGTERM, lambda *_: None); signal.pause()\n" if wait else ""
    return ["-c", f"import sys\n{spoken}{waiting}print({json.dumps(last)!r}, flush=True); sys.exit({code})"]


# --- What it says ---------------------------------------------------------------------------------------------------------------------------


def test_a_measurement_is_gathered_line_by_line() -> None:
    hearing = Hearing()
    first, second, *rest = studies.lines(sizes=2)
    assert not hearing.hear("a library prints")
    assert not hearing.hear(first)
    assert hearing.progress.startswith("Another timing goes on")
    assert hearing.hear(second)
    changes = [hearing.hear(line) for line in rest]
    assert sum(changes) == 2 * len(studies.CURVES) + 1
    assert [curve["name"] for curve in hearing.result["curves"]] == list(studies.CURVES)
    assert [point["x"] for point in hearing.result["curves"][0]["points"]] == [16.0, 64.0]
    assert hearing.result["not_shown"] == ["cpu float32, 1 thread: left out at 65536: needs 34 GiB, free are 20 GiB."]
    assert hearing.share == pytest.approx(0.5)
    hearing.hear('{"event": "ended", "id": 1, "status": "failed", "reason": "Out of memory."}')
    assert hearing.ending == {"status": "failed", "reason": "Out of memory."}


def test_exponents_parameters_and_steps_in_words() -> None:
    curve = {"exponent": {"value": 2.874, "low": 2.8, "high": 2.93}}
    assert exponent_words(curve, "size") == "time grows as size^2.87 [2.80, 2.93]"
    assert exponent_words({"exponent": None}, "size") == ""
    defaults = {"seconds": 1.0, "largest": 8192, "dtypes": ["float32", "bfloat16"], "device": "auto"}
    assert parameter_words(defaults, studies.SCHEMA) == "defaults"
    assert parameter_words({**defaults, "largest": 512, "dtypes": ["float32"]}, studies.SCHEMA) == "largest=512, dtypes=[float32]"
    first, second, *_ = studies.result()["steps"]
    assert step_row(first) == {"name": "As in the lecture", "took": "812 ms [780, 853]", "first": None, "before": None}
    assert step_row(second)["first"] == "8.04x [7.64, 8.44]"


def test_peak_memory_takes_the_place_of_the_figures_where_it_was_measured() -> None:
    result = studies.result()
    assert memory_of(result) is None
    grows = {"value": 1.0, "low": 0.9, "high": 1.1, "first": 1.0, "last": 9.0}
    for curve in result["curves"][:1]:
        curve["memory_exponent"] = grows
        for place, point in enumerate(curve["points"]):
            point["memory_bytes"] = 2**20 * (place + 1)
    found = memory_of(result)
    assert found is not None
    (only,) = found["curves"]
    assert [point["value"] for point in only["points"]] == [place + 1 for place in range(len(only["points"]))]
    assert (found["y"]["unit"], found["lines"], found["speedups"]) == ("MiB", [], [])
    assert exponent_words(only, "size").startswith("memory grows as size^1.00")


# --- Results --------------------------------------------------------------------------------------------------------------------------------


def test_without_a_result_the_view_says_what_the_study_expects(qtbot: QtBot, view: StudiesView) -> None:
    assert view.list.list.count() == 3
    assert view.bar.title.text() == "Matrix product over sizes"
    text = " ".join(found.text() for found in view.unmeasured.findChildren(QLabel))
    assert studies.EXPECTS in text
    assert not view.unmeasured.button.isHidden()


@pytest.mark.parametrize("outcome", ["met", "refuted", "not decided"])
def test_the_newest_result_is_shown(qtbot: QtBot, view: StudiesView, store: Store, outcome: str) -> None:
    measured(store, {**studies.result(), "findings": ["An older one."]}, largest=512)
    measured(store, studies.result(outcome=outcome))
    measured(store, None, status="cancelled", reason="Interrupted.")
    view._read()
    qtbot.waitUntil(lambda: view.result.badge.text() == outcome, timeout=20_000)
    assert view.bar.history.count() == 3
    assert view.bar.history.currentText().endswith("defaults")
    assert len(view.result.steps.figures.rows) == 4
    assert "time grows as size^2.87" in view.result.plot.legend.accessibleName()
    text = " ".join(found.text() for found in view.result.findChildren(QLabel))
    assert "at most 44 GFLOP/s" in text
    assert "A CUDA GPU: this machine has none" in text
    assert "Other work used 2% and 14% of the machine" in text
    view.bar.history.setCurrentIndex(0)
    view._load()
    qtbot.waitUntil(lambda: view.results.currentIndex() == 0, timeout=20_000)
    assert "Interrupted." in " ".join(found.text() for found in view.unmeasured.findChildren(QLabel))
    view.bar.history.setCurrentIndex(2)
    view._load()
    qtbot.waitUntil(lambda: any(found.text() == "An older one." for found in view.result.findChildren(QLabel)), timeout=20_000)


def test_the_picture_has_points_intervals_and_levels_on_log_axes(qtbot: QtBot, view: StudiesView) -> None:
    plot = view.result.plot
    view.result.show_result(studies.result())
    assert len(plot._spots) == 30
    assert plot._spots[0][:2] == pytest.approx((1.20412, -0.67), abs=0.02)
    assert plot._spots[-1][2].startswith("cpu bfloat16, 1 thread, size 8192: 94.9")
    assert "n = 20" in plot._spots[-1][2]
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left):
        qtbot.keyClick(plot, key)
    assert plot.words.text() == plot._spots[0][2]
    view.result.as_ratio.setChecked(True)
    assert len(plot._spots) == 20
    assert " times" in plot._spots[0][2]
    linear = {**studies.result(), "x": studies.X | {"log": False}, "y": studies.Y | {"log": False}}
    view.result.as_ratio.setChecked(False)
    view.result.show_result(linear)
    assert plot._spots[0][0] == 16.0


# --- Running --------------------------------------------------------------------------------------------------------------------------------


def test_a_study_is_run_live_and_its_result_read(qtbot: QtBot, view: StudiesView, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    start = view.program.start

    def play(arguments: list[str], _surroundings: dict[str, str]) -> None:
        asked.append(arguments)
        measured(store, studies.result(outcome="met"), largest=1024)
        start(plays(studies.lines(), last={"event": "ended", "id": 1, "status": "done", "reason": ""}))

    monkeypatch.setattr(view.program, "start", play)
    view.form.rows["largest"].field.set_value(1024)
    view.bar.run_button.click()
    assert json.loads(asked[0][-1]) == {"largest": 1024}
    assert view.result.badge.text() == "being measured"
    assert not view.bar.working.isHidden()
    qtbot.waitUntil(lambda: view.result.badge.text() == "met", timeout=20_000)
    assert view.bar.working.isHidden()
    assert "largest=1024" in view.bar.history.currentText()
    assert len(view.hearing.result["curves"]) == 3


def test_points_are_drawn_as_they_come_and_a_study_can_be_stopped(qtbot: QtBot, view: StudiesView, monkeypatch: pytest.MonkeyPatch) -> None:
    start = view.program.start
    last = {"event": "ended", "id": 1, "status": "cancelled", "reason": "Stopped (SIGTERM)."}
    arguments = plays(studies.lines(), last=last, code=130, wait=True)
    monkeypatch.setattr(view.program, "start", lambda *_: start(arguments))
    view.start()
    qtbot.waitUntil(lambda: len(view.result.plot._spots) == 12, timeout=20_000)
    view.list.list.setCurrentRow(1)
    assert view.bar.working.words.text().startswith("Matrix product over sizes: ")
    assert not view.bar.run_button.isEnabled()
    view.list.list.setCurrentRow(0)
    assert len(view.result.plot._spots) == 12
    view.bar.working.stop_button.click()
    qtbot.waitUntil(lambda: "was stopped" in view.notice.text, timeout=20_000)
    assert view.bar.run_button.isEnabled()


def test_refusals_and_deaths_are_sentences(qtbot: QtBot, view: StudiesView, monkeypatch: pytest.MonkeyPatch) -> None:
    start = view.program.start
    refused = plays([], last={"event": "refused", "sentence": "largest = 8 lies below smallest = 16"}, code=2)
    monkeypatch.setattr(view.program, "start", lambda *_: start(refused))
    view.start()
    qtbot.waitUntil(lambda: view.notice.text == "largest = 8 lies below smallest = 16", timeout=20_000)
    monkeypatch.setattr(view.program, "start", lambda *_: start(["-c", "import os; os._exit(7)"]))
    view.start()
    qtbot.waitUntil(lambda: view.notice.text == "The process ended with exit code 7.", timeout=20_000)


def test_wrong_parameters_are_not_sent(qtbot: QtBot, view: StudiesView) -> None:
    view.form.rows["largest"].field.line.setText("many")
    view.form.rows["largest"].field.line.textEdited.emit("many")
    view.start()
    assert not view.program.running
    assert "cannot run yet" in view.notice.text
    assert view.tabs.currentIndex() == 1


def test_the_memory_of_calls_is_a_second_picture(qtbot: QtBot, view: StudiesView, store: Store) -> None:
    measured(store, studies.result())
    view._read()
    qtbot.waitUntil(lambda: view.result.badge.text() == "not decided", timeout=20_000)
    assert not view.result.as_memory.isVisibleTo(view.result)
    result = studies.result(outcome="met")
    for curve in result["curves"]:
        for point in curve["points"]:
            point["memory_bytes"] = 4 * point["x"] ** 2
    measured(store, result)
    view._read()
    qtbot.waitUntil(lambda: view.result.as_memory.isVisibleTo(view.result), timeout=20_000)
    view.result.as_memory.setChecked(True)
    assert view.result.title.text() == "Peak memory of one call over size"
    assert any("MiB" in words for _, _, words in view.result.plot._spots)
    view.result.as_memory.setChecked(False)
    assert "GFLOP/s" in view.result.plot._spots[0][2]


def test_more_curves_than_colours_differ_by_their_symbols(qtbot: QtBot) -> None:
    result = studies.result()
    colours = len(theme.theme("light").series)
    result["curves"] = [result["curves"][0] | {"name": f"head {number}"} for number in range(2 * colours)]
    plot = StudyPlot(theme.theme("light"))
    qtbot.addWidget(plot)
    plot.show_result(result)
    assert plot._plot is not None
    looks = [(item.opts["symbol"], str(item.opts["symbolBrush"])) for item in plot._plot.listDataItems() if item.opts.get("symbol")]
    assert len(set(looks)) == 2 * colours
    assert plot.legend.text().count("●") == plot.legend.text().count("▲") == colours
