"""What a desktop application owes its people: names for every control, text sizes, word of what ended, a desktop entry, names in any script."""

from __future__ import annotations

import html
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QHeaderView,
    QLineEdit,
    QPlainTextEdit,
    QScrollBar,
    QTabBar,
    QTextEdit,
    QWidget,
)
from pytestqt.qtbot import QtBot

from engines.report import writing
from engines.store.database import Store
from workbench import desktop_entry, endings, keys, menus, theme
from workbench.endings import Ending
from workbench.navigation import VIEWS
from workbench.preferences import KEYBOARD, Preferences
from workbench.widgets.surfaces import Empty
from workbench.window import Window

sys.path.insert(0, str(Path(__file__).parent))
import samples

Make = Callable[..., Window]
CONTROLS = (QAbstractButton, QComboBox, QLineEdit, QAbstractSpinBox, QTextEdit, QPlainTextEdit, QAbstractItemView, QAbstractSlider)
NAMES = ("Größe für Ärzte ß", "比较注意力机制的效率", "مقارنة النماذج", "x" * 200, "a <b>& \"q\" 'r' %1 {0}")


# --- Names -------------------------------------------------------------------------------------------------------------------------------------


def nameless(root: QWidget) -> list[str]:
    """Controls below root that a screen reader could only call by their kind, shown or not."""
    found = []
    for kind in CONTROLS:
        for widget in root.findChildren(kind):
            inner = widget.parentWidget()
            part = isinstance(inner, (QAbstractSpinBox, QAbstractItemView, QTabBar)) or widget.objectName().startswith("qt_")
            offered = inner is not None and isinstance(inner.parentWidget(), QComboBox)  # The list that a choice opens.
            unused = isinstance(inner, Empty) and widget.isHidden()  # An empty page without anything to do.
            if part or offered or unused or isinstance(inner, QComboBox) or isinstance(widget, (QScrollBar, QHeaderView)):
                continue
            text = widget.text() if isinstance(widget, QAbstractButton) else ""
            if not (widget.accessibleName() or text or (inner is not None and inner.accessibleName())):
                found.append(f"{type(widget).__name__} in {type(inner).__name__}")
    return found


def test_every_control_of_every_view_has_a_name(qtbot: QtBot, make_window: Make) -> None:
    window = make_window()
    assert window.desk.store is not None
    experiment = samples.finished(window.desk.store)
    window.desk.wants_runs.emit(experiment)
    qtbot.waitUntil(lambda: window.view("runs").model.rowCount() == 2, timeout=10_000)
    window.desk.wants_comparison.emit(experiment)
    qtbot.waitUntil(lambda: window.view("compare").comparison is not None, timeout=10_000)
    assert {key: nameless(window.view(key)) for key, *_ in VIEWS} == {key: [] for key, *_ in VIEWS}


# --- Text size ---------------------------------------------------------------------------------------------------------------------------------


def test_text_sizes_step_and_are_remembered(qtbot: QtBot, make_window: Make, qapp: QApplication) -> None:
    window = make_window()
    before = qapp.font().pointSizeF()
    window.activateWindow()
    try:
        qtbot.keyClick(window, Qt.Key.Key_Plus, Qt.KeyboardModifier.ControlModifier)
        qtbot.keyClick(window, Qt.Key.Key_Equal, Qt.KeyboardModifier.ControlModifier)
        assert window.appearance.text_size == 125
        assert qapp.font().pointSizeF() == pytest.approx(before * 1.25)
        assert window.menuBar().fontInfo().pointSizeF() == pytest.approx(before * 1.25, rel=0.05)
        assert int(window.settings.value("text_size")) == 125
        qtbot.keyClick(window, Qt.Key.Key_Minus, Qt.KeyboardModifier.ControlModifier)
        assert window.appearance.text_size == 110
    finally:
        qtbot.keyClick(window, Qt.Key.Key_0, Qt.KeyboardModifier.ControlModifier)
    assert qapp.font().pointSizeF() == pytest.approx(before)
    assert theme.neighbour(160, 1) == 160
    assert theme.neighbour(80, -1) == 80


