"""The report of a comparison as a file: which formats there are, where to, and the writing in a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from workbench.desk import Desk
from workbench.widgets.surfaces import Notice

if TYPE_CHECKING:
    from engines.report.design import Design

FORMATS = {
    "html": ("HTML page", "html", "Pages (*.html)"),
    "pdf": ("PDF", "pdf", "PDF (*.pdf)"),
    "markdown": ("Markdown", "md", "Markdown (*.md)"),
    "csv": ("CSV table", "csv", "Tables (*.csv)"),
    "json": ("JSON", "json", "JSON (*.json)"),
    "latex": ("LaTeX", "tex", "LaTeX (*.tex)"),
    "zip": ("ZIP of everything", "zip", "Archives (*.zip)"),
    "design": ("Description of the report", "toml", "Descriptions (*.toml)"),
}


def export_button(export: Callable[[str], object]) -> QPushButton:
    """A button with a menu of the formats; `export` gets the chosen one."""
    button = QPushButton("Export report  ▾")
    button.setProperty("primary", True)
    menu = QMenu(button)
    for form, (name, _suffix, _filter) in FORMATS.items():
        menu.addAction(f"{name} …", partial(export, form))
    button.setMenu(menu)
    return button


def ask_path(desk: Desk, parent: QWidget, form: str, title: str) -> Path | None:
    """Where to write the report of this title; None where the user changed their mind. The folder is remembered."""
    name, suffix, pattern = FORMATS[form]
    stem = "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())[:60] or "report"
    folder = str(desk.settings.value("export/folder", str(Path.home())))
    chosen, _ = QFileDialog.getSaveFileName(parent, f"Export as {name}", f"{folder}/{stem}.{suffix}", pattern)
    if not chosen:
        return None
    desk.settings.setValue("export/folder", str(Path(chosen).parent))
    return Path(chosen)


def write(desk: Desk, experiments: Sequence[int], form: str, path: Path, notice: Notice, design: Design | None = None) -> None:
    """Write the report in a thread, as it is designed or as remembered; the notice tells how it went."""
    store = desk.store
    if store is None:
        return

    def work() -> Path:
        from engines.report import writing

        return writing.write(store, experiments, form, path, design)

    def done(written: Path) -> None:
        notice.say("ok", f"Written: {written}", "Open", lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(written))))

    desk.errands.run(work, done, lambda sentence: notice.say("error", sentence))
