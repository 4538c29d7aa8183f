"""Pictures of the real window on a real store: every view and its parts, the queue, a run's page, the palette; light and dark, in two sizes.

python -m workbench.screenshots FOLDER [--store URL] [--experiment FILE] [--only VIEW]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QDeadlineTimer, QEvent, QEventLoop, QSettings, QSize
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QWidget

from workbench import palette
from workbench.application import application
from workbench.navigation import VIEWS
from workbench.theme import RESOURCES
from workbench.watching.run_tabs import CURVES, LOG, RUN
from workbench.window import Window

SIZES = (QSize(1280, 800), QSize(2560, 1440))
THEMES = ("light", "dark")
PALETTE_TOP = 48
"""Pixels from the top of the window at which the palette opens: it is a window of its own, and a picture of the other lacks it."""


def main(arguments: list[str] | None = None) -> int:
    """Take the pictures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workbench.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", help="URL of the store (default: the user's own)")
    parser.add_argument("--experiment", type=Path, default=RESOURCES / "experiments" / "demo.toml", help="file that the editor shows")
    parser.add_argument("--only", choices=[key for key, *_ in VIEWS], help="one view alone")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    application()
    with tempfile.TemporaryDirectory() as folder:
        for theme in THEMES:
            settings = QSettings(str(Path(folder) / f"{theme}.ini"), QSettings.Format.IniFormat)
            settings.setValue("theme", theme)
            window = Window(store=given.store, experiment_path=given.experiment, settings=settings)
            window.show()
            if not _until(partial(_opened, window), 60):
                sys.stderr.write("The store or the catalogue did not open.\n")
                window.close()
                return 1
            for key in [given.only] if given.only else [key for key, *_ in VIEWS]:
                window.go(key)
                if key == "experiment":
                    _until(partial(_checked, window), 60)
                    _until(partial(_foretold, window), 60)
                if key == "start":
                    _until(partial(_with_examples, window), 10)
                if key == "runs":
                    _until(partial(_watched, window), 5)  # It stays empty where nothing ran.
                if key == "profile":
                    _until(partial(_profiled, window), 5)  # It stays empty where no run was profiled.
                if key == "machine":
                    _until(partial(_diagnosed, window), 20)
                if key == "compare":
                    _until(partial(_compared, window), 10)  # It stays empty where no variant is done.
                _shoot(window, given.folder / f"{key}-{theme}")
                for name in _parts(window, key):
                    _shoot(window, given.folder / f"{key}-{name}-{theme}")
            if not given.only:
                opened = palette.show(window)
                _shoot(window, given.folder / f"palette-{theme}", opened)
                opened.close()
            window.close()
            window.deleteLater()
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    return 0


def _shoot(window: Window, path: Path, over: QWidget | None = None) -> None:
    """The window in each size, as path-WIDTHxHEIGHT.png; `over` lies upon it."""
    for size in SIZES:
        window.resize(size)
        _until(lambda: False, 2.0 if size == SIZES[0] else 0.7)
        picture = window.grab()
        if over is not None:
            painter = QPainter(picture)
            painter.drawPixmap((size.width() - over.width()) // 2, PALETTE_TOP, over.grab())
            painter.end()
        target = f"{path}-{size.width()}x{size.height()}.png"
        picture.save(target)
        sys.stdout.write(f"{target}\n")


def _parts(window: Window, key: str) -> Iterator[str]:
    """Bring up the parts of a view that have something to show, one after the other; the name of each."""
    view = window.view(key)
    if key == "runs" and view.model.rowCount():
        view.table.selectRow(0)
        for place, name in ((RUN, "run"), (LOG, "log")):
            view.below.tabs.setCurrentIndex(place)
            yield name
        view.below.tabs.setCurrentIndex(CURVES)
        view.show_queue()
        yield "queue"
    elif key == "compare" and _compared(window):
        for tab in view.tabs.offered()[1:]:
            view.tabs.go(tab)
            yield str(tab)
    elif key == "profile" and _profiled(window):
        for place in range(1, view.tabs.count()):
            view.tabs.setCurrentIndex(place)
            yield view.tabs.tabText(place).lower().replace(" ", "-")
        view.faces.setCurrentWidget(view.sensitivity)
        yield "sensitivity"
    elif key == "ask" and _with_words(window):
        yield "words"


def _opened(window: Window) -> bool:
    return window.desk.store is not None and window.desk.catalogue is not None


def _checked(window: Window) -> bool:
    return bool(window.view("experiment").checks.done)


def _foretold(window: Window) -> bool:
    return bool(window.view("experiment").figures.foretold)


def _compared(window: Window) -> bool:
    return window.view("compare").comparison is not None


def _with_words(window: Window) -> bool:
    """Show the words of the finished model that is chosen; whether it has any."""
    view = window.view("ask")
    view.tabs.setCurrentIndex(1)
    return view.runs.count() > 0 and _until(lambda: bool(view.words.map.words), 30)


def _with_examples(window: Window) -> bool:
    return bool(window.view("start").cards)


def _watched(window: Window) -> bool:
    return bool(window.view("runs").model.rowCount())


def _profiled(window: Window) -> bool:
    return window.view("profile").profile is not None


def _diagnosed(window: Window) -> bool:
    return bool(window.view("machine").findings.shown)


def _until(reached: Callable[[], bool], seconds: float) -> bool:
    """Let the window live until something is reached, at most so many seconds; whether it was."""
    deadline = QDeadlineTimer(round(seconds * 1000))
    while not reached():
        if deadline.hasExpired():
            return False
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 50)
    return True


if __name__ == "__main__":
    sys.exit(main())
