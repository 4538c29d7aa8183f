"""The window as a whole: start, keys, files, themes, closing; and what it must never load."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QApplication, QMessageBox, QSplitter
from pytestqt.qtbot import QtBot

from engines.experiment import load
from workbench import menus, openings, palette
from workbench.__main__ import main
from workbench.application import keep_collections_short
from workbench.editor.document import Document
from workbench.editor.journal import folder_of, left_behind
from workbench.inspector import Inspector
from workbench.navigation import VIEWS
from workbench.window import Window

sys.path.insert(0, str(Path(__file__).parent))
import samples

Make = Callable[..., Window]
KEYS = [key for key, *_ in VIEWS]


def test_every_view_opens(qtbot: QtBot, make_window: Make) -> None:
    window = make_window()
    for key in reversed(KEYS):
        window.navigation[key].click()
        assert window.current == key
        assert window.navigation[key].isChecked()
        qtbot.wait(50)


def test_the_view_and_the_place_are_remembered(make_window: Make, settings: QSettings) -> None:
    window = make_window()
    window.go("catalogue")
    window.resize(1111, 777)
    window.close()
    assert settings.value("view") == "catalogue"
    assert settings.value("geometry") is not None


@pytest.mark.slow
def test_the_widths_of_columns_are_remembered(make_window: Make) -> None:
    for key in ("runs", "catalogue"):
        window = make_window()
        window.go(key)
        columns = window.view(key).findChild(QSplitter)
        before = columns.sizes()[0]
        columns.setSizes([before + 150, columns.width() - before - 150])
        window.close()
        second = make_window()
        second.go(key)
        assert second.view(key).findChild(QSplitter).sizes()[0] > before + 50  # No wider than what stands beside it allows on a smaller screen.


def test_keys_lead_to_views(qtbot: QtBot, make_window: Make) -> None:
    window = make_window()
    window.activateWindow()
    qtbot.keyClick(window, str(1 + KEYS.index("catalogue")), Qt.KeyboardModifier.ControlModifier)
    assert window.current == "catalogue"
    qtbot.keyClick(window, Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
    assert window.current == KEYS[0]


def test_the_navigation_fits_the_smallest_window(qtbot: QtBot, make_window: Make) -> None:
    window = make_window()
    window.resize(window.minimumSize())
    qtbot.waitUntil(lambda: window.size() == window.minimumSize(), timeout=10_000)
    last = window.navigation[KEYS[-1]]
    assert last.height() >= 48
    assert last.geometry().bottom() <= last.parentWidget().height()


def test_every_shortcut_is_used_once(make_window: Make) -> None:
    window = make_window()
    window.go("experiment")
    keys = [key for _what, keys in menus.shortcuts(window) for key in keys.split(", ")]
    assert len(keys) == len(set(keys)) > 15
    assert {"Ctrl+Return", "Ctrl+S", "Ctrl+O", "Ctrl+N", "Ctrl+D", "F2", "Ctrl+Z"} <= set(keys)


@pytest.mark.parametrize("choice", ["light", "dark"])
def test_themes(make_window: Make, qapp: QApplication, choice: Any) -> None:
    window = make_window()
    for key in KEYS:
        window.go(key)
    window.appearance.choose_theme(choice)
    assert window.desk.theme.name == choice
    assert window.desk.theme.window in qapp.styleSheet()
    assert window.settings.value("theme") == choice


def test_a_file_is_opened_edited_and_saved(qtbot: QtBot, make_window: Make, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    make = Path(__file__).parents[2] / "resources" / "experiments" / "demo.toml"
    path.write_text(make.read_text())
    window = make_window(experiment_path=path)
    qtbot.waitUntil(lambda: window.document.path == path, timeout=10_000)
    window.document.edit("x", lambda data: data["experiment"].__setitem__("name", "Mine"))
    assert window.windowTitle().startswith("● mine.toml")
    assert menus.save(window)
    assert 'name = "Mine"' in path.read_text()
    assert window.windowTitle().startswith("mine.toml")
    assert str(path) in window.settings.value("recent")


def test_a_broken_file_is_a_sentence_in_place(qtbot: QtBot, make_window: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = [")
    window = make_window(experiment_path=tmp_path / "bad.toml")
    qtbot.waitUntil(lambda: "not valid TOML" in window.view("experiment").notice.text, timeout=10_000)


def test_closing_asks_nothing_and_the_next_window_goes_on(qtbot: QtBot, make_window: Make, monkeypatch: pytest.MonkeyPatch, store_url: str) -> None:
    asked: list[str] = []
    monkeypatch.setattr(QMessageBox, "exec", lambda self: asked.append(self.text()))
    window = make_window()
    window.document.edit("x", lambda data: data["experiment"].__setitem__("name", "Mine"))
    assert window.close()
    second = make_window()
    qtbot.waitUntil(lambda: second.document.dirty, timeout=10_000)
    assert second.document.data["experiment"]["name"] == "Mine"
    assert second.recovery.bar.isHidden()
    qtbot.waitUntil(lambda: len(list(folder_of(store_url).glob("*.json"))) == 1, timeout=10_000)
    assert left_behind(store_url) == ([], [])  # They are its own now.
    assert asked == []


def test_changes_that_cannot_be_written_down_are_asked_about(make_window: Make, monkeypatch: pytest.MonkeyPatch, store_url: str) -> None:
    folder_of(store_url).parent.mkdir(parents=True, exist_ok=True)
    folder_of(store_url).write_text("a file in the way")
    window = make_window()
    window.document.edit("x", lambda data: data["experiment"].__setitem__("name", "Mine"))
    monkeypatch.setattr(QMessageBox, "exec", lambda self: QMessageBox.StandardButton.Cancel)
    assert not window.close()
    assert window.isVisible()
    monkeypatch.setattr(QMessageBox, "exec", lambda self: QMessageBox.StandardButton.Discard)
    assert window.close()


def test_every_example_opens_without_a_problem(make_window: Make) -> None:
    window = make_window()
    for path in sorted((menus.RESOURCES / "experiments").glob("*.toml")):
        openings.open_example(window, path)
        here = [problem for problem in window.view("experiment").all_problems if problem.rule != "cannot run on this machine"]
        assert here == [], path.name
        assert window.document.path is None


def test_run_with_problems_leads_to_the_first(make_window: Make) -> None:
    window = make_window()
    window.go("catalogue")
    window.document.edit("x", lambda data: data["model"]["head"].__setitem__("id", "softmax/adaptve"))
    window.start_run(False)
    assert window.current == "experiment"
    assert "cannot run yet" in window.view("experiment").notice.text


def test_the_views_lead_to_each_other(qtbot: QtBot, make_window: Make) -> None:
    window = make_window()
    assert window.desk.store is not None
    experiment = samples.finished(window.desk.store)
    window.desk.wants_runs.emit(experiment)
    qtbot.waitUntil(lambda: window.view("runs").model.rowCount() == 2, timeout=10_000)
    window.view("runs").bar.compare_button.click()
    qtbot.waitUntil(lambda: window.view("compare").tabs.part("overview").model.rowCount() == 2, timeout=10_000)
    assert window.current == "compare"
    window.desk.wants_answers.emit(1)
    qtbot.waitUntil(lambda: window.view("ask").runs.currentData() == 1, timeout=10_000)
    window.desk.wants_profile.emit(2)
    qtbot.waitUntil(lambda: window.view("profile").bar.run == 2, timeout=10_000)
    assert window.current == "profile"
    window.desk.wants_card.emit("softmax/adaptive")
    assert window.view("catalogue").title.text() == "Adaptive softmax"
    assert window.view("catalogue").back_button.isHidden()
    assert window.view("catalogue").card.accessibleName() == window.desk.catalogue["plugins"]["softmax/adaptive"]["card"]
    window.view("catalogue").use_button.click()
    assert window.current == "experiment"
    assert window.document.data["model"]["head"] == {"id": "softmax/adaptive"}
    window.desk.wants_card_beside.emit("softmax/adaptive")
    window.view("experiment").side.card.page_button.click()
    assert window.current == "catalogue"
    window.view("catalogue").back_button.click()
    assert window.current == "experiment"
    assert window.view("experiment").side.card.plugin_id == "softmax/adaptive"
    window.document.undo.setClean()
    window.desk.wants_experiment.emit(experiment)
    qtbot.waitUntil(lambda: window.document.data["experiment"]["name"] == "Which head?", timeout=10_000)


@pytest.mark.slow
def test_collections_pass_over_what_stays(qtbot: QtBot, make_window: Make) -> None:
    window = make_window()
    keep_collections_short(window)
    gc.unfreeze()
    try:
        window.go("catalogue")
        qtbot.waitUntil(lambda: gc.get_freeze_count() > 10_000, timeout=10_000)
        kept = gc.get_freeze_count()
        window.go("start")
        window.go("catalogue")
        qtbot.wait(50)
        assert gc.get_freeze_count() <= kept  # Nothing more is set aside when a view is only shown again.
        kept, new = gc.get_freeze_count(), [[] for _ in range(1000)]
        window.desk.catalogue_ready.emit(window.desk.catalogue)
        assert gc.get_freeze_count() > kept + len(new) // 2
    finally:
        gc.unfreeze()


def test_the_catalogue_can_be_searched(make_window: Make) -> None:
    window = make_window()
    window.go("catalogue")
    view = window.view("catalogue")
    view.search.setText("press wolf tied")
    shown = [item.data(0, Qt.ItemDataRole.UserRole) for item in view._items() if not item.isHidden()]
    assert shown == ["softmax/full"]
    view.search.setText("no such thing anywhere")
    assert view._none.isVisible()


def test_buttons_and_inputs_have_names(make_window: Make) -> None:
    from PySide6.QtWidgets import QAbstractButton, QComboBox, QLineEdit

    window = make_window()
    for key in KEYS:
        window.go(key)
        for kind in (QAbstractButton, QComboBox, QLineEdit):
            for widget in window.view(key).findChildren(kind):
                if widget.isHidden():
                    continue
                text = widget.text() if isinstance(widget, QAbstractButton) else ""
                inner = widget.parentWidget()
                named = widget.accessibleName() or text or (inner is not None and inner.accessibleName())
                assert named or widget.objectName().startswith("qt_"), f"{key}: {type(widget).__name__} without a name"


def test_importing_the_window_loads_neither_torch_nor_sql() -> None:
    check = "import sys, workbench.window, workbench.views.editor; print([m for m in ('torch', 'sqlalchemy', 'pyqtgraph') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_views_without_torch() -> None:
    views = ", ".join(f"workbench.views.{key}" for key in KEYS if key != "experiment")
    check = f"import sys, {views}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- The line to the inspector --------------------------------------------------------------------------------------------------------------

ECHO = """
import json, sys
for line in sys.stdin:
    question = json.loads(line)
    print("noise of a library", flush=True)
    if question["ask"] == "die":
        print("out of luck", file=sys.stderr, flush=True); sys.exit(3)
    reply = {"error": "No."} if question["ask"] == "refuse" else {"answer": question["value"]}
    print(json.dumps({"id": question["id"], **reply}), flush=True)
