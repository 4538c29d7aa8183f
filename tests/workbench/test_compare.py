from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from engines import launching, retiming, timetable, timinglock
from engines.store import commands, queries
from engines.store.database import Store
from engines.store.rows import RoundRow
from workbench.comparing.overview import Overview
from workbench.desk import Desk
from workbench.views.compare import CompareView

sys.path.insert(0, str(Path(__file__).parent))
import samples


@pytest.fixture
def view(qtbot: QtBot, desk: Desk, store: Store, store_url: str) -> Iterator[CompareView]:
    desk.set_store(Store.open(store_url))
    made = CompareView(desk)
    qtbot.addWidget(made)
    made.resize(1280, 800)
    made.show()
    yield made
    made.leave()


def overview(view: CompareView) -> Overview:
    part = view.tabs.part("overview")
    assert isinstance(part, Overview)
    return part


def test_finished_variants_in_table_and_words(qtbot: QtBot, view: CompareView, store: Store) -> None:
    samples.finished(store, seeds=(0, 1, 2, 3, 4))
    qtbot.waitUntil(lambda: overview(view).model.rowCount() == 2, timeout=10_000)
    part = overview(view)
    assert part.model.names == ["full", "adaptive"]
    assert "quality/test_perplexity" in part.model.keys
    cell = part.model.data(part.model.index(1, 1 + part.model.keys.index("quality/test_perplexity")))
    assert "better" in cell or "worse" in cell or "no practical difference" in cell or "not enough data" in cell
    part.table.show_row(1)
    words = " ".join(part.words.itemAt(n).widget().text() for n in range(part.words.count()))
    assert "80% of the weights are zero." in words
    assert view.tabs.variant.currentData() == "adaptive"


def test_a_timing_session_is_told_while_it_runs_and_judged_when_it_has_ended(qtbot: QtBot, view: CompareView, store: Store) -> None:
    experiment = samples.finished(store)
    qtbot.waitUntil(lambda: view.comparison is not None, timeout=10_000)
    key = "speed/infer_tokens_per_s"
    session = commands.open_timing(store, experiment, "", key, {"unit": "tokens/s", "better": "higher"})
    qtbot.waitUntil(lambda: "models are loaded" in view.head.caption.text(), timeout=10_000)
    full, adaptive = queries.variants(store, experiment)
    for n in range(12):
        rows = [(full, False, 100.0 + n % 2), (full, True, 100.0 + n % 2), (adaptive, False, 150.0 + n % 2)]
        commands.put_rounds(store, session, [RoundRow(each.id, n, place, value, control) for place, (each, control, value) in enumerate(rows)])
    qtbot.waitUntil(lambda: view.head.caption.text().endswith("speed is being timed: round 12"), timeout=10_000)
    assert key not in view.comparison["variants"]["adaptive"]["results"]
    commands.close_timing(store, session, "done", {"launches": [0, 3, 6, 9]})
    qtbot.waitUntil(lambda: view.comparison["variants"]["adaptive"]["results"].get(key, {}).get("verdict") == "better", timeout=10_000)
    assert "timed" not in view.head.caption.text()