def test_the_list_of_shortcuts_holds_every_one_of_them(make_window: Make) -> None:
    window = make_window()
    window.go("experiment")
    listed = {key for _what, keys in menus.shortcuts(window) for key in keys.split(", ")}
    there = {key.toString() for action in window.findChildren(type(window.edit_menu.actions()[0])) for key in action.shortcuts() if key.toString()}
    assert {"Ctrl+0", "Ctrl++", "Ctrl+-", "Ctrl+K", "F1"} <= listed
    assert {key for key in there if key.startswith(("Ctrl", "F"))} <= listed


def test_the_list_of_shortcuts_is_no_higher_than_a_small_window(make_window: Make, qapp: QApplication) -> None:
    window = make_window()
    window.resize(1280, 800)
    seen: list[tuple[int, int]] = []

    def look() -> None:
        box = qapp.activeModalWidget()
        assert box is not None
        seen.append((box.height(), window.height()))
        box.close()

    QTimer.singleShot(0, look)
    menus.show_shortcuts(window)
    [(height, room)] = seen
    assert height < room


def test_keys_are_chosen_refused_and_given_back(qtbot: QtBot, make_window: Make) -> None:
    window = make_window()
    window.go("experiment")
    found = dict(keys.actions(window.menuBar()))
    save, side = found["Save"], found["Variants side by side"]
    box = Preferences(window, KEYBOARD)
    qtbot.addWidget(box)
    table = box.keyboard.table

    def press(name: str, text: str) -> str:
        table.setCurrentCell(list(found).index(name), 0)
        box.keyboard.edit.setKeySequence(QKeySequence(text))
        box.keyboard.edit.editingFinished.emit()
        return box.keyboard.told.text()

    assert "belongs to “Save”" in press("Variants side by side", "Ctrl+S")
    assert "taken from what you type" in press("Variants side by side", "B")
    assert keys.words(side) == "Ctrl+Shift+B"
    press("Variants side by side", "Ctrl+Alt+B")
    assert keys.words(side) == "Ctrl+Alt+B"
    press("Save", "")
    assert keys.words(save) == ""
    second = make_window()
    second.go("experiment")
    kept = dict(keys.actions(second.menuBar()))
    assert (keys.words(kept["Variants side by side"]), keys.words(kept["Save"])) == ("Ctrl+Alt+B", "")
    box.keyboard.search.setText("undo")
    assert [table.item(row, 0).text() for row in range(table.rowCount()) if not table.isRowHidden(row)] == ["Undo"]
    box.keyboard.all_back.click()
    assert (keys.words(side), keys.words(save)) == ("Ctrl+Shift+B", "Ctrl+S")


def test_settings_change_the_look_at_once(qtbot: QtBot, make_window: Make) -> None:
    window = make_window()
    box = Preferences(window)
    qtbot.addWidget(box)
    box.theme.setCurrentIndex(box.theme.findData("dark"))
    box.theme.activated.emit(box.theme.currentIndex())
    assert window.desk.theme.name == "dark"
    dict(keys.actions(window.menuBar()))["Theme: Switch between light and dark"].trigger()
    assert window.desk.theme.name == "light"


@pytest.mark.parametrize("percent", [100, *(pytest.param(percent, marks=pytest.mark.slow) for percent in (140, 160))])
def test_in_the_smallest_window_nothing_is_cut_at_any_size_of_text(qtbot: QtBot, make_window: Make, percent: int) -> None:
    window = make_window()
    window.appearance.choose_text_size(percent)
    try:
        window.resize(window.minimumSize())
        for key, *_ in VIEWS:
            window.go(key)
            QApplication.processEvents()
            assert window.size() == window.minimumSize(), f"{key} makes the window larger"
        button = window.navigation["experiment"]
        assert button.height() >= button.minimumSizeHint().height() or button.toolButtonStyle() == Qt.ToolButtonStyle.ToolButtonIconOnly
        last = window.navigation["machine"]
        assert last.geometry().bottom() <= last.parentWidget().height()
        window.go("experiment")
        name = window.view("experiment").bar.name
        qtbot.waitUntil(lambda: name.height() >= name.minimumSizeHint().height(), timeout=5_000)
    finally:
        window.appearance.choose_text_size(100)


