"""The process of the window: its QApplication, and `main`, which opens the window and stays until it is closed."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QCoreApplication, Qt, QTimer
from PySide6.QtWidgets import QApplication

from workbench.window import Window


def application(argv: Sequence[str] | None = None) -> QApplication:
    """The one QApplication of the process, made if there is none."""
    existing = QCoreApplication.instance()
    if isinstance(existing, QApplication):
        return existing
    QApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    made = QApplication([sys.argv[0], *(argv or [])])
    made.setApplicationName("Efficiency Workbench")
    made.setOrganizationName("Efficiency Workbench")
    made.setDesktopFileName("efficiency-workbench")
    return made


def main(
    argv: Sequence[str] | None = None,
    *,
    store: str | None = None,
    experiment_path: Path | str | None = None,
    copy_of: Path | None = None,
    run: bool = False,
) -> int:
    """Open the window and stay until it is closed; returns the exit code.

    store: URL of the store (default: the user's own). experiment_path: file to open. copy_of: bundle whose experiment is opened as a new one.
    run: start it at once.
    """
    parser = argparse.ArgumentParser(prog="workbench", description="Open the window.", add_help=False)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--store")
    given, rest = parser.parse_known_args(list(argv or []))
    made = application(rest)
    path = Path(experiment_path) if experiment_path else given.file
    window = Window(store=store or given.store, experiment_path=path, copy_of=copy_of, run=run)
    keep_collections_short(window)
    window.show()
    return made.exec()


def keep_collections_short(window: Window) -> None:
    """Have Python's collector pass over what stays until the window closes: modules, the catalogue, the views.

    Looking through all of it takes a tenth of a second, in which no thread of the process goes on, whenever enough new objects were made: in
    the middle of a zoom, since thousands of points are read then. What is set aside is still freed when nothing refers to it.
    """
    window.desk.catalogue_ready.connect(lambda _catalogue: gc.freeze())
    window.stack.widgetAdded.connect(lambda _place: QTimer.singleShot(0, gc.freeze))
