"""What the views share: the theme, the store, the catalogue, errands, the inspector, and requests from one view to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QSettings, Signal

from workbench.errands import Errands
from workbench.theme import Theme

if TYPE_CHECKING:
    from engines.store.database import Store
    from workbench.inspector import Inspector


class Desk(QObject):
    """Handed to every view. Views read it and tell their wishes through its signals; the window fulfils them."""

    theme_changed = Signal(object)
    store_opened = Signal(object)
    store_failed = Signal(str)
    catalogue_ready = Signal(dict)
    catalogue_failed = Signal(str)

    wants_runs = Signal(int)
    """Show the runs of an experiment."""
    wants_comparison = Signal(int)
    """Compare the variants of an experiment."""
    wants_answers = Signal(int)
    """Ask the finished model of a run."""
    wants_plugin = Signal(str)
    """Use a plugin in the experiment that is being edited."""
    wants_card = Signal(str)
    """Show the page of a plugin in the catalogue."""
    wants_card_beside = Signal(str)
    """Show the card of a plugin beside the experiment that is edited."""
    wants_experiment = Signal(int)
    """Open the document of a stored experiment in the editor."""
    wants_profile = Signal(int)
    """Show where a run spends its time and memory."""
    wants_peaks = Signal()
    """Measure what this machine can reach."""
    wants_editor = Signal()
    wants_new = Signal()
    """Begin a new experiment."""
    wants_file = Signal()
    """Ask for an experiment file and open it."""
    wants_path = Signal(str)
    """Open this file: an experiment, a bundle, or a text that becomes the corpus of a new experiment."""
    wants_example = Signal(str, bool)
    """Open a copy of this example; run it at once or not."""
    wants_copy = Signal()
    """Open the experiment of the bundle that is shown as a new one."""
    wants_tour = Signal()
    dragging = Signal(bool)
    """A file is dragged over the window, or no longer."""
    says = Signal(str)
    """A sentence for the status bar."""

    def __init__(self, theme: Theme, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.settings = settings
        self.errands = Errands(2, self)
        self.store: Store | None = None
        self.catalogue: dict[str, Any] | None = None
        self.trial: dict[str, Any] = {}
        """Sizes and device of the experiment that is edited, as `workbench verify` takes them; what is not known is left out."""
        self._inspector: Inspector | None = None

    @property
    def inspector(self) -> Inspector:
        """The torch side, started at the first question."""
        if self._inspector is None:
            from workbench.inspector import Inspector

            self._inspector = Inspector(self)
        return self._inspector

    def entry(self, plugin_id: str) -> dict[str, Any] | None:
        """The catalogue entry of a plugin; None while the catalogue is not read or does not know it."""
        return (self.catalogue or {}).get("plugins", {}).get(plugin_id)

    def set_theme(self, theme: Theme) -> None:
        if theme != self.theme:
            self.theme = theme
            self.theme_changed.emit(theme)

    def set_store(self, store: Store) -> None:
        self.store = store
        self.store_opened.emit(store)

    def set_catalogue(self, catalogue: dict[str, Any]) -> None:
        self.catalogue = catalogue
        self.catalogue_ready.emit(catalogue)

    def close(self) -> None:
        """End threads and processes of the window; runs are not touched."""
        self.errands.close()
        if self._inspector is not None:
            self._inspector.close()
        if self.store is not None:
            self.store.close()
            self.store = None