# --- The curves' colours -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["light", "dark"])
def test_curve_colours_stand_out_from_the_page(name: str) -> None:
    colours = theme.theme(name)
    assert len(set(colours.series)) == len(colours.series)
    assert all(_contrast(colour, colours.surface) >= 2.0 for colour in colours.series)
    assert all(_contrast(colour, colours.surface) >= 4.5 for colour in (colours.text, colours.muted, colours.accent, colours.danger, colours.ok))


def _contrast(one: str, other: str) -> float:
    """WCAG 2's ratio of relative luminances."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


# --- What ended --------------------------------------------------------------------------------------------------------------------------------


def test_the_end_of_an_experiments_last_run_is_told_once(store_url: str) -> None:
    with Store.open(store_url) as store:
        experiment = samples.submit(store, name="Läuft es?")
        under_way, ended = endings.read(store, {})
        assert (under_way, ended) == ({experiment: {1, 2}}, [])
        samples.finish(store, samples.start(store), perplexity=1.0, speed=1.0, memory=1.0)
        under_way, ended = endings.read(store, under_way)
        assert (under_way, ended) == ({experiment: {1, 2}}, [])
        samples.finish(store, samples.start(store), perplexity=1.0, speed=1.0, memory=1.0)
        under_way, ended = endings.read(store, under_way)
        assert (under_way, ended) == ({}, [Ending(experiment, "Läuft es?", {"done": 2})])
        assert endings.read(store, under_way) == ({}, [])


def test_the_window_says_what_ended(qtbot: QtBot, make_window: Make) -> None:
    window = make_window()
    window._endings.tell(Ending(1, "Which head?", {"failed": 1, "done": 3}))
    assert window._message.text() == "Which head?. Runs ended: 3 done, 1 failed"


# --- The desktop -------------------------------------------------------------------------------------------------------------------------------


def test_the_desktop_entry_is_written_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = desktop_entry.install()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "[Desktop Entry]"
    assert f'Exec="{sys.executable}" -m workbench' in lines
    assert (tmp_path / "icons/hicolor/scalable/apps/efficiency-workbench.svg").stat().st_size > 100
    assert path in desktop_entry.remove()
    assert desktop_entry.remove() == []
    assert 'Exec="/a b/\\\\$%%" -m workbench' in desktop_entry.text("/a b/$%")


def test_an_unknown_word_is_refused() -> None:
    done = subprocess.run([sys.executable, "-m", "workbench", "desktop-entry", "--now"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "takes --remove or nothing" in done.stderr


# --- Names in any script -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_names_in_any_script_break_nothing(qtbot: QtBot, make_window: Make, tmp_path: Path) -> None:
    window = make_window()
    assert window.desk.store is not None
    wanted = {samples.finished(window.desk.store, name=name, variants=(f"{name[:190]} 1", f"{name[:190]} 2")): name for name in NAMES}
    runs, compare = window.view("runs"), window.view("compare")
    for experiment, name in wanted.items():
        window.desk.wants_runs.emit(experiment)
        qtbot.waitUntil(lambda experiment=experiment: runs.bar.title.text() == wanted[experiment], timeout=10_000)
        assert {run.variant for run in runs.model.runs} == {f"{name[:190]} 1", f"{name[:190]} 2"}
        window.desk.wants_comparison.emit(experiment)
        qtbot.waitUntil(lambda: compare.comparison is not None and compare.tabs.part("overview").model.rowCount() == 2, timeout=10_000)
        window.document.edit("name", lambda data, name=name: data["experiment"].__setitem__("name", name))
        for key in ("start", "experiment", "runs", "compare"):
            window.go(key)
            QApplication.processEvents()
            assert window.width() <= 1280, f"{key} was widened by {name}"
        window.document.save(tmp_path / "any.toml")
        window.document.open(tmp_path / "any.toml")
        assert window.document.data["experiment"]["name"] == name
        page = writing.text(window.desk.store, [experiment], "html")
        assert html.escape(name, quote=False).replace('"', "&#34;").replace("'", "&#39;") in page
        assert "<b>& " not in page
