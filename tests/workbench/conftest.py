"""A window of its own for each test, and the check that it leaves neither threads nor timers behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QSettings
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from engines import catalogue as catalogues
from engines import launching
from workbench import theme
from workbench.desk import Desk
from workbench.editor.document import Document
from workbench.editor.forecast import Forecast
from workbench.views.editor import EditorView
from workbench.window import Window


@pytest.fixture(scope="session")
def catalogue() -> dict[str, Any]:
    """The real catalogue, built once by a process of its own and kept in the tests' cache."""
    return catalogues.read()


@pytest.fixture(autouse=True)
def _nothing_foretold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of tests try no training out, but where that is what is tested: it takes seconds of a processor."""
    if not request.module.__name__.endswith("test_forecast"):
        monkeypatch.setattr(Forecast, "ask", lambda *asked: None)


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def desk(qapp: QApplication, settings: QSettings) -> Iterator[Desk]:
    """What the views share, without a store; set one with `desk.set_store`."""
    made = Desk(theme.theme("light"), settings)
    theme.apply(qapp, made.theme)
    yield made
    made.close()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def editor(qtbot: QtBot, desk: Desk, catalogue: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> EditorView:
    """An editor that asks no inspector: what it would answer is given by the tests."""
    view = EditorView(desk, Document())
    qtbot.addWidget(view)
    monkeypatch.setattr(view.checks, "build", lambda: None)
    view.checks.rest.timeout.disconnect()
    desk.set_catalogue(catalogue)
    view.resize(1280, 800)
    view.show()
    return view


@pytest.fixture
def no_supervisor_left(store_url: str) -> Iterator[None]:
    """The supervisor of the test's store leaves by itself once its client and its runs are gone."""
    yield
    deadline = time.monotonic() + 60
    while (found := launching.holder(store_url)) is not None and time.monotonic() < deadline:
        time.sleep(0.2)
    if found is not None:
        psutil.Process(found.pid).kill()
        pytest.fail("the supervisor stayed after its last client")


@pytest.fixture
def make_window(qtbot: QtBot, settings: QSettings, store_url: str, catalogue: dict[str, Any]) -> Iterator[Callable[..., Window]]:
    """Opens real windows on the test's store and closes them; afterwards no thread of theirs may be alive."""
    before = set(threading.enumerate())
    made: list[Window] = []

    def make(**options: Any) -> Window:
        window = Window(**{"store": store_url, "settings": settings, **options})
        made.append(window)
        window.show()
        qtbot.waitUntil(lambda: window.desk.store is not None and window.desk.catalogue is not None, timeout=30_000)
        return window

    yield make
    for window in made:
        if "experiment" in window.views:
            window.document.undo.setClean()
        window.close()
        window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    threads = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("window-errand")]
    for thread in threads:
        thread.join(timeout=30)  # One may still wait for the process that builds the catalogue.
    left = [thread.name for thread in threads if thread.is_alive()]
    assert not left, f"threads left behind: {left}"
