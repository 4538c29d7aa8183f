"""Unsaved edits outlive a killed window, and only a killed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engines.experiment import load
from workbench.editor.document import Document
from workbench.editor.journal import Journal, folder_of, left_behind
from workbench.editor.recovery_bar import RecoveryBar
from workbench.window import Window

FILE = """# Kept
[experiment]
name = "small"
task = "language_model"
corpus = { id = "corpora/python_stdlib" }
budget = { tokens = 1000 }

[model]
embedding = { id = "embeddings/lookup", width = 8 }
layers = [{ mixer = { id = "recurrent/lstm" } }]
head = { id = "softmax/full" }

[[variant]]
name = "one"
"""

EDITING = """
import sys
from pathlib import Path
from PySide6.QtCore import QSettings, QTimer
from workbench.editor.journal import folder_of
from workbench.application import application
from workbench.window import Window

made, (store, settings, path) = application(), sys.argv[1:]
window = Window(store=store, experiment_path=Path(path), settings=QSettings(settings, QSettings.Format.IniFormat))
window.show()

def look():
    if list(folder_of(store).glob("*.json")):
        print("written", flush=True)
    elif window.desk.store is not None and window.document.path is not None and not window.document.dirty:
        window.document.edit("Width", lambda data: data["model"]["embedding"].__setitem__("width", 24))

