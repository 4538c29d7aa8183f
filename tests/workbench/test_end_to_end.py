"""Real window, real supervisor, real worker, real inspector: from Run to the report, and away and back in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from pytestqt.qtbot import QtBot

from engines.store import queries
from engines.store.database import Store
from tests.engines.processes import ended, nothing_left, under_way
from workbench.editor.cost_bar import UNKNOWN
from workbench.window import Window

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_supervisor_left")]

TINY = """
[experiment]
name = "Which head for a tiny LSTM?"
task = "language_model"
corpus = {{ id = "corpora/text_files", train = "text.txt", level = "word", max_vocabulary = 200 }}
budget = {{ {budget} }}
device = "cpu"
threads = 1

[model]
embedding = {{ id = "embeddings/lookup", width = 16 }}
layers = [{{ mixer = {{ id = "recurrent/lstm", width = 16 }} }}]
head = {{ id = "softmax/full" }}

[training]
batch = 4
sequence = 8
techniques = [{{ id = "optimization/adam", lr = 1e-2 }}]

[measure]
evaluations = 2
rounds = 0

[[variant]]
name = "full"

[[variant]]
name = "adaptive"
model.head = {{ id = "softmax/adaptive", cutoffs = [50] }}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[[str], Path]:
    words = [f"word{n % 150}" for n in range(6000)]
    (tmp_path / "text.txt").write_text("\n".join(" ".join(words[n : n + 10]) for n in range(0, len(words), 10)) + "\n")

    def write(budget: str) -> Path:
        path = tmp_path / "tiny.toml"
        path.write_text(TINY.format(budget=budget))
        return path

    return write


def _drawn(window: Window) -> int:
    plot = window.view("runs").board.plot("train/loss")
    return sum(plot.drawn_points(key) for key in plot.keys) if plot else 0


def test_run_watch_compare_export_ask(qtbot: QtBot, make_window: Callable[..., Window], experiment: Callable[[str], Path], tmp_path: Path) -> None:
    window = make_window(experiment_path=experiment("steps = 120"), run=True)
    qtbot.waitUntil(lambda: window.current == "runs", timeout=90_000)
    runs = window.view("runs")
    qtbot.waitUntil(lambda: _drawn(window) > 0, timeout=120_000)
    qtbot.waitUntil(lambda: len(runs.model.runs) == 2 and all(run.status == "done" for run in runs.model.runs), timeout=240_000)
    assert window.desk.store is not None
    assert {row.key for row in queries.series(window.desk.store, runs.model.runs[0].id)} >= {"train/loss", "memory/host_mib"}
    runs.bar.compare_button.click()
    compare = window.view("compare")
    qtbot.waitUntil(lambda: compare.tabs.part("overview").model.rowCount() >= 2, timeout=30_000)
    compare.tabs.go("tradeoff")
    assert set(compare.tabs.part("tradeoff").scatter.points) == {"full", "adaptive"}
    for form in ("html", "markdown", "csv", "json"):
        path = tmp_path / f"report.{form}"
        compare.export(form, path)
        qtbot.waitUntil(lambda path=path: str(path) in compare.notice.text, timeout=60_000)
    assert set(json.loads((tmp_path / "report.json").read_text())["variants"]) == {"full", "adaptive"}
    window.desk.wants_answers.emit(runs.model.runs[0].id)
    ask = window.view("ask")
    qtbot.waitUntil(lambda: ask.runs.currentData() is not None and ask.faces.isEnabled(), timeout=30_000)
    ask.text.prompt.setPlainText("word1 word2")
    ask.text.write_button.click()
    qtbot.waitUntil(lambda: ask.text.text.isVisible() or bool(ask.notice.text), timeout=120_000)
    assert "word1 word2" in ask.text.text.toPlainText(), ask.notice.text
    ask.text.sentence.setPlainText("word3 word4 word5 unheard")
    ask.text.judge_button.click()
    qtbot.waitUntil(lambda: ask.text.verdict.isVisible() or bool(ask.notice.text), timeout=120_000)
    assert "nats over 4 tokens" in ask.text.verdict.text(), ask.notice.text
    ask.tabs.setCurrentIndex(1)
    qtbot.waitUntil(lambda: bool(ask.words.map.words) or bool(ask.notice.text), timeout=120_000)
    ask.words.ask_for("word1")
    qtbot.waitUntil(lambda: bool(ask.words.model.rows) or bool(ask.notice.text), timeout=120_000)
    assert len(ask.words.model.rows) == 10, ask.notice.text
    assert "word1" not in [row["word"] for row in ask.words.model.rows]
    qtbot.waitUntil(lambda: ask.words.map.words[0] == "word1" and len(ask.words.map.words) == 11, timeout=120_000)


