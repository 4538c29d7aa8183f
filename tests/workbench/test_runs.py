"""The runs view on a store that is written to while it looks."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from pytestqt.qtbot import QtBot

from engines.store import commands, queries
from engines.store.database import Store
from workbench.desk import Desk
from workbench.views.runs import RunsView
from workbench.watching import clocks, run_columns
from workbench.watching.quantities import default_keys
from workbench.watching.run_columns import observed
from workbench.widgets import pills

sys.path.insert(0, str(Path(__file__).parent))
import samples


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """The writer's own connection, as another process would have."""
    opened = Store.open(store_url)
    yield opened
    opened.close()


@pytest.fixture
def view(qtbot: QtBot, desk: Desk, store: Store, store_url: str) -> Iterator[RunsView]:
    desk.set_store(Store.open(store_url))
    made = RunsView(desk)
    qtbot.addWidget(made)
    made.resize(1280, 800)
    made.show()
    yield made
    made.leave()


def _points(view: RunsView, key: str = "train/loss") -> int:
    plot = view.board.plot(key)
    return sum(plot.drawn_points(each) for each in plot.keys) if plot is not None else 0


def test_an_empty_store_says_what_to_do(qtbot: QtBot, view: RunsView) -> None:
    qtbot.waitUntil(lambda: view.pages.currentWidget() is view.empty)
    assert view.empty.button.isVisible()