def test_the_models_are_timed_again_as_carefully_as_asked_and_the_session_is_called_off(
    qtbot: QtBot, view: CompareView, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retiming, "ensure_supervisor", lambda url, jobs=None: None)
    experiment = samples.finished(store)
    panel = view.timing
    qtbot.waitUntil(lambda: view.comparison is not None and panel.button.toolTip().startswith("Time the finished"), timeout=10_000)
    for run in queries.runs(store, experiment):
        store.model_folder(run.id).mkdir(parents=True)
        (store.model_folder(run.id) / "plan.json").write_text("{}", encoding="utf-8")
    panel.button.click()
    qtbot.waitUntil(panel.isVisible, timeout=10_000)
    rows = panel.form.rows
    assert rows["until_narrow"].field.value() is True
    rows["launches"].set_value(40, True)
    panel.start.click()
    qtbot.waitUntil(lambda: "must not exceed rounds" in panel.notice.text, timeout=10_000)
    assert timetable.wishes(store, experiment) == {}
    rows["rounds"].set_value(80, True)
    panel.start.click()
    qtbot.waitUntil(lambda: panel.button.text() == "Stop timing", timeout=10_000)
    assert not panel.isVisible()
    (asked,) = timetable.wishes(store, experiment).values()
    assert asked == {"rounds": 80, "launches": 40, "seconds": 1.0, "limit": 300.0, "until_narrow": True}
    panel.button.click()
    qtbot.waitUntil(lambda: panel.button.text() == "Time again", timeout=10_000)
    assert timetable.wishes(store, experiment) == {}