def test_close_while_it_runs_come_back_and_stop(qtbot: QtBot, make_window: Callable[..., Window], experiment: Callable[[str], Path]) -> None:
    window = make_window(experiment_path=experiment("seconds = 600"), run=True)
    qtbot.waitUntil(lambda: window.current == "runs" and _drawn(window) > 0, timeout=120_000)
    assert window.desk.store is not None
    first = window.view("runs").model.runs[0]
    window.document.undo.setClean()
    window.close()
    again = make_window()
    again.go("runs")
    qtbot.waitUntil(lambda: _drawn(again) > 0, timeout=30_000)
    runs = again.view("runs")
    assert runs.model.runs[0].id == first.id
    assert runs.model.runs[0].status == "running"
    assert psutil.pid_exists(runs.model.runs[0].pid)
    before = _drawn(again)
    qtbot.waitUntil(lambda: _drawn(again) > before, timeout=30_000)
    pid: Any = runs.model.runs[0].pid
    runs.table.clearSelection()
    runs.bar.stop_button.click()
    qtbot.waitUntil(lambda: all(run.status == "cancelled" for run in runs.model.runs), timeout=60_000)
    qtbot.waitUntil(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, timeout=30_000)
    assert pid != os.getpid()
    assert runs.bar.resume_button.isEnabled()


WINDOW = """
import sys
from pathlib import Path
from PySide6.QtCore import QSettings
from workbench.application import application
from workbench.window import Window
made = application()
settings = QSettings(sys.argv[3], QSettings.Format.IniFormat)
window = Window(store=sys.argv[1], experiment_path=Path(sys.argv[2]), run=True, settings=settings)
window.show()
made.exec()
"""


def test_a_killed_window_changes_nothing_for_its_runs(store_url: str, experiment: Callable[[str], Path], tmp_path: Path) -> None:
    """The run that is live trains on as it did, the next one starts with nobody there, and then all processes leave."""
    steps = 2500
    command = [sys.executable, "-c", WINDOW, store_url, str(experiment(f"steps = {steps}")), str(tmp_path / "window.ini")]
    with nothing_left(store_url), Store.open(store_url) as store:
        window = subprocess.Popen(command, env=os.environ | {"WORKBENCH_LINGER": "0.5"})
        try:
            row = under_way(store, 1, points=20)
            started = psutil.Process(window.pid).children(recursive=True)
        finally:
            window.kill()
            window.wait()
        assert queries.run(store, 1).status == "running"
        for run in (1, 2):
            assert ended(store, run, 120).status == "done"
            assert queries.run(store, run).attempt == 1
            (series,) = [each for each in queries.series(store, run) if each.key == "train/loss"]
            assert queries.points(store, series.id)[0].tolist() == list(range(1, steps + 1))
        assert queries.run(store, 1).pid == row.pid
        _, alive = psutil.wait_procs(started, timeout=20)
        assert not alive


def test_verify_and_deep_problems(qtbot: QtBot, make_window: Callable[..., Window]) -> None:
    window = make_window()
    window.go("catalogue")
    catalogue = window.view("catalogue")
    catalogue.choose("feedforward/dense")
    catalogue.certificates.verify_button.click()
    qtbot.waitUntil(lambda: catalogue.certificates.verify_button.text() == "Verify again", timeout=120_000)
    texts = [catalogue.certificates.statements.itemAt(n).widget().text() for n in range(catalogue.certificates.statements.count())]
    assert any("holds: error" in text for text in texts)
    window.go("experiment")
    window.go("catalogue")
    assert "batch 20, 35 tokens, width 128" in catalogue.certificates.own_button.toolTip()
    catalogue.certificates.own_button.click()
    assert catalogue.certificates.own_button.text() == "Stop"
    qtbot.waitUntil(lambda: not catalogue.certificates.program.running, timeout=120_000)
    assert catalogue.certificates.trial_words.text().startswith("Measured with batch 20")
    window.go("experiment")
    editor = window.view("experiment")
    window.document.edit("x", lambda data: data["model"]["layers"].__setitem__(0, {"mixer": {"id": "attention/full", "heads": 7}}))
    qtbot.waitUntil(lambda: editor.checks.done and bool(editor.all_problems), timeout=120_000)
    assert editor.problems.problems[0].path.startswith("model.layers[0].mixer")
    window.document.undo.undo()
    qtbot.waitUntil(lambda: editor.checks.done and not editor.all_problems, timeout=60_000)
    qtbot.waitUntil(lambda: all(cell.figure.property("role") == "strong" for cell in editor.costs.cells[:3]), timeout=60_000)
    assert all(cell.figure.text() != UNKNOWN for cell in editor.costs.cells[:3])
