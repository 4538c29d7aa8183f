"""The head of the editor: the name of the experiment, the file it lies in, and the buttons that run it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QTimer, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QPushButton, QWidget

from engines.merging import table_of
from workbench.editor.document import Document
from workbench.icons import icon
from workbench.theme import Theme
from workbench.widgets.text import label


class _Name(QLineEdit):
    """Its style makes its letters larger and gives it the least height of any line: it sees to its own, so that they are not cut."""

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            QTimer.singleShot(0, self, self._fit)

    def _fit(self) -> None:
        self.setMinimumHeight(self.minimumSizeHint().height())
        self.updateGeometry()


class ExperimentBar(QFrame):
    """Writes the name into the document as it is typed."""

    run_asked = Signal(bool)
    """Run the experiment; True for the tiny smoke run."""

    def __init__(self, document: Document, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("bar")
        self._document = document
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 10, 16, 10)
        row.setSpacing(10)
        self.name = _Name()
        self.name.setProperty("heading", True)
        self.name.setAccessibleName("Name of the experiment")
        self.name.setToolTip("Name of the experiment; choose it so that it asks the question")
        self.name.textEdited.connect(
            lambda text: document.edit("Rename the experiment", lambda data: data.setdefault("experiment", {}).__setitem__("name", text), "name")
        )
        row.addWidget(self.name, 1)
        self._file = label("", "caption")
        row.addWidget(self._file)
        self.smoke_button = QPushButton("Smoke test")
        self.smoke_button.setToolTip("Run every variant for a few steps, to see that all works (Ctrl+Shift+Enter)")
        self.smoke_button.clicked.connect(lambda: self.run_asked.emit(True))
        row.addWidget(self.smoke_button)
        self.run_button = QPushButton("Run")
        self.run_button.setProperty("primary", True)
        self.run_button.setToolTip("Run all variants (Ctrl+Enter)")
        self.run_button.clicked.connect(lambda: self.run_asked.emit(False))
        row.addWidget(self.run_button)
        self.paint_with(theme)
        document.named.connect(self._show_file)

    def allow(self, on: bool) -> None:
        """Whether a run can be asked for now."""
        self.run_button.setEnabled(on)
        self.smoke_button.setEnabled(on)

    def show_name(self) -> None:
        """The name as the document has it; the cursor stays where nothing changed."""
        name = str(table_of(self._document.data.get("experiment")).get("name", ""))
        if self.name.text() != name:
            self.name.setText(name)
            self.name.setCursorPosition(0)

    def _show_file(self) -> None:
        path = self._document.path
        saved = "not saved yet" if path is None else path.name
        self._file.setText(saved + (" · edited" if self._document.dirty and path else ""))
        self._file.setToolTip(str(path or ""))

    def paint_with(self, theme: Theme) -> None:
        """Icons in the colours of the theme."""
        self.run_button.setIcon(icon("play", theme.on_accent))