def test_what_its_timing_waits_for_is_named(qtbot: QtBot, view: CompareView, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, other = samples.finished(store), samples.submit(store)
    for run in queries.runs(store, experiment):
        store.model_folder(run.id).mkdir(parents=True)
        (store.model_folder(run.id) / "plan.json").write_text("{}", encoding="utf-8")
    timed = ["experiment 9 of elsewhere.sqlite"]
    monkeypatch.setattr(timinglock, "who_times", lambda: timed[0])
    commands.register_supervisor(store, "elsewhere", 1, 1.0)
    commands.ask_for_timing(store, experiment, {})
    view.choose(experiment)
    told = "the timing of speed waits for experiment 9 of elsewhere.sqlite, which is being timed on this machine"
    qtbot.waitUntil(lambda: view.head.caption.text().endswith(told), timeout=10_000)
    timed[0] = timetable.named(store, other)  # Nothing in the store has changed.
    name = queries.experiment(store, other).name
    qtbot.waitUntil(lambda: f"waits for “{name}”, which" in view.head.caption.text(), timeout=10_000)
    timed[0] = timetable.named(store, experiment)
    qtbot.waitUntil(lambda: view.head.caption.text().endswith("speed is timed next"), timeout=10_000)


def test_a_baseline_that_failed_is_named_with_its_reason_and_can_be_run_again(
    qtbot: QtBot, view: CompareView, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "ensure_supervisor", lambda url: None)
    experiment = samples.submit(store)
    failing, other = samples.start(store), samples.start(store)
    commands.finish_run(store, failing.id, failing.claim, "failed", "The loss is not a number at step 7.", "Lower the learning rate.")
    qtbot.waitUntil(lambda: view.list.current == experiment, timeout=10_000)
    samples.write(store, other, 0, 10)
    samples.finish(store, other, perplexity=90.0, speed=5000.0, memory=300.0)
    qtbot.waitUntil(lambda: bool(view.missing.text), timeout=10_000)
    told = view.missing.text
    assert all(part in told for part in ('"full"', "run 1", "seed 0", "not a number at step 7", "Lower the learning rate"))
    assert told not in overview(view).warnings.text
    view.missing._action.click()
    qtbot.waitUntil(lambda: queries.run(store, failing.id).status == "queued", timeout=10_000)
    assert queries.run(store, other.id).status == "done"
    again = samples.start(store)
    samples.finish(store, again, perplexity=100.0, speed=5000.0, memory=300.0)
    qtbot.waitUntil(lambda: not view.missing.text and view.comparison is not None, timeout=10_000)


def test_that_no_run_finished_is_said_with_the_reason(qtbot: QtBot, view: CompareView, store: Store) -> None:
    samples.submit(store)
    for _ in range(2):
        run = samples.start(store)
        commands.finish_run(store, run.id, run.claim, "failed", "There is no text here.", "Choose a file.")
    qtbot.waitUntil(lambda: "There is no text here. Choose a file." in view.empty._text.text(), timeout=10_000)
    assert "1 more" in view.empty._text.text()


def test_parts_are_made_only_when_they_are_shown(qtbot: QtBot, view: CompareView, store: Store) -> None:
    samples.finished(store)
    qtbot.waitUntil(lambda: view.comparison is not None, timeout=10_000)
    assert set(view.tabs.parts) == {"overview"}
    view.tabs.go("tradeoff")
    assert set(view.tabs.parts) == {"overview", "tradeoff"}


def test_tabs_without_anything_to_show_are_hidden_and_come_back(qtbot: QtBot, view: CompareView, store: Store) -> None:
    two = samples.finished(store)
    qtbot.waitUntil(lambda: view.comparison is not None, timeout=10_000)
    view.tabs.go("savings")
    assert view.tabs.offered() == ["overview", "forest", "tradeoff", "parallel", "savings", "why", "plans", "report"]
    alone = samples.finished(store, variants=("full",), name="Alone")
    view.choose(alone)
    qtbot.waitUntil(lambda: view.comparison is not None and view.comparison["experiments"] == [alone], timeout=10_000)
    assert view.tabs.offered() == ["overview", "tradeoff", "plans", "report"]
    assert view.tabs.current in view.tabs.offered()
    view.choose(two)
    qtbot.waitUntil(lambda: view.comparison is not None and view.comparison["experiments"] == [two], timeout=10_000)
    view.tabs.go("savings")
    assert view.tabs.current == "savings"


def test_one_selection_for_all_parts(qtbot: QtBot, view: CompareView, store: Store) -> None:
    samples.finished(store)
    qtbot.waitUntil(lambda: view.comparison is not None, timeout=10_000)
    for key in view.tabs.offered():
        view.tabs.go(key)
    view.tabs.variant.setCurrentIndex(view.tabs.variant.findData("adaptive"))
    view.tabs.variant.activated.emit(0)
    assert overview(view).table.selected_row() == 1
    forest, savings = view.tabs.part("forest"), view.tabs.part("savings")
    assert forest.table.lines[forest.table.currentIndex().row()].variant == "adaptive"  # type: ignore[attr-defined]
    assert savings.details.heading.text() == "adaptive"  # type: ignore[attr-defined]
    assert view.tabs.part("tradeoff").readout.text().startswith("adaptive: ")  # type: ignore[attr-defined]


def test_unfinished_runs_are_waited_for(qtbot: QtBot, view: CompareView, store: Store) -> None:
    samples.submit(store)
    qtbot.waitUntil(lambda: "No variant is done" in view.empty._heading.text(), timeout=10_000)
    run = samples.start(store)
    samples.finish(store, run, perplexity=90.0, speed=1000.0, memory=100.0)
    qtbot.waitUntil(lambda: overview(view).model.rowCount() == 2, timeout=10_000)
    assert "1 of 2 runs" in overview(view).warnings.text


@pytest.mark.parametrize("form", ["html", "markdown", "csv", "json"])
def test_export(qtbot: QtBot, view: CompareView, store: Store, tmp_path: Path, form: str) -> None:
    samples.finished(store)
    qtbot.waitUntil(lambda: view.comparison is not None, timeout=10_000)
    path = tmp_path / f"report.{form}"
    view.export(form, path)
    qtbot.waitUntil(lambda: str(path) in view.notice.text, timeout=20_000)
    text = path.read_text()
    assert "adaptive" in text
    if form == "json":
        assert json.loads(text)["baseline"] == "full"
    if form == "csv":
        assert len(list(csv.reader(text.splitlines()))) > 4


def test_a_place_that_cannot_be_written_is_a_sentence(qtbot: QtBot, view: CompareView, store: Store, tmp_path: Path) -> None:
    samples.finished(store)
    qtbot.waitUntil(lambda: view.comparison is not None, timeout=10_000)
    view.export("csv", tmp_path / "missing" / "x.csv")
    qtbot.waitUntil(lambda: bool(view.notice.text), timeout=10_000)