def test_points_are_drawn_as_they_are_written(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.submit(store)
    run = samples.start(store)
    samples.write(store, run, 0, 50)
    qtbot.waitUntil(lambda: _points(view) == 50, timeout=10_000)
    samples.write(store, run, 50, 25)
    qtbot.waitUntil(lambda: _points(view) == 75, timeout=10_000)
    assert view.model.rowCount() == 2
    assert [view.model.data(view.model.index(0, column)) for column in (0, 2, 3, 5, 8)] == ["full", "training", "50%", "5,000", "12 s left"]
    assert [view.model.data(view.model.index(1, 2))] == ["queued"]


def test_a_gap_is_not_drawn(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.submit(store)
    samples.write(store, samples.start(store), 0, 51, gaps=True)
    qtbot.waitUntil(lambda: _points(view) == 50, timeout=10_000)


def test_a_resumed_run_is_read_anew(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.submit(store)
    run = samples.start(store)
    samples.write(store, run, 0, 50)
    qtbot.waitUntil(lambda: _points(view) == 50, timeout=10_000)
    commands.truncate_points(store, run.id, run.claim, 19)
    samples.write(store, run, 20, 40)
    qtbot.waitUntil(lambda: _points(view) == 60, timeout=10_000)


def test_a_long_series_comes_reduced_and_with_detail_on_zooming(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.submit(store)
    run = samples.start(store)
    steps = np.arange(60_000)
    values = np.sin(steps / 1000)
    values[31_234] = 40.0
    commands.append_points(
        store, run.id, run.claim, [commands.SeriesBatch("train/loss", "nats/token", "lower", steps.tolist(), [0.0] * len(steps), values.tolist())]
    )
    qtbot.waitUntil(lambda: _points(view) > 100, timeout=20_000)
    plot = view.board.plot("train/loss")
    assert plot is not None
    line = plot.lines[0]
    assert len(line.front.x) < 20_000
    assert line.extremes(0, 60_000)[1] == 40.0
    assert plot.view()[3] > 40.0
    plot.show_range(31_000, 31_500)
    plot.viewed.emit(31_000, 31_500)
    qtbot.waitUntil(lambda: 400 < len(plot.lines[0].front.x) < 2000, timeout=10_000)
    samples.write(store, run, 60_000, 10, keys=samples.KEYS[:1])
    plot.show_all()
    qtbot.waitUntil(lambda: plot.lines[0].front.x[-1] == 60_009, timeout=10_000)


def test_curves_can_be_hidden_and_shown(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.finished(store)
    qtbot.waitUntil(lambda: _points(view) == 600, timeout=10_000)
    view.model.toggle(0)
    assert _points(view) == 300
    assert view.model.data(view.model.index(0, 0), Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Unchecked
    view.model.toggle(0)
    assert _points(view) == 600


def test_over_seconds_and_other_quantities(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.finished(store)
    qtbot.waitUntil(lambda: _points(view) == 600, timeout=10_000)
    view.curves.set_axis(clocks.WALL)
    qtbot.waitUntil(lambda: _points(view) > 0, timeout=10_000)
    view.curves.toggle_pane("train/loss", False)
    qtbot.waitUntil(lambda: view.board.plot("train/loss") is None, timeout=10_000)
    assert view.board.plot("memory/host_mib") is not None


@pytest.mark.slow
def test_stopping_and_resuming(qtbot: QtBot, view: RunsView, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr("engines.launching.ensure_supervisor", started.append)
    experiment = samples.submit(store)
    qtbot.waitUntil(lambda: view.model.rowCount() == 2, timeout=10_000)
    view.table.selectRow(1)
    view.bar.stop_button.click()
    qtbot.waitUntil(lambda: [run.status for run in queries.runs(store, experiment)] == ["queued", "cancelled"], timeout=10_000)
    qtbot.waitUntil(lambda: view.bar.resume_button.isEnabled(), timeout=10_000)
    view.bar.resume_button.click()
    qtbot.waitUntil(lambda: [run.status for run in queries.runs(store, experiment)] == ["queued", "queued"], timeout=10_000)
    assert started == [store.url]


def test_why_a_run_failed_is_said_in_place(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.submit(store)
    run = samples.start(store)
    samples.write(store, run, 0, 8)
    commands.finish_run(store, run.id, run.claim, "failed", "The loss is not a number at step 7.", "Lower the learning rate.")
    qtbot.waitUntil(lambda: view.model.rowCount() == 2 and view.model.runs[0].status == "failed", timeout=10_000)
    progress = view.model.index(0, run_columns.PROGRESS)
    assert [progress.data(role) for role in (Qt.ItemDataRole.DisplayRole, pills.BAR, pills.SHADE)] == ["at 50%", 0.5, "danger"]
    view.table.selectRow(0)
    assert "not a number at step 7. Lower the learning rate." in view.notice.text
    view.below.toggle_log()
    qtbot.waitUntil(lambda: bool(view.log.toPlainText()), timeout=10_000)


def test_the_list_searches_and_keeps_the_selection(qtbot: QtBot, view: RunsView, store: Store) -> None:
    first = samples.submit(store, name="First question")
    second = samples.submit(store, name="Second question")
    qtbot.waitUntil(lambda: view.list.list.count() == 2, timeout=10_000)
    view.choose(first)
    qtbot.waitUntil(lambda: view.bar.title.text() == "First question", timeout=10_000)
    samples.submit(store, name="Third question")
    qtbot.waitUntil(lambda: view.list.list.count() == 3, timeout=10_000)
    assert view.list.current == first != second
    view.list.search.setText("second")
    assert [view.list.list.item(n).isHidden() for n in range(3)] == [True, False, True]


def test_runs_are_found_and_sorted_and_the_selection_stays_with_its_run(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.submit(store, variants=tuple(f"width {n}" for n in range(8, 12)), seeds=(0, 1, 2))
    for loss in (3.0, float("nan"), 1.0):
        run = samples.start(store)
        batch = commands.SeriesBatch("train/loss", "nats/token", "lower", [0], [0.0], [loss])
        commands.append_points(store, run.id, run.claim, [batch])
    qtbot.waitUntil(lambda: view.model.rowCount() == 12 and view.bar.search.isVisible(), timeout=10_000)
    qtbot.waitUntil(lambda: view.model.data(view.model.index(2, 4)) == "1", timeout=10_000)
    names = lambda: [f"{run.variant}#{run.seed}" for run in view.model.shown]  # noqa: E731
    in_order = names()
    view.table.selectRow(2)
    header = view.table.horizontalHeader()

    def click(column: int) -> None:
        place = QPoint(header.sectionViewportPosition(column) + 20, header.height() // 2)
        qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)

    click(4)
    assert names() == [in_order[2], in_order[0], in_order[1], *in_order[3:]]  # Gaps and runs without a loss stay behind.
    assert [f"{run.variant}#{run.seed}" for run in view.selected] == [in_order[2]]
    click(4)
    assert names() == [in_order[0], in_order[2], in_order[1], *in_order[3:]]
    click(4)
    assert names() == in_order
    click(0)
    click(0)
    assert names()[:4] == ["width 11#0", "width 11#1", "width 11#2", "width 10#0"]
    qtbot.keyClicks(view.bar.search, "WIDTH 1 #2")
    assert names() == ["width 11#2", "width 10#2"]
    assert view.selected == []
    assert "2 found" in view.bar.caption.text()
    assert view.bar.stop_button.text() == "Stop these"
    view.choose(view.list.current, run_id=view.model.runs[0].id)
    assert [run.id for run in view.selected] == [view.model.runs[0].id]
    assert not view.bar.search.text()


def test_a_hidden_view_does_not_read(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.submit(store)
    qtbot.waitUntil(lambda: view.list.list.count() == 1, timeout=10_000)
    view.hide()
    assert not view.feed._timer.isActive()


def test_what_stands_above_the_curves_does_not_overlap_in_a_small_window(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.submit(store)
    qtbot.waitUntil(lambda: view.model.rowCount() == 2, timeout=10_000)
    view.resize(864, 560)  # What the smallest window leaves for a view.
    row = [view.below.tabs, view.controls.axis, view.controls.smoothing, view.controls.log_x, view.controls.log_y, view.controls.button]

    def apart() -> bool:
        areas = [QRect(each.mapTo(view, QPoint()), each.size()) for each in row]
        overlap = any(one.intersects(other) for one, other in itertools.combinations(areas, 2))
        return not overlap and all(view.rect().contains(area) for area in areas)

    qtbot.waitUntil(apart, timeout=5_000)
    assert all(each.width() >= each.minimumSizeHint().width() for each in row[3:])  # Their words are whole.


def test_the_pause_grows_with_the_cost(qtbot: QtBot, view: RunsView) -> None:
    qtbot.waitUntil(lambda: view.pages.currentWidget() is view.empty)
    view.feed._cost = 0.0
    assert view.feed.pause_ms == 300
    view.feed.drew(0.06)
    assert view.feed.pause_ms == 1500
    view.feed.drew(5.0)
    assert view.feed.pause_ms == 3000


def test_a_runs_tip_tells_what_recording_costs_it() -> None:
    assert observed(SimpleNamespace(progress={})) == ""
    assert observed(SimpleNamespace(progress={"recording_share": 0.00047})) == "\nRecording took 0.05% of its training time."


def test_a_curve_of_one_point_is_a_dot(qtbot: QtBot, view: RunsView, store: Store) -> None:
    """As the validation of a model that is counted at once."""
    samples.submit(store)
    run = samples.start(store)
    samples.write(store, run, 0, 1)
    qtbot.waitUntil(lambda: _points(view) == 1, timeout=10_000)
    plot = view.board.plot("train/loss")
    assert plot is not None
    assert [(dot.pos().x(), dot.pos().y()) for dot in plot._dots.points()] == [(0.0, pytest.approx(5.0, abs=0.5))]
    samples.write(store, run, 1, 20)
    qtbot.waitUntil(lambda: _points(view) == 21, timeout=10_000)
    assert len(plot._dots.points()) == 0


def test_no_plot_stays_empty_for_a_perplexity_that_the_task_has_not() -> None:
    common = ["train/loss", "speed/train_tokens_per_s", "memory/host_mib"]
    assert "quality/valid_perplexity" in default_keys(common)
    words = default_keys([*common, "quality/valid_context_perplexity"])
    assert "quality/valid_context_perplexity" in words
    assert "quality/valid_perplexity" not in words
    both = default_keys(["quality/valid_perplexity", "quality/valid_reciprocal_rank"])
    assert both[1:3] == ["quality/valid_perplexity", "quality/valid_reciprocal_rank"]


def test_a_model_is_exported_beside_the_window_and_what_fails_stands_in_place(qtbot: QtBot, view: RunsView, store: Store, tmp_path: Path) -> None:
    samples.finished(store)
    qtbot.waitUntil(lambda: view.model.rowCount() == 2, timeout=10_000)
    assert not view.bar._export.isEnabled()
    view.table.selectRow(0)
    assert view.bar._export.isEnabled()
    view.exporting.start(view.selected[0], "safetensors", tmp_path / "model.safetensors")
    assert "Exporting full, seed 0" in view.notice.text
    qtbot.waitUntil(lambda: "Run r1 has no finished model" in view.notice.text, timeout=30_000)
    view.exporting._heard = ["Equals the model.", f"Wrote {tmp_path / 'model.safetensors'}"]
    view.exporting.program.answered.emit("")
    assert view.notice.text == "Written: model.safetensors. Equals the model."


# --- What a person keeps ----------------------------------------------------------------------------------------------------------------------


def _act(view: RunsView, number: int, name: str) -> None:
    menu = view.keeping.menu(number)
    next(action for action in menu.actions() if action.text() == name).trigger()
    menu.deleteLater()


def _listed(view: RunsView) -> list[str]:
    return [view.list.list.item(place).text() for place in range(view.list.list.count())]


def test_stars_come_first_and_tags_are_shown_and_found(qtbot: QtBot, view: RunsView, store: Store) -> None:
    first, second = samples.submit(store, name="First"), samples.submit(store, name="Second")
    commands.set_tag(store, first, "paper")
    qtbot.waitUntil(lambda: len(_listed(view)) == 2 and "paper" in _listed(view)[1], timeout=10_000)
    _act(view, first, "Star")
    qtbot.waitUntil(lambda: _listed(view)[0].startswith("★ First"), timeout=10_000)
    view.list.search.setText("paper")
    assert view.list.list.item(1).isHidden()
    assert queries.tags(store) == {first: ["paper", "★"]}
    assert second in [row.id for row in queries.experiments(store)]


def test_the_archive_hides_and_gives_back(qtbot: QtBot, view: RunsView, store: Store) -> None:
    number, _ = samples.submit(store, name="Old"), samples.submit(store, name="New")
    qtbot.waitUntil(lambda: len(_listed(view)) == 2, timeout=10_000)
    _act(view, number, "Archive")
    qtbot.waitUntil(lambda: len(_listed(view)) == 1 and view.list.archived.isVisible(), timeout=10_000)
    assert "archived" in view.notice.text
    view.list.archived.setChecked(True)
    assert len(_listed(view)) == 2
    view.notice._action.click()
    qtbot.waitUntil(lambda: queries.tags(store) == {} and not view.list.archived.isVisible(), timeout=10_000)


def test_deleting_can_be_undone(qtbot: QtBot, view: RunsView, store: Store) -> None:
    number = samples.finished(store, name="Slip")
    samples.finished(store, name="Other")
    qtbot.waitUntil(lambda: len(_listed(view)) == 2, timeout=10_000)
    _act(view, number, "Delete")
    qtbot.waitUntil(lambda: len(_listed(view)) == 1 and "deleted" in view.notice.text, timeout=10_000)
    view.notice._action.click()
    qtbot.waitUntil(lambda: len(_listed(view)) == 2, timeout=10_000)
    assert queries.experiment(store, number).deleted is None


def test_what_was_shown_when_it_was_deleted_comes_back_too(qtbot: QtBot, view: RunsView, store: Store) -> None:
    samples.finished(store, name="Other")
    number = samples.finished(store, name="Slip")
    qtbot.waitUntil(lambda: view.list.current == number, timeout=10_000)
    view.delete()
    qtbot.waitUntil(lambda: view.bar.title.text() == "Other" and "deleted" in view.notice.text, timeout=10_000)
    view.notice._action.click()
    qtbot.waitUntil(lambda: len(_listed(view)) == 2, timeout=10_000)
    assert queries.experiment(store, number).deleted is None


def test_notes_are_written_and_read_in_place(qtbot: QtBot, view: RunsView, store: Store) -> None:
    number = samples.submit(store)
    qtbot.waitUntil(lambda: len(_listed(view)) == 1, timeout=10_000)
    view.keeping.show_notes(number)
    qtbot.waitUntil(lambda: "No notes" in view.notice.text, timeout=10_000)
    view.keeping.note(number, "Größer als gedacht")
    qtbot.waitUntil(lambda: bool(queries.notes(store, number)), timeout=10_000)
    view.keeping.show_notes(number)
    qtbot.waitUntil(lambda: view.notice.text == "Größer als gedacht", timeout=10_000)
