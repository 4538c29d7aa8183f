"""The report of a comparison, designed: its sections on the left, their texts in the middle, how it looks on the right, its files above that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QMenu, QPushButton, QSplitter, QToolButton, QVBoxLayout, QWidget

from engines.report.design import Design, Section
from engines.report.material import Material
from workbench.comparing.subject import Part, Subject
from workbench.desk import Desk
from workbench.reporting.draft import Draft
from workbench.reporting.preview import Preview
from workbench.reporting.section_editor import SectionEditor
from workbench.reporting.section_list import SectionList
from workbench.theme import Theme
from workbench.widgets.flow import Flow
from workbench.widgets.surfaces import Notice
from workbench.widgets.text import label

FORMATS = {"html": "HTML", "pdf": "PDF", "markdown": "Markdown", "latex": "LaTeX", "csv": "CSV", "zip": "ZIP"}


class Designer(Part):
    """Edits the description that is kept with the experiments; all reading, drawing and writing is done in threads."""

    def __init__(self, subject: Subject, desk: Desk, export: Callable[[str], object]) -> None:
        super().__init__(subject)
        self._desk, self._export = desk, export
        self.draft = Draft(desk, self)
        self._asked: list[int] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.notice = Notice()
        column.addWidget(self.notice)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self._sections())
        self.editor = SectionEditor()
        splitter.addWidget(self.editor)
        splitter.addWidget(self._looks())
        splitter.setSizes([226, 250, 560])
        splitter.setStretchFactor(2, 1)
        column.addWidget(splitter, 1)
        self.editor.altered.connect(lambda values: self.draft.alter(self.draft.chosen, **values))
        self.draft.changed.connect(self._show)
        self.draft.failed.connect(lambda sentence: self.notice.say("error", sentence))
        # Ctrl+Z belongs to the report while one works on it, not to the experiment in the editor, nor to a single field.
        for widget in self.findChildren(QWidget):
            widget.installEventFilter(self)

    @property
    def design(self) -> Design | None:
        """What is edited; None before it was read."""
        return self.draft.design if self.draft.experiments else None

    def _sections(self) -> QWidget:
        panel = QWidget()
        panel.setMinimumWidth(196)
        column = QVBoxLayout(panel)
        column.setContentsMargins(14, 12, 10, 14)
        column.setSpacing(8)
        self.title = QLineEdit()
        self.title.setMaxLength(500)
        self.title.setAccessibleName("Title of the report")
        self.title.setToolTip("Title of the report; empty: the name of the experiment")
        self.title.textEdited.connect(lambda text: self.draft.entitle(text))
        column.addWidget(label("Title", "strong"))
        column.addWidget(self.title)
        column.addWidget(label("Sections", "strong"))
        self.list = SectionList()
        self.list.currentRowChanged.connect(lambda row: self.draft.choose(row))
        self.list.ticked.connect(lambda row, shown: self.draft.alter(row, shown=shown))
        self.list.arranged.connect(lambda order: self.draft.arrange(order))
        self.list.moved.connect(lambda row, by: self.draft.move(row, by))
        self.list.removed.connect(lambda row: self.draft.remove(row))
        column.addWidget(self.list, 1)
        column.addWidget(label("Tick to show; drag, or Alt with an arrow, to move.", "caption", wrap=True))
        row = QHBoxLayout()
        row.setSpacing(4)
        add = QPushButton("Add text")
        add.setToolTip("A section of your own words behind the chosen one")
        add.clicked.connect(self.add_text)
        row.addWidget(add, 1)
        more = QPushButton("More  ▾")
        more.setToolTip("Add a trade-off, undo, the usual report, descriptions as files")
        menu = QMenu(more)
        menu.addAction("Add a trade-off", lambda: self.draft.add(Section(kind="tradeoff")))
        menu.addAction("Remove the section", lambda: self.draft.remove(self.draft.chosen))
        menu.addSeparator()
        menu.addAction(self.draft.undo.createUndoAction(menu, "Undo"))
        menu.addAction(self.draft.undo.createRedoAction(menu, "Redo"))
        menu.addAction("The usual report", self.draft.reset)
        menu.addSeparator()
        menu.addAction("Open a description …", self.open_file)
        menu.addAction("Save the description …", partial(self._export, "design"))
        more.setMenu(menu)
        row.addWidget(more, 1)
        column.addLayout(row)
        return panel

    def _looks(self) -> QWidget:
        panel = QWidget()
        column = QVBoxLayout(panel)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        row = Flow()
        row.setContentsMargins(10, 8, 14, 8)
        for form, name in FORMATS.items():
            button = QToolButton()
            button.setText(name)
            button.setProperty("quiet", True)
            button.setToolTip(f"Save the report as {name} …")
            button.setAccessibleName(f"Save the report as {name}")
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            button.clicked.connect(partial(self._export, form))
            row.addWidget(button)
        self.browser = QPushButton("Open page")
        self.browser.setToolTip("The HTML page in the browser: there tables sort and filter, variants hide, and charts take other axes")
        self.browser.clicked.connect(self.open_page)
        row.addWidget(self.browser)
        column.addLayout(row)
        self.preview = Preview(self._desk)
        self.preview.clicked.connect(self._choose)
        self.preview.drawn.connect(self._show_bare)
        column.addWidget(self.preview, 1)
        return panel

    # --- What is shown ----------------------------------------------------------------------------------------------------------------------

    def draw(self, comparison: Mapping[str, Any]) -> None:
        store, experiments = self._desk.store, list(comparison["experiments"])
        if store is None:
            return
        anew = experiments != self.draft.experiments
        self._asked = experiments
        self.title.setPlaceholderText(str(comparison["experiment"]))
        self.editor.offer(comparison)

        def work() -> tuple[Material, Design | None, str]:
            from engines.report import design, material

            found = material.gather(store, experiments, comparison)
            try:
                return found, design.remembered(store, experiments) if anew else None, ""
            except design.DesignError as error:
                return found, Design(), str(error)

        def show(found: tuple[Material, Design | None, str]) -> None:
            gathered, remembered, wrong = found
            if experiments != self._asked:
                return
            if wrong:
                self.notice.say("warning", f"{wrong} The usual report is shown instead.")
            if remembered is not None:
                self.draft.open(store, experiments, remembered)
            self.preview.take(gathered)
            self._show()

        self._desk.errands.run(work, show, lambda sentence: self.notice.say("error", sentence))

    def mark(self, name: str) -> None:
        """A report shows all variants."""

    def paint_with(self, theme: Theme) -> None:
        self.preview.paint_with(theme)

    def leave(self) -> None:
        self.draft.keep_now()

    def _show(self) -> None:
        design = self.draft.design
        if self.title.text() != design.title:
            self.title.setText(design.title)
        self.editor.show_section(self.draft.section)
        self.preview.show_design(design, self.draft.chosen)
        self._show_bare()

    def _show_bare(self) -> None:
        self.list.show_sections(self.draft.design.sections, self.draft.chosen, self.preview.bare())

    def _choose(self, place: int) -> None:
        self.draft.choose(place)
        self.list.setFocus()

    # --- Acting -----------------------------------------------------------------------------------------------------------------------------

    def add_text(self) -> None:
        """A text behind the chosen section, ready to be written."""
        self.draft.add(Section(kind="text"))
        self.editor.text.setFocus()

    def open_file(self, path: Path | None = None) -> None:
        """Take a description from a file; asks which unless `path` says it."""
        if not path:
            folder = str(self._desk.settings.value("export/folder", str(Path.home())))
            chosen, _ = QFileDialog.getOpenFileName(self, "Open a description of a report", folder, "Descriptions (*.toml)")
            path = Path(chosen) if chosen else None
        if path:
            from engines.report import design

            self._desk.errands.run(
                lambda: design.read(path),
                lambda found: self.draft.take(found, f"Description {path.name}"),
                lambda sentence: self.notice.say("error", sentence),
            )

    def open_page(self) -> None:
        """Write the HTML page beside the store and show it in the browser."""
        store, experiments, wanted = self._desk.store, list(self.draft.experiments), self.design
        if store is None or wanted is None:
            return

        def work() -> Path:
            from engines.report import writing

            return writing.write(store, experiments, "html", store.folder / "reports" / f"{'+'.join(map(str, experiments))}.html", wanted)

        def done(path: Path) -> None:
            self.browser.setEnabled(True)
            if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
                self.notice.say("warning", f"No browser could be opened. The page lies at {path}")

        def failed(sentence: str) -> None:
            self.browser.setEnabled(True)
            self.notice.say("error", sentence)

        self.browser.setEnabled(False)
        self._desk.errands.run(work, done, failed)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress) and isinstance(event, QKeyEvent):
            back, again = event.matches(QKeySequence.StandardKey.Undo), event.matches(QKeySequence.StandardKey.Redo)
            if back or again:
                if event.type() == QEvent.Type.KeyPress:
                    (self.draft.undo.undo if back else self.draft.undo.redo)()
                event.accept()
                return True
        return super().eventFilter(watched, event)
