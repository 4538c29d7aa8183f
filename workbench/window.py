"""The main window: the frame around the views, which are built when they are first shown, and the document that is edited in it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QByteArray, QSettings, QSize, QTimer
from PySide6.QtGui import QAction, QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QIcon
from PySide6.QtWidgets import QApplication, QHBoxLayout, QLabel, QMainWindow, QMenu, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from workbench import menubar, menus, openings, theme, wishes
from workbench.appearance import Appearance
from workbench.desk import Desk
from workbench.last_opened import LastOpened
from workbench.navigation import Navigation
from workbench.recovery import Recovery
from workbench.starting import start_run
from workbench.startup import Asked, Startup
from workbench.widgets.surfaces import Notice

if TYPE_CHECKING:
    from workbench.editor.document import Document

CLASSES = {
    "start": "StartView", "runs": "RunsView", "compare": "CompareView", "profile": "ProfileView", "studies": "StudiesView", "ask": "AskView",
    "catalogue": "CatalogueView", "machine": "MachineView",
}  # fmt: skip
"""Views that need nothing but the desk: the class in `workbench.views.<key>`."""


class Window(QMainWindow):
    """Made without anything that takes long: what a window needs beyond its first paint comes by and by (`workbench.startup`)."""

    def __init__(
        self,
        *,
        store: str | None = None,
        experiment_path: Path | None = None,
        copy_of: Path | None = None,
        run: bool = False,
        settings: QSettings | None = None,
    ) -> None:
        """store: URL or file of the store, or a bundle; None for the person's own. copy_of: a bundle whose experiment is opened as a new one."""
        super().__init__()
        self.store_url = store
        self.settings = settings or QSettings("Efficiency Workbench", "workbench")
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        self.appearance = Appearance(application, self.settings, self)
        self.desk = Desk(self.appearance.theme, self.settings, self)
        self.setWindowTitle("Efficiency Workbench")
        self.setWindowIcon(QIcon(str(theme.RESOURCES / "icons" / "workbench.svg")))
        self.resize(1280, 800)
        self.setMinimumSize(QSize(960, 600))
        self.views: dict[str, QWidget] = {}
        self.recent_menu: QMenu
        self.edit_menu: QMenu
        self.copy_action: QAction
        self.last = LastOpened(self)
        self.startup = Startup(self, Asked(store, experiment_path, copy_of, run))
        self._build()
        menubar.build(self)
        geometry = self.settings.value("geometry")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        self.appearance.changed.connect(self._repaint)
        self.appearance.says.connect(self.say)
        self.desk.says.connect(self.say)
        wishes.connect(self)
        openings.connect(self)
        self.setAcceptDrops(True)

    # --- Building -------------------------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.middle = QWidget()
        row = QHBoxLayout(self.middle)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self.rail = Navigation(self.desk.theme)
        self.rail.painted.connect(self.startup.painted)
        self.rail.chosen.connect(self.go)
        self.navigation = self.rail.buttons
        row.addWidget(self.rail)
        self.stack = QStackedWidget()
        self.recovery = Recovery(self, self.store_url)
        self.notice = Notice()
        """What concerns the window and none of its views: a file that could not be opened, that all is read-only."""
        right = QVBoxLayout()
        right.setSpacing(0)
        right.addWidget(self.recovery.bar)
        right.addWidget(self.notice)
        right.addWidget(self.stack, 1)
        row.addLayout(right, 1)
        self.setCentralWidget(self.middle)
        self._message = QLabel()
        self.supervisor_state = QLabel("Opening the store …")
        self.inspector_state = QLabel()
        bar = self.statusBar()
        bar.setSizeGripEnabled(False)
        bar.addWidget(self._message, 1)
        bar.addPermanentWidget(self.inspector_state)
        bar.addPermanentWidget(self.supervisor_state)
        self.rail.fit()
        self.navigation["start"].setChecked(True)

    # --- Views ----------------------------------------------------------------------------------------------------------------------------

    def view(self, key: str) -> Any:
        """The view, built at its first use."""
        if key not in self.views:
            widget = self._make(key)
            self.views[key] = widget
            self.stack.addWidget(widget)
            if key == "experiment":
                self.last.follow(self._document)
        return self.views[key]

    def _make(self, key: str) -> QWidget:
        # Imported here, so that the first paint waits for none of them (pyqtgraph alone takes a quarter of a second).
        if key in CLASSES:
            made: QWidget = getattr(importlib.import_module(f"workbench.views.{key}"), CLASSES[key])(self.desk)
            columns, kept = made.findChild(QSplitter), self.settings.value(f"layout/{key}")
            if isinstance(columns, QSplitter) and isinstance(kept, QByteArray):
                columns.restoreState(kept)
            return made
        from workbench.editor.document import Document
        from workbench.views.editor import EditorView

        self._document = Document(self)
        editor = EditorView(self.desk, self._document)
        editor.run_asked.connect(self.start_run)
        self._document.named.connect(self.show_title)
        self.recovery.follow(self._document)
        menubar.connect_document(self, self._document)
        sizes = self.settings.value("editor/splitter")
        if isinstance(sizes, QByteArray):
            editor.splitter.restoreState(sizes)
        self.show_title()
        return editor

    @property
    def document(self) -> Document:
        """What is edited; the editor is built with it, at its first use."""
        self.view("experiment")
        return self._document

    def go(self, key: str) -> None:
        """Show a view."""
        if key not in self.navigation:
            key = "start"
        self.stack.setCurrentWidget(self.view(key))
        self.stack.setFocus()
        self.navigation[key].setChecked(True)
        self.settings.setValue("view", key)
        self.startup.prepare_soon()

    @property
    def current(self) -> str:
        return next((key for key, widget in self.views.items() if widget is self.stack.currentWidget()), "")

    def say(self, sentence: str) -> None:
        """A sentence in the status bar for ten seconds."""
        self._message.setText(sentence)
        self._message.setToolTip(sentence)
        QTimer.singleShot(10_000, self._message, lambda: self._unsay(sentence))

    def _unsay(self, sentence: str) -> None:
        if self._message.text() == sentence:
            self._message.clear()

    def show_title(self) -> None:
        """Of what is shown: the bundle, or the document and whether it has changes that are not saved."""
        store = self.desk.store
        if store is not None and store.read_only and store.path is not None:
            self.setWindowTitle(f"{store.path.stem} (read-only) – Efficiency Workbench")
        elif hasattr(self, "_document"):
            dirty = "● " if self._document.dirty else ""
            self.setWindowTitle(f"{dirty}{self._document.name} – Efficiency Workbench")

    # --- Experiments ------------------------------------------------------------------------------------------------------------------------

    def open_path(self, path: Path) -> None:
        """Open an experiment file in the editor; what is wrong with it is shown there."""
        from engines.problems import ExperimentError

        editor = self.view("experiment")
        try:
            self.document.open(path)
        except ExperimentError as error:
            editor.notice.say("error", " ".join(problem.sentence() for problem in error.problems))
            return
        menus.remember(self, path)

    def may_discard(self) -> bool:
        """Whether the document may be replaced: asks where it has changes that are not saved."""
        self.view("experiment")
        return not self.document.dirty or menus.ask_to_save(self)

    def start_run(self, smoke: bool) -> None:
        """Check everything, queue the runs, see that a supervisor works on them, and show them."""
        start_run(self, smoke)

    def follow_runs(self) -> None:
        """The store is open for writing: keep a supervisor alive while there are runs, and tell of those that end."""
        from workbench.endings import Endings
        from workbench.presence import Presence

        self._presence = Presence(self.desk, self.supervisor_state, self)
        self._endings = Endings(self.desk, self)

    # --- Events --------------------------------------------------------------------------------------------------------------------------------

    def _repaint(self) -> None:
        self.desk.set_theme(self.appearance.theme)
        self.rail.paint_with(self.appearance.theme)
        self.rail.fit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        openings.drag_enters(self, event)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.desk.dragging.emit(False)
        self.say("")

    def dropEvent(self, event: QDropEvent) -> None:
        openings.drop(self, event)

    def closeEvent(self, event: QCloseEvent) -> None:
        edited = "experiment" in self.views and self.document.dirty
        if edited and not self.recovery.keep() and not menus.ask_to_save(self):
            event.ignore()
            return
        self.settings.setValue("geometry", self.saveGeometry())
        for key in self.views.keys() & CLASSES.keys():
            columns = self.views[key].findChild(QSplitter)  # The outermost: children are looked at before theirs.
            if isinstance(columns, QSplitter):
                self.settings.setValue(f"layout/{key}", columns.saveState())
        if "experiment" in self.views:
            self.view("experiment").side.card.close_card()  # The widths that are remembered are those without it.
            widths = self.view("experiment").splitter.widths()
            if widths is not None:
                self.settings.setValue("editor/splitter", widths)
        self.appearance.close()
        for view in self.views.values():
            leave: Callable[[], None] | None = getattr(view, "leave", None)
            if leave is not None:
                leave()
        if hasattr(self, "_presence"):
            self._presence.close()
            self._endings.close()
        self.recovery.close()
        self.desk.close()
        super().closeEvent(event)
