"""The finished model of a run as a file: which formats there are, where to, and the program that writes it beside the window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QWidget

from workbench.desk import Desk
from workbench.programs import Program
from workbench.widgets.surfaces import Notice

if TYPE_CHECKING:
    from engines.store.rows import RunRow


class ExportAction(QObject):
    """Exports one model at a time; the notice tells what is going on, how it went, or why it is not possible."""

    def __init__(self, desk: Desk, notice: Notice, parent: QWidget) -> None:
        super().__init__(parent)
        self._desk, self._notice, self._parent = desk, notice, parent
        self._target = Path()
        self._heard: list[str] = []
        self.program = Program(self)
        self.program.said.connect(self._hear)
        self.program.answered.connect(lambda _text: self._done())
        self.program.failed.connect(lambda sentence: notice.say("error", sentence))
        self.program.stopped.connect(lambda: notice.say("info", "The export was stopped; nothing was written."))

    def ask(self, run: RunRow) -> None:
        """Ask where to and in which format, then export."""
        from engines.exporting import FORMATS

        filters = {f"{words} (*{suffix})": (form, suffix) for form, (words, suffix) in FORMATS.items()}
        folder = str(self._desk.settings.value("export/folder", str(Path.home())))
        stem = "".join(letter if letter.isalnum() else "-" for letter in f"{run.variant}-seed-{run.seed}".lower()).strip("-")
        chosen, pattern = QFileDialog.getSaveFileName(self._parent, "Export the model", f"{folder}/{stem}.safetensors", ";;".join(filters))
        if not chosen:
            return
        self._desk.settings.setValue("export/folder", str(Path(chosen).parent))
        form, suffix = filters.get(pattern, next(iter(filters.values())))
        path = Path(chosen)
        known = {each for _, each in FORMATS.values()}
        self.start(run, form, path.with_suffix(suffix) if path.suffix in known else path.with_name(path.name + suffix))

    def start(self, run: RunRow, form: str, path: Path) -> None:
        """Export to a file, in a process of its own."""
        store = self._desk.store
        if store is None:
            return
        if self.program.running:
            self._notice.say("info", f"{self._target.name} is still being exported.", "Stop", self.program.stop)
            return
        self._heard, self._target = [], path
        self._notice.say("info", f"Exporting {run.variant}, seed {run.seed}: written, read back, held against the model …", "Stop", self.program.stop)
        self.program.start(["-m", "workbench", "export", f"r{run.id}", "--format", form, str(path), "--store", store.url])

    def _hear(self, line: str) -> None:
        self._heard.append(line)

    def _done(self) -> None:
        written = [line.removeprefix("Wrote ") for line in self._heard if line.startswith("Wrote ")]
        told = [line for line in self._heard if not line.startswith("Wrote ")]
        names = ", ".join(Path(path).name for path in written)
        folder = QUrl.fromLocalFile(str(self._target.parent))
        self._notice.say("ok", f"Written: {names}. {' '.join(told)}", "Open the folder", lambda: QDesktopServices.openUrl(folder))
