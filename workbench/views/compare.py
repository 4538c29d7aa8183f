"""Finished variants held against the baseline: verdicts in a table, a scatter, what each technique did, and the report to export."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices, QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QMenu,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from engines.report import labels, sentences
from workbench.comparing.scatter import Scatter
from workbench.comparing.verdict_table import VerdictDelegate, VerdictTable
from workbench.desk import Desk
from workbench.live import LiveFeed, Update
from workbench.theme import Theme
from workbench.watching.experiment_list import ExperimentList
from workbench.widgets.surfaces import Card, Empty, Notice, emptied, recolour, scrolled
from workbench.widgets.text import ElidedLabel, label

FORMATS = {
    "html": ("HTML page", "html", "Pages (*.html)"),
    "markdown": ("Markdown", "md", "Markdown (*.md)"),
    "csv": ("CSV table", "csv", "Tables (*.csv)"),
    "json": ("JSON", "json", "JSON (*.json)"),
    "latex": ("LaTeX table", "tex", "LaTeX (*.tex)"),
}


class CompareView(QWidget):
    """Compares one experiment; made again whenever one of its runs changes state."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._wanted: int | None = None
        self._states: Any = None
        self.comparison: dict[str, Any] | None = None
        self.feed = LiveFeed(desk, self)
        self.feed.updated.connect(self._show_update)
        self.list = ExperimentList("Compare")
        self.list.chosen.connect(self._watch)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self.list)
        self.pages = QStackedWidget()
        self.empty = Empty(
            "compare", "Nothing to compare yet", "Once variants of an experiment are done, they are held against its baseline here.", "Go to the runs"
        )
        self.empty.acted.connect(lambda: desk.wants_runs.emit(self.list.current or 0))
        self.empty.paint_with(desk.theme)
        self.pages.addWidget(self.empty)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._bar())
        column.addWidget(scrolled(self._body()), 1)
        self.pages.addWidget(page)
        splitter.addWidget(self.pages)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([240, 900])
        row.addWidget(splitter)
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self.feed.refresh())

    def _bar(self) -> QFrame:
        bar = QFrame()
        bar.setObjectName("bar")
        row = QHBoxLayout(bar)
        row.setContentsMargins(20, 10, 16, 10)
        row.setSpacing(8)
        titles = QVBoxLayout()
        titles.setSpacing(1)
        self.title = ElidedLabel("title")
        self.caption = label("", "caption")
        titles.addWidget(self.title)
        titles.addWidget(self.caption)
        row.addLayout(titles, 1)
        runs = QPushButton("Runs")
        runs.setToolTip("Show the runs of this experiment")
        runs.clicked.connect(lambda: self._desk.wants_runs.emit(self.list.current or 0))
        row.addWidget(runs)
        self.export_button = QPushButton("Export report  ▾")
        self.export_button.setProperty("primary", True)
        menu = QMenu(self.export_button)
        for form, (name, _suffix, _filter) in FORMATS.items():
            menu.addAction(f"{name} …", partial(self.export, form))
        self.export_button.setMenu(menu)
        row.addWidget(self.export_button)
        return bar

    def _body(self) -> QWidget:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(14, 14, 14, 20)
        column.setSpacing(14)
        self.notice = Notice()
        column.addWidget(self.notice)
        self.warnings = Notice()
        column.addWidget(self.warnings)
        table = Card(
            "Verdicts", "▲ better   ▼ worse   = no practical difference   ? not enough data; the ratio is to the baseline, its interval in brackets."
        )
        self.all_keys = QCheckBox("All figures")
        self.all_keys.setToolTip("Show everything that was measured, not only the figures that judge")
        self.all_keys.toggled.connect(lambda _on: self._fill())
        table.corner.addWidget(self.all_keys, 0, Qt.AlignmentFlag.AlignTop)
        self.model = VerdictTable(self)
        self.table = QTableView()
        self.table.setModel(self.model)
        self.delegate = VerdictDelegate(self._desk.theme, self.table)
        self.table.setItemDelegate(self.delegate)
        self.table.setShowGrid(False)
        self.table.setAlternatingRowColors(True)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.table.setAccessibleName("Figures and verdicts of the variants")
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setHighlightSections(False)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._describe())
        table.body.addWidget(self.table)
        column.addWidget(table)
        lower = QHBoxLayout()
        lower.setSpacing(14)
        plot = Card("Trade-off")
        self.scatter = Scatter(self._desk.theme)
        self.scatter.picked.connect(self._pick)
        plot.body.addWidget(self.scatter)
        lower.addWidget(plot, 3)
        self.details = Card("In words")
        self.words = QVBoxLayout()
        self.words.setSpacing(8)
        self.details.body.addLayout(self.words)
        self.details.body.addStretch(1)
        lower.addWidget(self.details, 2)
        column.addLayout(lower)
        method = Card("How this was judged")
        self.method = label("", "caption", wrap=True, selectable=True)
        method.body.addWidget(self.method)
        column.addWidget(method)
        column.addStretch(1)
        return body

    # --- Following --------------------------------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.feed.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.feed.stop()

    def leave(self) -> None:
        """The window closes."""
        self.feed.stop()

    def choose(self, experiment_id: int) -> None:
        """Compare an experiment, also one that the list will only hold after the next read."""
        self._wanted = experiment_id
        if self.list.select(experiment_id):
            self._wanted = None
        self.feed.refresh()

    def _watch(self, experiment_id: int) -> None:
        self.notice.clear()
        self._states = None
        self.feed.watch(experiment_id)

    def _show_update(self, update: Update) -> None:
        self.list.show_experiments(update.experiments, update.active)
        if not update.experiments:
            self.pages.setCurrentIndex(0)
            return
        if self._wanted is not None and self.list.select(self._wanted):
            self._wanted = None
        elif self.list.current is None:
            self.list.list.setCurrentRow(0)
        if update.experiment is None or update.experiment != self.list.current:
            return
        states = [(run.id, run.status) for run in update.runs]
        if states != self._states:
            self._states = states
            self._compare(update.experiment)

    def _compare(self, experiment_id: int) -> None:
        store = self._desk.store
        if store is None:
            return

        def work() -> dict[str, Any]:
            from engines.comparison import compare

            return compare(store, [experiment_id])

        def show(comparison: dict[str, Any]) -> None:
            if experiment_id == self.list.current:
                self.comparison = comparison
                self._fill()

        self._desk.errands.run(work, show, lambda sentence: self.notice.say("error", sentence))

    # --- Showing ----------------------------------------------------------------------------------------------------------------------------

    def colours(self) -> dict[str, str]:
        """Colours by variant, the same as in the runs view."""
        return {name: self._desk.theme.curve(number) for number, name in enumerate((self.comparison or {}).get("variants", {}))}

    def _fill(self) -> None:
        comparison = self.comparison
        if comparison is None:
            return
        measured = any(variant["results"] for variant in comparison["variants"].values())
        self.pages.setCurrentIndex(1 if measured else 0)
        if not measured:
            self.empty.say("No variant is done yet", "The comparison appears with the first finished run of this experiment.")
            return
        self.title.setText(comparison["experiment"])
        variants = comparison["variants"]
        self.caption.setText(f"{len(variants)} variants, baseline “{comparison['baseline']}”, margin {comparison['margin']:.1%}")
        if comparison["warnings"]:
            self.warnings.say("warning", "\n".join(comparison["warnings"]))
        else:
            self.warnings.clear()
        keys = labels.columns(comparison)
        if self.all_keys.isChecked() or not keys:
            keys += labels.other_keys(comparison, keys)
        kept = self.table.currentIndex().row()
        self.model.show_comparison(comparison, keys, self.colours())
        self._fit_table()
        if 0 <= kept < len(self.model.names):
            self.table.selectRow(kept)
        self.scatter.show_comparison(comparison, self.colours())
        self.method.setText("\n".join(f"• {sentence}" for sentence in sentences.method(comparison)))
        self._describe()

    def _fit_table(self) -> None:
        self.table.resizeColumnsToContents()
        self.table.resizeRowsToContents()
        header = self.table.horizontalHeader()
        fits = sum(header.sectionSize(n) for n in range(header.count())) < self.table.viewport().width()
        # Figures and intervals are never cut; what room is left goes to the names.
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch if fits else QHeaderView.ResizeMode.ResizeToContents)
        rows = sum(self.table.rowHeight(n) for n in range(len(self.model.names)))
        self.table.setFixedHeight(min(560, rows + header.height() + (4 if fits else 18)))

    def _pick(self, name: str) -> None:
        if name in self.model.names:
            self.table.selectRow(self.model.names.index(name))

    def _describe(self) -> None:
        emptied(self.words)
        if self.comparison is None:
            return
        rows = self.table.selectionModel().selectedRows()
        if not rows:
            self.details.heading.setText("In words")
            lines = sentences.headline(self.comparison) or ["There is only the baseline: add a variant to compare."]
            for sentence in lines:
                self.words.addWidget(label(sentence, wrap=True, selectable=True))
            self.words.addWidget(label("Choose a variant in the table for its details.", "caption", wrap=True))
            return
        name = self.model.names[rows[0].row()]
        variant = self.comparison["variants"][name]
        self.details.heading.setText(name)
        for failure in variant["failures"]:
            self.words.addWidget(
                label(f"Seed {failure['seed']} {failure['status']}: {failure['reason']} {failure['advice']}".strip(), "error", wrap=True)
            )
        if name != self.comparison["baseline"]:
            for entry in sentences.of_variant(variant, labels.columns(self.comparison)):
                self.words.addWidget(label(entry["opening"], "strong"))
                self.words.addWidget(label(entry["text"], wrap=True, selectable=True))
        for note in variant["notes"]:
            self.words.addWidget(label(note, wrap=True))
        if variant["effects"]:
            self.words.addWidget(label("What the techniques changed", "strong"))
            for effect in variant["effects"]:
                self.words.addWidget(label(f"{effect['technique']}: {effect['sentence']}", wrap=True, selectable=True))

    # --- Exporting --------------------------------------------------------------------------------------------------------------------------

    def export(self, form: str, path: Path | None = None) -> None:
        """Write the report; asks where to unless `path` says it. form: html, markdown, csv, json, latex."""
        store, experiment = self._desk.store, self.list.current
        if store is None or experiment is None or self.comparison is None:
            self._desk.says.emit("There is no comparison to export yet.")
            return
        name, suffix, pattern = FORMATS[form]
        if path is None:
            stem = "".join(letter if letter.isalnum() else "-" for letter in self.title.text().lower()).strip("-")
            folder = str(self._desk.settings.value("export/folder", str(Path.home())))
            chosen, _ = QFileDialog.getSaveFileName(self, f"Export as {name}", f"{folder}/{stem}.{suffix}", pattern)
            if not chosen:
                return
            path = Path(chosen)
            self._desk.settings.setValue("export/folder", str(path.parent))
        target = path

        def work() -> Path:
            from engines.report import page, tables

            write = {"html": page.write_html, "markdown": tables.write_markdown, "csv": tables.write_csv, "json": tables.write_json}
            return write.get(form, tables.write_latex)(store, [experiment], target)

        def done(written: Path) -> None:
            self.notice.say("ok", f"Written: {written}", "Open", lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(written))))

        self._desk.errands.run(work, done, lambda sentence: self.notice.say("error", sentence))

    def _recolour(self, theme: Theme) -> None:
        self.delegate.theme = theme
        recolour(self, theme)
        self.scatter.paint_with(theme)
        self._fill()
