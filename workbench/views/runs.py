"""Runs, live: which experiments there are, what their runs are doing, their curves; stop, resume, read the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QMessageBox,
    QPlainTextEdit,
    QSplitter,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from workbench.desk import Desk
from workbench.live import LiveFeed, Update
from workbench.theme import Theme
from workbench.watching import run_actions
from workbench.watching.curves import DEFAULT_KEYS, CurveBoard, default_keys
from workbench.watching.experiment_list import ExperimentList
from workbench.watching.export_action import ExportAction
from workbench.watching.plot_controls import PlotControls
from workbench.watching.run_table import RunTable
from workbench.watching.runs_bar import RunsBar
from workbench.widgets.pills import PillDelegate
from workbench.widgets.surfaces import Empty, Notice, recolour

if TYPE_CHECKING:
    from engines.store.rows import RunRow

ROW = 32
GPU_COLUMN = 7


class RunsView(QWidget):
    """Follows the chosen experiment while it is shown."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._wanted: int | None = None
        self._update: Update | None = None
        self._keys: set[str] = set(DEFAULT_KEYS)
        self._by_time = False
        self.feed = LiveFeed(desk, self)
        self.feed.updated.connect(self._show_update)
        self.feed.failed.connect(self._refused)
        self.list = ExperimentList()
        self.list.chosen.connect(self._watch)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self.list)
        self.pages = QStackedWidget()
        self.empty = Empty(
            "runs",
            "Nothing has run yet",
            "Assemble an experiment and press Run. Its runs appear here and go on when the window is closed.",
            "Go to the experiment",
        )
        self.empty.acted.connect(desk.wants_editor)
        self.empty.paint_with(desk.theme)
        self.pages.addWidget(self.empty)
        self.pages.addWidget(self._page())
        splitter.addWidget(self.pages)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([240, 900])
        row.addWidget(splitter)
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self.feed.refresh())
        self.feed.follow(self._keys)

    def _page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.bar = RunsBar()
        for signal, act in (
            (self.bar.stop, self.stop_selected),
            (self.bar.resume, self.resume_selected),
            (self.bar.compare, lambda: self._desk.wants_comparison.emit(self.list.current or 0)),
            (self.bar.log, self.toggle_log),
            (self.bar.ask, self._ask),
            (self.bar.profile, lambda: self._desk.wants_profile.emit(self.selected[0].id)),
            (self.bar.export, self._export),
            (self.bar.edit, lambda: self._desk.wants_experiment.emit(self.list.current or 0)),
            (self.bar.delete, self.delete),
        ):
            signal.connect(act)
        column.addWidget(self.bar)
        inside = QWidget()
        body = QVBoxLayout(inside)
        body.setContentsMargins(14, 14, 14, 12)
        body.setSpacing(12)
        self.notice = Notice()
        body.addWidget(self.notice)
        self.exporting = ExportAction(self._desk, self.notice, self)
        self.model = RunTable(self)
        self.model.toggled.connect(self._toggled)
        self.table = self._table()
        self.controls = PlotControls()
        self.controls.axis_chosen.connect(self._set_axis)
        self.controls.key_toggled.connect(self._toggle_key)
        self.board = CurveBoard(self._desk.theme)
        self.board.detail_wanted.connect(self._fetch_detail)
        self.controls.smoothing_chosen.connect(self.board.set_smoothing)
        curves = QWidget()
        stack = QVBoxLayout(curves)
        stack.setContentsMargins(0, 0, 0, 0)
        stack.setSpacing(10)
        stack.addWidget(self.controls)
        stack.addWidget(self.board, 1)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setAccessibleName("Log of the selected run")
        self.log.setStyleSheet("font-family: monospace")
        self.log.hide()
        self.vertical = QSplitter(Qt.Orientation.Vertical)
        self.vertical.setChildrenCollapsible(False)
        for part, stretch in ((self.table, 0), (curves, 1), (self.log, 0)):
            self.vertical.addWidget(part)
            self.vertical.setStretchFactor(self.vertical.count() - 1, stretch)
        self.vertical.setHandleWidth(12)
        self.vertical.setStyleSheet("QSplitter::handle { background: transparent; }")
        body.addWidget(self.vertical, 1)
        column.addWidget(inside, 1)
        return page

    def _table(self) -> QTableView:
        table = QTableView()
        table.setModel(self.model)
        self.delegate = PillDelegate(self._desk.theme, table)
        table.setItemDelegate(self.delegate)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setShowGrid(False)
        table.setAccessibleName("Runs of the experiment")
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(ROW)
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for place, width in ((1, 56), (2, 112), (3, 150), (4, 76), (5, 84), (6, 76), (GPU_COLUMN, 76), (8, 118)):
            table.setColumnWidth(place, width)
        table.clicked.connect(self._clicked)
        table.doubleClicked.connect(lambda _index: self.toggle_log())
        table.selectionModel().selectionChanged.connect(lambda *_: self._selected())
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(lambda point: self.bar.menu.popup(table.viewport().mapToGlobal(point)))
        return table

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
        self.exporting.program.close()

    def choose(self, experiment_id: int) -> None:
        """Show an experiment, also one that the list will only hold after the next read."""
        self._wanted = experiment_id
        if self.list.select(experiment_id):
            self._wanted = None
        self.feed.refresh()

    def _watch(self, experiment_id: int) -> None:
        self.board.clear()
        self.model.hidden.clear()
        self.notice.clear()
        self.feed.watch(experiment_id)

    def colours(self) -> dict[str, str]:
        """Curve colours by variant, in the order of the experiment."""
        variants = self._update.variants if self._update else []
        return {variant.name: self._desk.theme.curve(number) for number, variant in enumerate(variants)}

    def _show_update(self, update: Update) -> None:
        self.list.show_experiments(update.experiments, update.active)
        self.pages.setCurrentIndex(1 if update.experiments else 0)
        if not update.experiments:
            return
        if self._wanted is not None and self.list.select(self._wanted):
            self._wanted = None
        elif self.list.current is None:
            self.list.list.setCurrentRow(0)
        if update.experiment is None or update.experiment != self.list.current:
            return
        self._update = update
        self.bar.title.setText(next((row.name for row in update.experiments if row.id == update.experiment), ""))
        colours = self.colours()
        rows_before = len(self.model.runs)
        self.model.show_runs(update.runs, update.series, colours)
        self.table.setColumnHidden(GPU_COLUMN, not self.model.has_device)
        if len(update.runs) != rows_before:
            self._fit_table()
        self._offer()
        units = {row.key: row.unit for row in update.series}
        keys = [key for key in default_keys(units.keys()) if key in self._keys]
        keys += sorted(key for key in self._keys - set(DEFAULT_KEYS) if key in units)
        if not self.controls.menu.isVisible():
            self.controls.offer(units.keys(), self._keys)
        self.board.show_keys(keys, units)
        self.board.show_runs(update.runs, colours, self.model.hidden)
        self.board.add(update.pieces)
        self.feed.drew(self.board.redraw())
        if not self.log.isHidden():
            self._read_log()

    def _fit_table(self) -> None:
        """As tall as its rows, up to seven; the splitter lets the person change it."""
        around = self.table.horizontalHeader().height() + 6
        wanted = min(7, max(1, len(self.model.runs))) * ROW + around
        self.table.setMinimumHeight(min(wanted, 4 * ROW + around))
        self.table.setMaximumHeight(max(1, len(self.model.runs)) * ROW + around)
        log = 0 if self.log.isHidden() else 170
        sizes = [wanted, max(100, self.vertical.height() - wanted - log), log]
        if sizes != self.vertical.sizes():
            self.vertical.setSizes(sizes)

    def _fetch_detail(self, series_id: int, low: float, high: float) -> None:
        store = self._desk.store
        if store is None:
            return

        def work() -> Any:
            from engines.store import queries

            return queries.curve(store, series_id, low=low, high=high, pixels=1600)

        self._desk.errands.run(work, lambda curve: self.board.add_detail(series_id, curve), self._desk.says.emit)

    # --- Selection and actions ----------------------------------------------------------------------------------------------------------------

    @property
    def selected(self) -> list[RunRow]:
        return [self.model.runs[index.row()] for index in self.table.selectionModel().selectedRows()]

    def _selected(self) -> None:
        self._offer()
        failed = next((run for run in self.selected if run.reason and run.status in ("failed", "lost", "cancelled")), None)
        if failed is not None:
            kind = "info" if failed.status == "cancelled" else "error"
            self.notice.say(kind, f"{failed.variant}, seed {failed.seed}: {failed.reason} {failed.advice}".strip())
        else:
            self.notice.clear()
        if not self.log.isHidden():
            self._read_log()

    def _offer(self) -> None:
        self.bar.show_state(self.model.runs, self.selected, log_shown=not self.log.isHidden())

    def stop_selected(self) -> None:
        """Ask the selected runs, or all that have not ended, to stop."""
        run_actions.stop(self._desk, self.selected or self.model.runs, self.feed.refresh, self._refused)

    def resume_selected(self) -> None:
        """Queue the selected failed, cancelled or lost runs again, or all of them."""
        run_actions.resume(self._desk, self.selected or self.model.runs, self.feed.refresh, self._refused)

    def delete(self) -> None:
        """Delete the experiment, after a question."""
        experiment = self.list.current
        if experiment is None:
            return
        text = f"“{self.bar.title.text()}” and its runs are hidden now and removed at the next clean-up (workbench gc)."
        if QMessageBox.question(self, "Delete the experiment?", text) == QMessageBox.StandardButton.Yes:
            self.board.clear()
            self.list.list.setCurrentRow(-1)
            self.feed.watch(None)
            run_actions.delete(self._desk, experiment, self.feed.refresh, self._refused)

    def _ask(self) -> None:
        if self.selected:
            self._desk.wants_answers.emit(self.selected[0].id)

    def _export(self) -> None:
        if self.selected:
            self.exporting.ask(self.selected[0])

    def _refused(self, sentence: str) -> None:
        self.notice.say("error", sentence)

    def _clicked(self, index: QModelIndex) -> None:
        """A click on the coloured square hides or shows the run's curves."""
        x = self.table.viewport().mapFromGlobal(self.cursor().pos()).x() - self.table.visualRect(index).left()
        if index.column() == 0 and x < 28:
            self.model.toggle(index.row())

    def _toggled(self) -> None:
        self.board.show_runs(self.model.runs, self.colours(), self.model.hidden)
        self.board.redraw()

    def _set_axis(self, by_time: bool) -> None:
        self._by_time = by_time
        self.board.clear()
        self.board.set_axis(by_time=by_time)
        self.feed.follow(self._keys, exact=by_time)

    def _toggle_key(self, key: str, on: bool) -> None:
        (self._keys.add if on else self._keys.discard)(key)
        self.board.clear()
        self.feed.follow(self._keys, exact=self._by_time)

    def toggle_log(self) -> None:
        """Show or hide the end of the selected run's log."""
        self.log.setVisible(self.log.isHidden())
        self._fit_table()
        if not self.log.isHidden():
            self._read_log()

    def _read_log(self) -> None:
        def show(text: str) -> None:
            if text != self.log.toPlainText():
                self.log.setPlainText(text)
                self.log.verticalScrollBar().setValue(self.log.verticalScrollBar().maximum())

        if self.selected:
            run_actions.read_log(self._desk, self.selected[0], show)

    def _recolour(self, theme: Theme) -> None:
        self.delegate.theme = theme
        recolour(self, theme)
        self.model.colours = self.colours()
        self.table.viewport().update()
        self.board.paint_with(theme, self.model.colours)
