"""Pictures of the real window on a real store: every view, and every part of the comparison, light and dark, in two sizes.

python -m workbench.screenshots FOLDER [--store URL] [--experiment FILE] [--only VIEW]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QDeadlineTimer, QEvent, QEventLoop, QSettings, QSize

from workbench.theme import RESOURCES
from workbench.window import VIEWS, Window, application

SIZES = (QSize(1280, 800), QSize(2560, 1440))
THEMES = ("light", "dark")


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
                if key == "profile":
                    _until(partial(_profiled, window), 5)  # It stays empty where no run was profiled.
                if key == "machine":
                    _until(partial(_diagnosed, window), 20)
                if key == "compare":
                    _until(partial(_compared, window), 10)  # It stays empty where no variant is done.
                _shoot(window, given.folder / f"{key}-{theme}")
                if key == "ask" and _with_words(window):
                    _shoot(window, given.folder / f"{key}-words-{theme}")
                for tab in window.view(key).tabs.offered()[1:] if key == "compare" and _compared(window) else ():
                    window.view(key).tabs.go(tab)
                    _shoot(window, given.folder / f"{key}-{tab}-{theme}")
            window.close()
            window.deleteLater()
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    return 0


def _shoot(window: Window, path: Path) -> None:
    """The window in each size, as path-WIDTHxHEIGHT.png."""
    for size in SIZES:
        window.resize(size)
        _until(lambda: False, 2.0 if size == SIZES[0] else 0.7)
        target = f"{path}-{size.width()}x{size.height()}.png"
        window.grab().save(target)
        sys.stdout.write(f"{target}\n")


def _opened(window: Window) -> bool:
    return window.desk.store is not None and window.desk.catalogue is not None


def _checked(window: Window) -> bool:
    return bool(window.view("experiment").checked)


def _foretold(window: Window) -> bool:
    return bool(window.view("experiment").foretold)


def _compared(window: Window) -> bool:
    return window.view("compare").comparison is not None


def _with_words(window: Window) -> bool:
    """Show the words of the finished model that is chosen; whether it has any."""
    view = window.view("ask")
    view.tabs.setCurrentIndex(1)
    return view.runs.count() > 0 and _until(lambda: bool(view.words.map.words), 30)


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
