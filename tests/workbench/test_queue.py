"""The queue in the window: order, pause, time left, retry; the legend of the curves; the page of a run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from engines.store import commands, queries
from engines.store.database import Store
from workbench.desk import Desk
from workbench.views.runs import QUEUE, RUNS, RunsView
from workbench.watching.run_tabs import CURVES, LOG, RUN
from workbench.window import Window

sys.path.insert(0, str(Path(__file__).parent))
import rich_sample
import samples


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stores for which a supervisor was asked for."""
    asked: list[str] = []
    monkeypatch.setattr("engines.launching.ensure_supervisor", asked.append)
    return asked


@pytest.fixture
def view(qtbot: QtBot, desk: Desk, store: Store, store_url: str) -> Iterator[RunsView]:
    desk.set_store(Store.open(store_url))
    made = RunsView(desk)
    qtbot.addWidget(made)
    made.resize(1280, 800)
    made.show()
    yield made
    made.leave()


def test_queued_runs_are_moved_and_the_queue_paused(qtbot: QtBot, view: RunsView, store: Store, served: list[str]) -> None:
    samples.submit(store, variants=("a", "b", "c"))
    running = samples.start(store)
    qtbot.waitUntil(lambda: view.queue_button.text() == "Queue: 1 at work, 2 queued", timeout=10_000)
    view.queue_button.click()
    assert view.pages.currentIndex() == QUEUE
    assert [run.variant for run in view.queue.model.runs] == ["a", "b", "c"]
    assert "1 at work, 2 queued" in view.queue.caption.text()
    assert "unknown until a run has been under way" in view.queue.caption.text()
    view.queue.table.selectRow(0)
    assert not view.queue.buttons["first"].isEnabled(), "what has begun is not moved"
    view.queue.table.selectRow(2)
    view.activateWindow()
    view.queue.table.setFocus()
    qtbot.waitUntil(view.queue.table.hasFocus)
    QTest.keyClick(view.queue.table, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: [run.variant for run in view.queue.model.runs] == ["a", "c", "b"], timeout=10_000)
    assert [run.variant for run in view.queue.selected] == ["c"], "the selection stays with its run"
    view.queue.pause_button.click()
    qtbot.waitUntil(lambda: "paused" in view.queue.caption.text(), timeout=10_000)
    assert queries.paused(store) is not None
    assert view.queue.pause_button.text() == "Let it go on"
    view.queue.pause_button.click()
    qtbot.waitUntil(lambda: view.queue.pause_button.text() == "Pause the queue", timeout=10_000)
    assert served == [store.url]
    view.queue.cancel_button.click()
    qtbot.waitUntil(lambda: [run.variant for run in view.queue.model.runs] == ["a", "b"], timeout=10_000)
    commands.set_progress(store, running.id, running.claim, {"fraction": 0.5, "seconds": 60.0})
    # A minute of its own, and for the other variant at least half of what this one takes; how long their ends take nobody knows yet.
    qtbot.waitUntil(lambda: re.search(r"at least 1 min 3\d s left", view.queue.caption.text()) is not None, timeout=10_000)


def test_only_failed_runs_are_retried(qtbot: QtBot, view: RunsView, store: Store, served: list[str]) -> None:
    experiment = samples.submit(store, variants=("a", "b"))
    failed = samples.start(store)
    commands.finish_run(store, failed.id, failed.claim, "failed", "No luck.")
    commands.request_cancel(store, [run.id for run in queries.queue(store)])
    qtbot.waitUntil(lambda: view.model.rowCount() == 2 and view.bar._retry.isEnabled(), timeout=10_000)
    view.bar._retry.trigger()
    qtbot.waitUntil(lambda: [run.status for run in queries.runs(store, experiment)] == ["queued", "cancelled"], timeout=10_000)
    assert served == [store.url]


