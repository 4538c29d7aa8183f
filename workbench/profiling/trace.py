"""The trace of a profile: where it lies, and a copy of it where the person wants one."""

from __future__ import annotations

import shutil
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget

from workbench.desk import Desk
from workbench.widgets.surfaces import Notice


def open_folder(trace: Path) -> None:
    """Show the folder of a trace in the file browser of the desktop."""
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(trace.parent)))


def save(desk: Desk, trace: Path, notice: Notice, parent: QWidget, target: Path | None = None) -> None:
    """Copy a trace; asks where to unless `target` says it. What came of it stands in the notice."""
    if target is None:
        folder = str(desk.settings.value("export/folder", str(Path.home())))
        name, _ = QFileDialog.getSaveFileName(parent, "Save the trace for Perfetto", f"{folder}/{trace.name}", "Traces (*.json.gz *.json)")
        if not name:
            return
        target = Path(name)
        desk.settings.setValue("export/folder", str(target.parent))
    place = target

    def done(_copied: object) -> None:
        notice.say("ok", f"Written: {place}. Open it in Perfetto (ui.perfetto.dev).")

    desk.errands.run(lambda: shutil.copyfile(trace, place), done, lambda sentence: notice.say("error", sentence))