timer = QTimer()
timer.timeout.connect(look)
timer.start(50)
made.exec()
"""


def rename(document: Document, name: str) -> None:
    document.edit("Rename", lambda data: data["experiment"].__setitem__("name", name), "name")


@pytest.fixture
def document(qapp: QApplication) -> Document:
    return Document()


@pytest.fixture
def keep(document: Document, store_url: str) -> Iterator[Journal]:
    made = Journal(document, store_url)
    yield made
    made.close()


def in_folder(store_url: str) -> list[str]:
    return sorted(path.suffix for path in folder_of(store_url).glob("*"))


def test_edits_are_written_once_a_second_and_saving_removes_them(
    qtbot: QtBot, document: Document, keep: Journal, store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(keep, "_write", lambda record: (asked.append(len(asked)), Journal._write(keep, record)))
    for number in range(50):
        rename(document, f"name {number}")
    assert not folder_of(store_url).exists()  # Nothing was written while it was edited.
    qtbot.waitUntil(lambda: ".json" in in_folder(store_url), timeout=5000)
    assert asked == [0]
    record = json.loads(next(folder_of(store_url).glob("*.json")).read_text(encoding="utf-8"))
    assert record["data"] == document.data
    assert record["data"]["experiment"]["name"] == "name 49"
    document.save(tmp_path / "saved.toml")
    qtbot.waitUntil(lambda: in_folder(store_url) == [], timeout=5000)


@pytest.mark.parametrize("how", ["undo", "another"])
def test_what_is_no_longer_unsaved_is_not_kept(qtbot: QtBot, document: Document, keep: Journal, store_url: str, how: str) -> None:
    rename(document, "x")
    keep.write()
    qtbot.waitUntil(lambda: ".json" in in_folder(store_url), timeout=5000)
    if how == "undo":
        document.undo.undo()
    else:
        document.start_new()
    qtbot.waitUntil(lambda: in_folder(store_url) == [], timeout=5000)


def test_the_work_of_a_live_window_is_not_offered(qtbot: QtBot, document: Document, store_url: str) -> None:
    live = Journal(document, store_url)
    rename(document, "Größe ß 比较")
    live.write()
    qtbot.waitUntil(lambda: ".json" in in_folder(store_url), timeout=5000)
    assert left_behind(store_url) == ([], [])
    assert live._lock is not None
    live._lock.release()  # As the system does when the process dies.
    (found,), wrong = left_behind(store_url)
    assert wrong == []
    assert (found.name, found.data, found.path) == ("Größe ß 比较", document.data, None)
    assert left_behind(store_url) == ([], [])  # Another window looks while this one asks.
    found.keep()
    (again,), _ = left_behind(store_url)
    again.drop()
    assert in_folder(store_url) == []
    live.close()


def test_a_file_that_cannot_be_read_is_set_aside_and_named(store_url: str) -> None:
    folder = folder_of(store_url)
    folder.mkdir(parents=True)
    for name, text in (("a", "{"), ("b", '{"format": 99}')):
        (folder / f"{name}.json").write_text(text)
    found, wrong = left_behind(store_url)
    assert found == []
    assert ["a.unreadable" in wrong[0], "b.unreadable" in wrong[1], "format 99" in wrong[1]] == [True] * 3
    assert in_folder(store_url) == [".unreadable", ".unreadable"]
    assert left_behind(store_url) == ([], [])


def test_what_cannot_be_written_is_said_once(qtbot: QtBot, document: Document, keep: Journal, store_url: str) -> None:
    folder_of(store_url).parent.mkdir(parents=True)
    folder_of(store_url).write_text("a file in the way")
    said: list[str] = []
    keep.failed.connect(said.append)
    for name in ("a", "b"):
        rename(document, name)
        with qtbot.waitSignal(keep._errands._finished, timeout=5000):
            keep.write()
    assert len(said) == 1
    assert "Save the experiment" in said[0]


def test_a_bundle_is_not_written_into(tmp_path: Path) -> None:
    assert tmp_path not in folder_of(str(tmp_path / "any.workbench")).parents


def test_the_bar_offers_one_after_the_other_and_tells_an_overtaken_file(qtbot: QtBot, document: Document, store_url: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    document.open(path)
    for name in ("first", "second"):
        journal = Journal(document, store_url)
        rename(document, name)
        journal.write()
        qtbot.waitUntil(lambda journal=journal: journal._path is not None and journal._path.exists(), timeout=5000)
        assert journal._lock is not None
        journal._lock.release()
        journal._path = journal._lock = None
        journal.close()
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 100))
    found, _ = left_behind(store_url)
    bar = RecoveryBar()
    qtbot.addWidget(bar)
    bar.offer(found)
    assert [each.data["experiment"]["name"] for each in bar.offers] == ["second", "first"]
    assert "“mine.toml” was not saved" in bar.text.text()
    assert "1 more" in bar.text.text()
    assert "written to after that" in bar.text.text()
    with qtbot.waitSignal(bar.discarded) as asked:
        bar.discard.click()
    asked.args[0].drop()
    bar.done(asked.args[0])
    assert not bar.isHidden()
    bar.later.click()
    assert bar.isHidden()
    (kept,), _ = left_behind(store_url)
    assert kept.data["experiment"]["name"] == "first"
    kept.drop()


@pytest.mark.slow
def test_a_killed_window_loses_nothing(
    qtbot: QtBot, make_window: Callable[..., Window], store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    command = [sys.executable, "-c", EDITING, store_url, str(tmp_path / "other.ini"), str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        output = cast(IO[str], child.stdout)
        watchdog = threading.Timer(60, child.kill)
        watchdog.start()
        assert output.readline() == "written\n"
        watchdog.cancel()
        assert left_behind(store_url) == ([], [])  # It lives.
        os.kill(child.pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    finally:
        child.kill()
        child.wait(timeout=10)
    assert "width = 8" in path.read_text()
    window = make_window()
    bar = window.recovery.bar
    qtbot.waitUntil(bar.isVisible, timeout=10_000)
    assert "“mine.toml” was not saved" in bar.text.text()
    bar.restore.click()
    qtbot.waitUntil(bar.isHidden, timeout=10_000)
    assert window.current == "experiment"
    assert window.document.path == path
    assert window.document.data["model"]["embedding"]["width"] == 24
    assert window.document.dirty
    assert window.windowTitle().startswith("● mine.toml")
    assert left_behind(store_url) == ([], [])  # It is this window's own now.
    window.document.save(path)
    assert load(path).data["model"]["embedding"]["width"] == 24
    assert "# Kept" in path.read_text()
    assert not window.document.dirty
    qtbot.waitUntil(lambda: in_folder(store_url) == [], timeout=5000)
    rename(window.document, "given up")
    qtbot.waitUntil(lambda: ".json" in in_folder(store_url), timeout=5000)
    window.document.undo.undo()
    qtbot.waitUntil(lambda: in_folder(store_url) == [], timeout=5000)
    assert window.close()
    assert in_folder(store_url) == []
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