"""


@pytest.fixture
def inspector(qtbot: QtBot) -> Any:
    made = Inspector(command=[sys.executable, "-c", ECHO])
    yield made
    made.close()


def test_questions_are_answered_refused_and_survive_a_crash(qtbot: QtBot, inspector: Inspector) -> None:
    got: list[Any] = []
    inspector.ask("echo", got.append, got.append, value=[1, 2])
    inspector.ask("refuse", got.append, got.append)
    qtbot.waitUntil(lambda: len(got) == 2, timeout=10_000)
    assert got == [[1, 2], "No."]
    inspector.ask("die", got.append, got.append)
    qtbot.waitUntil(lambda: len(got) == 3, timeout=10_000)
    assert "ended before it answered" in got[2]
    assert "out of luck" in got[2]
    inspector.ask("echo", got.append, got.append, value="again")
    qtbot.waitUntil(lambda: got[-1] == "again", timeout=10_000)


def test_a_forgotten_question_is_not_answered(qtbot: QtBot, inspector: Inspector) -> None:
    got: list[Any] = []
    inspector.forget(inspector.ask("echo", got.append, got.append, value=1))
    inspector.ask("echo", got.append, got.append, value=2)
    qtbot.waitUntil(lambda: got == [2], timeout=10_000)


def test_a_program_that_is_missing_is_a_sentence(qtbot: QtBot) -> None:
    got: list[str] = []
    inspector = Inspector(command=["/nowhere/python"])
    inspector.ask("echo", got.append, got.append)
    qtbot.waitUntil(lambda: len(got) == 1, timeout=10_000)
    inspector.close()


def test_a_bundle_is_opened_read_only(
    qtbot: QtBot, make_window: Make, store_url: str, tmp_path: Path, settings: QSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.store import bundles
    from engines.store.database import Store

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Store.open(store_url) as store:
        number = samples.finished(store)
        path = bundles.pack(store, number, tmp_path / "for you.workbench").path
    window = make_window(store=str(path))
    assert window.desk.store is not None
    assert window.desk.store.read_only
    assert window.windowTitle().startswith("for you (read-only)")
    assert "Read-only" in window.supervisor_state.text()
    window.go("runs")
    qtbot.waitUntil(lambda: window.view("runs").list.current == number, timeout=10_000)
    assert "opened read-only" in window.notice.text
    window.start_run(False)
    assert "opened read-only" in window.view("experiment").notice.text
    # The editor shows the experiment of the bundle.
    qtbot.waitUntil(lambda: window.document.data["experiment"]["name"] == "Which head?", timeout=10_000)
    started: list[list[str]] = []
    monkeypatch.setattr(openings.QProcess, "startDetached", lambda program, words: bool(started.append(words)) or True)
    window.view("experiment").notice._action.click()
    window.notice._action.click()
    assert any(entry.name == "Copy the bundle as a new experiment" for entry in palette._actions(window))
    window.copy_action.trigger()
    assert started == [["-m", "workbench", "open", str(path), "--copy"]] * 3
    assert settings.value("last") is None


def test_the_experiment_of_a_bundle_is_copied_as_a_draft_of_ones_own(
    qtbot: QtBot, make_window: Make, store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.store import bundles, commands
    from engines.store.database import Store

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    example = menus.RESOURCES / "experiments" / "demo.toml"
    loaded = load(example)
    with Store.open(str(tmp_path / "theirs.sqlite")) as store:
        variants = [{"name": "a", "plan": {}, "baseline": True, "needs": []}]
        number = commands.submit(
            store, name=loaded.data["experiment"]["name"], digest="0" * 64, text=loaded.text, document=loaded.data,
            folder=str(tmp_path / "not here"), variants=variants, seeds=[0], smoke=False,
        )  # fmt: skip
        commands.request_cancel(store, [1])
        path = bundles.pack(store, number, tmp_path / "theirs.workbench").path
    window = make_window(copy_of=path)
    qtbot.waitUntil(lambda: window.document.dirty, timeout=10_000)
    assert window.current == "experiment"
    assert window.document.data == loaded.data
    assert (window.document.path, window.desk.store.read_only) == (None, False)
    assert not window.copy_action.isEnabled()
    window.document.save(tmp_path / "mine.toml")
    assert (tmp_path / "mine.toml").read_text() == example.read_text()  # With its comments.


def test_the_command_line_opens_a_bundle_or_a_copy_of_its_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "given.workbench"
    path.touch()
    opened: list[dict[str, Any]] = []
    monkeypatch.setattr("workbench.application.main", lambda _argv, **given: bool(opened.append(given)) or 0)
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["open", str(path)]) == main(["open", str(path), "--copy"]) == 0
    assert opened == [{"store": str(path)}, {"copy_of": path}]
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert main(["open", str(path), "--copy"]) == 2  # Said in the terminal: there is no display for a window.
    assert len(opened) == 2


@pytest.mark.slow
def test_what_was_opened_last_stands_in_the_next_window(qtbot: QtBot, make_window: Make, tmp_path: Path, settings: QSettings) -> None:
    example = menus.RESOURCES / "experiments" / "pruning.toml"
    window = make_window()
    openings.open_example(window, example)
    killed = make_window()  # The first was not closed: as after a kill, only what is written at once is known.
    assert killed.current == "experiment"
    assert (killed.document.name, killed.document.path, killed.document.dirty) == (window.document.name, None, False)
    assert killed.recovery.bar.offers == []
    path = tmp_path / "mine.toml"
    path.write_text(example.read_text())
    openings.open_path(window, path)
    assert make_window().document.path == path
    assert window.desk.store is not None
    window.desk.wants_experiment.emit(samples.submit(window.desk.store, name="Stored?"))
    qtbot.waitUntil(lambda: window.document.name == "Stored?", timeout=10_000)
    again = make_window()
    qtbot.waitUntil(lambda: again.document.name == "Stored?", timeout=10_000)
    openings.open_path(window, path)
    path.unlink()
    gone = make_window()
    assert gone.document.name == Document().name
    assert "could not be opened again" in gone._message.text()
    menus.new(window)
    assert settings.value("last") == ""
