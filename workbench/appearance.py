"""How the window looks: light, dark or as the system, and the size of its text; remembered in the settings."""

from __future__ import annotations

from PySide6.QtCore import QObject, QSettings, Signal
from PySide6.QtWidgets import QApplication

from workbench import theme


class Appearance(QObject):
    """Gives the application its colours and its size of text, at once and after each choice."""

    changed = Signal()
    """The application looks different now; `theme` holds its colours."""
    says = Signal(str)
    """A sentence for the status bar."""

    def __init__(self, application: QApplication, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._application, self._settings = application, settings
        self.choice: theme.Choice = settings.value("theme", "system")  # type: ignore[assignment]
        self.text_size = int(str(settings.value("text_size", 100)))
        """In percent of the desktop's size."""
        self._apply()
        application.styleHints().colorSchemeChanged.connect(self._scheme_changed)

    def choose_theme(self, choice: theme.Choice) -> None:
        """Follow the system, or stay light or dark."""
        self.choice = choice
        self._settings.setValue("theme", choice)
        self._repaint()

    def choose_text_size(self, percent: int) -> None:
        """Text in all views, in percent of the desktop's size."""
        self.text_size = percent
        self._settings.setValue("text_size", percent)
        self._repaint()
        self.says.emit(f"Text size {percent}%")

    def close(self) -> None:
        """The desktop is followed no longer."""
        self._application.styleHints().colorSchemeChanged.disconnect(self._scheme_changed)

    def _scheme_changed(self) -> None:
        if self.choice == "system":
            self._repaint()

    def _repaint(self) -> None:
        self._apply()
        self.changed.emit()

    def _apply(self) -> None:
        self.theme = theme.chosen(self.choice, self._application)
        theme.apply(self._application, self.theme, self.text_size)