def test_a_click_in_the_legend_hides_and_with_alt_shows_alone(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.finished(store, variants=("a", "b", "c"), seeds=(0, 1))
    board = view.board
    qtbot.waitUntil(lambda: board.plot("train/loss") is not None and len(board.plot("train/loss").keys) == 6, timeout=10_000)
    chips = view.below.legend.chips
    assert [chip.text() for chip in chips] == ["a", "b", "c"]
    chips[1].click()
    assert len(board.plot("train/loss").keys) == 4
    assert [chip.isChecked() for chip in chips] == [True, False, True]
    QTest.mouseClick(chips[2], Qt.MouseButton.LeftButton, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: [chip.isChecked() for chip in chips] == [False, False, True])
    assert {line.name for line in board.plot("train/loss").lines} == {"c #0", "c #1"}
    QTest.mouseClick(chips[2], Qt.MouseButton.LeftButton, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: len(board.plot("train/loss").keys) == 6)


def test_plots_are_linked_in_x_and_a_closed_one_stays_closed(qtbot: QtBot, view: RunsView, store: Store, desk: Desk) -> None:
    samples.finished(store)
    loss, memory = (lambda: view.board.plot("train/loss")), (lambda: view.board.plot("memory/host_mib"))
    qtbot.waitUntil(lambda: loss() is not None and memory() is not None and len(memory().keys) == 2, timeout=10_000)
    loss()._box.setXRange(50, 100, padding=0)
    loss()._by_hand((True, False))
    loss()._moved()
    qtbot.waitUntil(lambda: memory().view()[:2] == (50, 100))
    loss().pointed.emit(70.0)
    assert memory().head.caption.text().startswith("steps 70:")
    loss().show_all()
    qtbot.waitUntil(lambda: memory().view()[1] > 250)
    memory().unwanted.emit()
    qtbot.waitUntil(lambda: memory() is None, timeout=10_000)
    assert "memory/host_mib" not in desk.settings.value("runs/panes")


def test_the_page_of_a_run_begins_with_its_differences(qtbot: QtBot, view: RunsView, store: Store) -> None:
    rich_sample.rich(store, seeds=2, rounds=3)
    qtbot.waitUntil(lambda: view.model.rowCount() == 12, timeout=10_000)
    view.below.tabs.setCurrentIndex(RUN)
    page = view.below.run
    assert page.currentWidget() is page.empty
    row = next(place for place, run in enumerate(view.model.runs) if run.variant == "pruned 80%")
    view.table.selectRow(row)
    qtbot.waitUntil(lambda: page.facts is not None, timeout=10_000)
    text = {key: each.toPlainText() for key, each in page._texts.items()}
    assert text["what"].startswith("What it does otherwise than the baseline, full softmax:")
    assert "pruning/magnitude" in text["what"]
    assert "80% of the weights of 6 Linear layers are zero." in text["effects"]
    assert "test perplexity" in text["figures"]
    assert "(n = 2)" in text["figures"], "the spread over seeds stands beside"
    assert "8 cores" in text["machine"]
    assert not page.export_button.isEnabled(), "no finished model lies in its folder"
    view.below.tabs.setCurrentIndex(LOG)
    qtbot.waitUntil(lambda: bool(view.log.toPlainText()), timeout=10_000)
    view.below.tabs.setCurrentIndex(CURVES)
    assert view.pages.currentIndex() == RUNS


def test_a_run_that_waits_is_read_again_when_what_it_needs_is_done(qtbot: QtBot, view: RunsView, store: Store) -> None:
    """Nothing in its own row tells that it may start now."""
    rows = [{"name": name, "plan": {}, "baseline": name == "teacher", "needs": needs} for name, needs in (("teacher", []), ("student", ["teacher"]))]
    document = {"experiment": {"name": "Distilled"}}
    commands.submit(store, name="Distilled", digest="", text="", document=document, folder="/", variants=rows, seeds=[0])
    teacher = samples.start(store)
    states = lambda: [view.model.data(view.model.index(row, 2)) for row in range(view.model.rowCount())]  # noqa: E731
    qtbot.waitUntil(lambda: states() == ["training", "waiting"], timeout=10_000)
    commands.finish_run(store, teacher.id, teacher.claim, "done")
    qtbot.waitUntil(lambda: states() == ["done", "queued"], timeout=10_000)


def test_closing_the_window_asks_nothing_and_runs_stay_as_they_are(qtbot: QtBot, make_window: Callable[..., Window], store: Store) -> None:
    samples.submit(store, variants=("a", "b"))
    running = samples.start(store)
    commands.set_paused(store, True)  # So that no supervisor that the window calls takes the other one.
    window = make_window()
    window.go("runs")
    view = window.view("runs")
    qtbot.waitUntil(lambda: view.model.rowCount() == 2, timeout=10_000)
    view.curves.toggle_pane("load/cpu_percent", True)
    assert window.close()
    assert [(run.id, run.status) for run in queries.runs(store)] == [(running.id, "running"), (running.id + 1, "queued")]
    again = make_window()
    again.go("runs")
    assert "load/cpu_percent" in again.view("runs").curves.panes
