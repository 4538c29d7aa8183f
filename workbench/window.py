"""The main window: navigation, menus, status bar. It wires the views, which do not know each other, and fulfils their wishes."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QByteArray, QCoreApplication, QSettings, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QCloseEvent, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QIcon, QPaintEvent
from PySide6.QtWidgets import (
    QApplication,
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)  # fmt: skip

from workbench import menus, openings, theme
from workbench.desk import Desk
from workbench.icons import icon
from workbench.kinds import BUNDLE
from workbench.last_opened import LastOpened
from workbench.recovery import Recovery
from workbench.starting import COPY, READ_ONLY, load_engine, open_catalogue, open_store, prepare_to_run, start_run
from workbench.widgets.surfaces import Notice

if TYPE_CHECKING:
    from workbench.editor.document import Document

PREPARE_MS = 1500
"""After the window is usable: what makes a run begin sooner shall not make the window open later."""
RAIL = 96
"""Pixels of the navigation at least."""
VIEWS = (
    ("start", "Start", "Examples by the question they answer, recent experiments, a text of your own"),
    ("experiment", "Experiment", "Assemble a model, its recipe and its variants"),
    ("runs", "Runs", "Watch runs live, stop and resume them"),
    ("compare", "Compare", "Hold finished variants against the baseline"),
    ("profile", "Profile", "Where a training step of a run spends its time and memory"),
    ("studies", "Studies", "One operation measured over sizes, against an expectation"),
    ("ask", "Ask", "Let a finished model write, judge sentences, and tell which words are near each other"),
    ("catalogue", "Catalogue", "Every block, technique, corpus and task, with its card"),
    ("machine", "Machine", "What this machine is, what it is doing, and what works on it"),
)
"""Key, name and purpose of each view, in the order of the navigation; the n-th is reached with Ctrl+n."""
CLASSES = {
    "start": "StartView", "runs": "RunsView", "compare": "CompareView", "profile": "ProfileView", "studies": "StudiesView", "ask": "AskView",
    "catalogue": "CatalogueView", "machine": "MachineView",
}  # fmt: skip
"""Views that need nothing but the desk: the class in `workbench.views.<key>`."""


class _Rail(QFrame):
    """The navigation. It is painted with the first frame of the window and says so once."""

    painted = Signal()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        self.painted.emit()


class Window(QMainWindow):
    """Everything after the first paint is lazy: views are built when they are first shown, the store and the catalogue open in threads."""

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
        self.store_url, self._experiment_path, self._copy_of, self._run_at_once = store, experiment_path, copy_of, run
        self.settings = settings or QSettings("Efficiency Workbench", "workbench")
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        self._application = application
        self.theme_choice: theme.Choice = self.settings.value("theme", "system")  # type: ignore[assignment]
        self.text_size = int(str(self.settings.value("text_size", 100)))
        self.desk = Desk(theme.chosen(self.theme_choice, application), self.settings, self)
        theme.apply(application, self.desk.theme, self.text_size)
        self.setWindowTitle("Efficiency Workbench")
        self.setWindowIcon(QIcon(str(theme.RESOURCES / "icons" / "workbench.svg")))
        self.resize(1280, 800)
        self.setMinimumSize(QSize(960, 600))
        self.views: dict[str, QWidget] = {}
        self.recent_menu: QMenu
        self.edit_menu: QMenu
        self.copy_action: QAction
        self.last = LastOpened(self)
        self._started = self._prepared = False
        self._build()
        menus.build(self)
        geometry = self.settings.value("geometry")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        application.styleHints().colorSchemeChanged.connect(self._scheme_changed)
        for signal, receiver in (
            (self.desk.wants_runs, self.show_runs), (self.desk.wants_comparison, self._show_comparison),
            (self.desk.wants_answers, self._show_answers), (self.desk.wants_plugin, self._use_plugin),
            (self.desk.wants_card, self._show_card), (self.desk.wants_experiment, self._open_stored),
            (self.desk.wants_profile, self._show_profile), (self.desk.wants_peaks, self._measure_peaks),
            (self.desk.says, self.say), (self.desk.store_opened, self._store_opened),
        ):  # fmt: skip
            signal.connect(receiver)
        self.desk.wants_editor.connect(lambda: self.go("experiment"))
        openings.connect(self)
        self.setAcceptDrops(True)

    # --- Building -------------------------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.middle = QWidget()
        row = QHBoxLayout(self.middle)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        rail = _Rail()
        rail.painted.connect(self._first_paint)
        rail.setObjectName("navigation")
        column = QVBoxLayout(rail)
        column.setContentsMargins(0, 12, 0, 12)
        column.setSpacing(4)
        self.buttons = QButtonGroup(self)
        self.navigation: dict[str, QToolButton] = {}
        for place, (key, name, purpose) in enumerate(VIEWS, 1):
            tip = f"{purpose} (Ctrl+{place})"
            button = QToolButton()
            button.setText(name)
            button.setCheckable(True)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
            button.setIconSize(QSize(22, 22))
            button.setMinimumHeight(54)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setToolTip(tip)
            button.setAccessibleName(name)
            button.setAccessibleDescription(tip)
            button.clicked.connect(lambda _checked=False, key=key: self.go(key))
            self.buttons.addButton(button)
            self.navigation[key] = button
            column.addWidget(button)
        column.addStretch(1)
        row.addWidget(rail)
        self._rail = rail
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
        self._colour_navigation()
        self._fit_navigation()
        self.navigation["start"].setChecked(True)

    def _fit_navigation(self) -> None:
        """As wide as the longest name in the size of the text, and not wider where that is small."""
        buttons = self.navigation.values()
        for button in buttons:
            button.ensurePolished()
        width = max(RAIL, *(button.minimumSizeHint().width() for button in buttons))
        for widget in (self._rail, *buttons):
            widget.setFixedWidth(width)

    def _colour_navigation(self) -> None:
        for key, button in self.navigation.items():
            button.setIcon(icon(key, self.desk.theme.muted, self.desk.theme.accent))

    def _first_paint(self) -> None:
        if not self._started:
            self._started = True
            QTimer.singleShot(0, self._start)

    def _start(self) -> None:
        """After the first paint: the first view, then the engine, store and catalogue in threads."""
        bundle = self.store_url is not None and self.store_url.endswith(BUNDLE)
        asked = "experiment" if self._experiment_path is not None or self._copy_of is not None else "compare" if bundle else ""
        self.go(asked or str(self.settings.value("view", "start")))
        self.desk.catalogue_ready.connect(lambda _catalogue: self._run_when_ready())
        self.desk.store_opened.connect(lambda _store: self._run_when_ready())
        self.desk.store_failed.connect(self._store_failed)
        self.desk.catalogue_failed.connect(
            lambda sentence: self.view("experiment").notice.say("error", f"The catalogue could not be read: {sentence}")
        )
        load_engine(self.desk, self._loaded)

    def _loaded(self) -> None:
        if self._experiment_path is not None:
            self.open_path(self._experiment_path)
        elif self._copy_of is not None:
            openings.open_copy_of(self, self._copy_of)
        else:
            self.last.engine_loaded()
        self.recovery.look()
        open_store(self.desk, self.store_url)
        open_catalogue(self.desk)

    def _store_failed(self, sentence: str) -> None:
        self.supervisor_state.setText("No store")
        self.supervisor_state.setToolTip(sentence)
        self.view("experiment").notice.say("error", sentence, "Try again", lambda: open_store(self.desk, self.store_url))

    def _run_when_ready(self) -> None:
        if self._run_at_once and self.desk.catalogue is not None and self.desk.store is not None:
            self._run_at_once = False
            self.start_run(False)

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
            return made
        from workbench.editor.document import Document
        from workbench.views.editor import EditorView

        self._document = Document(self)
        editor = EditorView(self.desk, self._document)
        editor.run_asked.connect(self.start_run)
        self._document.named.connect(self._show_title)
        self.recovery.follow(self._document)
        menus.connect_document(self, self._document)
        sizes = self.settings.value("editor/splitter")
        if isinstance(sizes, QByteArray):
            editor.splitter.restoreState(sizes)
        self._show_title()
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
        if self.desk.store is not None:
            QTimer.singleShot(PREPARE_MS, self, self._prepare_to_run)

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

    def _show_title(self) -> None:
        store = self.desk.store
        if store is not None and store.read_only and store.path is not None:
            self.setWindowTitle(f"{store.path.stem} (read-only) – Efficiency Workbench")
        elif hasattr(self, "_document"):
            dirty = "● " if self._document.dirty else ""
            self.setWindowTitle(f"{dirty}{self._document.name} – Efficiency Workbench")

    # --- Wishes of the views ----------------------------------------------------------------------------------------------------------------

    def show_runs(self, experiment_id: int) -> None:
        self.go("runs")
        self.view("runs").choose(experiment_id)

    def _show_comparison(self, experiment_id: int) -> None:
        self.go("compare")
        self.view("compare").choose(experiment_id)

    def _show_profile(self, run_id: int) -> None:
        self.go("profile")
        self.view("profile").choose(run_id)

    def _measure_peaks(self) -> None:
        self.go("machine")
        self.view("machine").measure()

    def _show_answers(self, run_id: int) -> None:
        self.go("ask")
        self.view("ask").choose(run_id)

    def _show_card(self, plugin_id: str) -> None:
        from_editor = self.current == "experiment"
        self.go("catalogue")
        self.view("catalogue").choose(plugin_id)
        self.view("catalogue").back_button.setVisible(from_editor)

    def _use_plugin(self, plugin_id: str) -> None:
        self.say(self.view("experiment").use(plugin_id))
        self.go("experiment")

    def _open_stored(self, experiment_id: int) -> None:
        store = self.desk.store
        if store is None:
            return

        def read() -> Any:
            from engines.store import queries

            return queries.experiment(store, experiment_id)

        def show(row: Any) -> None:
            if self.may_discard():
                self.view("experiment")
                self.document.open_copy(row.document, Path(row.folder or "."), row.text or "")
                self.last.remember("stored", row.id)
                self.go("experiment")

        self.desk.errands.run(read, show, self.say)

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

    def _store_opened(self, store: Any) -> None:
        if store.read_only:
            self.supervisor_state.setText(f"Read-only: {store.path.stem if store.path else store.place}")
            self.supervisor_state.setToolTip(READ_ONLY)
            self.notice.say("info", READ_ONLY, COPY, self.desk.wants_copy.emit)
            self.copy_action.setEnabled(True)
            self._show_title()
        else:
            from workbench.endings import Endings
            from workbench.presence import Presence

            self._presence = Presence(self.desk, self.supervisor_state, self)
            self._endings = Endings(self.desk, self)
        self.last.bring_back()
        self.desk.inspector.state.connect(lambda state: self.inspector_state.setText(f"Model checker {state}" if state else ""))
        QTimer.singleShot(PREPARE_MS, self, self._prepare_to_run)

    def _prepare_to_run(self) -> None:
        """Once, where somebody works on an experiment: who came to look at results needs no worker."""
        if self.current == "experiment" and not self._prepared:
            self._prepared = True
            prepare_to_run(self.desk)

    # --- Appearance and end -----------------------------------------------------------------------------------------------------------------

    def choose_theme(self, choice: theme.Choice) -> None:
        """Follow the system, or stay light or dark."""
        self.theme_choice = choice
        self.settings.setValue("theme", choice)
        self._repaint()

    def choose_text_size(self, percent: int) -> None:
        """Text in all views, in percent of the desktop's size."""
        self.text_size = percent
        self.settings.setValue("text_size", percent)
        self._repaint()
        self.say(f"Text size {percent}%")

    def _scheme_changed(self) -> None:
        if self.theme_choice == "system":
            self._repaint()

    def _repaint(self) -> None:
        colours = theme.chosen(self.theme_choice, self._application)
        theme.apply(self._application, colours, self.text_size)
        self.desk.set_theme(colours)
        self._colour_navigation()
        self._fit_navigation()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        openings.drag_enters(self, event)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.desk.dragging.emit(False)
        self.say("")

    def dropEvent(self, event: QDropEvent) -> None:
        openings.drop(self, event)

    def closeEvent(self, event: QCloseEvent) -> None:
        if "experiment" in self.views and self.document.dirty and not menus.ask_to_save(self):
            event.ignore()
            return
        self.settings.setValue("geometry", self.saveGeometry())
        if "experiment" in self.views:
            self.view("experiment").side.card.close_card()  # The widths that are remembered are those without it.
            self.settings.setValue("editor/splitter", self.view("experiment").splitter.saveState())
        self._application.styleHints().colorSchemeChanged.disconnect(self._scheme_changed)
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
    window.show()
    return made.exec()
