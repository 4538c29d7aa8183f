"""Runs, live: which experiments there are, what their runs are doing, their curves; stop, resume, read the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QMenu,
    QMessageBox,
    QPlainTextEdit,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from workbench.desk import Desk
from workbench.live import LiveFeed, Update
from workbench.theme import Theme
from workbench.watching.curves import DEFAULT_KEYS, CurveBoard, title_of
from workbench.watching.experiment_list import ExperimentList
from workbench.watching.run_table import RunTable
from workbench.widgets.choices import Choice
from workbench.widgets.pills import PillDelegate
from workbench.widgets.surfaces import Empty, Notice, recolour
from workbench.widgets.text import label

if TYPE_CHECKING:
    from engines.store.rows import RunRow

LOG_BYTES = 60_000
SMOOTHINGS = (("No smoothing", 1.0), ("Smooth over 10 points", 10.0), ("Smooth over 50 points", 50.0), ("Smooth over 200 points", 200.0))


class RunsView(QWidget):
    """Follows the chosen experiment while it is shown."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._wanted: int | None = None
        self._update: Update | None = None
        self._chosen_keys: set[str] = set(DEFAULT_KEYS)
        self._log_run: int | None = None
        self.feed = LiveFeed(desk, self)
        self.feed.updated.connect(self._show_update)
        self.feed.failed.connect(lambda sentence: self.notice.say("error", sentence))
        self.list = ExperimentList()
        self.list.chosen.connect(self._watch)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(self.list)
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
        self.splitter.addWidget(self.pages)
        self.splitter.setStretchFactor(1, 1)
        self.splitter.setSizes([240, 900])
        row.addWidget(self.splitter)
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self.feed.refresh())
        self.feed.follow(self._chosen_keys)

    # --- Building -------------------------------------------------------------------------------------------------------------------------

    def _page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._bar())
        inside = QWidget()
        body = QVBoxLayout(inside)
        body.setContentsMargins(14, 14, 14, 12)
        body.setSpacing(12)
        self.notice = Notice()
        body.addWidget(self.notice)
        self.model = RunTable(self)
        self.model.toggled.connect(self._toggled)
        self.table = QTableView()
        self.table.setModel(self.model)
        self.delegate = PillDelegate(self._desk.theme, self.table)
        self.table.setItemDelegate(self.delegate)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setShowGrid(False)
        self.table.setAccessibleName("Runs of the experiment")
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(32)
        self.table.horizontalHeader().setHighlightSections(False)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for place, width in ((1, 56), (2, 112), (3, 150), (4, 76), (5, 84), (6, 76), (7, 76), (8, 118)):
            self.table.setColumnWidth(place, width)
        self.table.clicked.connect(lambda index: index.column() == 0 and self._clicked_square(index))
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._selected())
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(lambda _point: self._menu().popup(self.cursor().pos()))
        self.board = CurveBoard(self._desk.theme)
        self.board.detail_wanted.connect(self._fetch_detail)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setAccessibleName("Log of the selected run")
        self.log.hide()
        self.vertical = QSplitter(Qt.Orientation.Vertical)
        self.vertical.setChildrenCollapsible(False)
        for part, stretch in ((self.table, 0), (self.board, 1), (self.log, 0)):
            self.vertical.addWidget(part)
            self.vertical.setStretchFactor(self.vertical.count() - 1, stretch)
        self.vertical.setHandleWidth(12)
        self.vertical.setStyleSheet("QSplitter::handle { background: transparent; }")
        body.addWidget(self.vertical, 1)
        column.addWidget(inside, 1)
        return page

    def _bar(self) -> QFrame:
        bar = QFrame()
        bar.setObjectName("bar")
        row = QHBoxLayout(bar)
        row.setContentsMargins(20, 10, 16, 10)
        row.setSpacing(8)
        titles = QVBoxLayout()
        titles.setSpacing(1)
        self.title = label("", "title")
        self.caption = label("", "caption")
        titles.addWidget(self.title)
        titles.addWidget(self.caption)
        row.addLayout(titles, 1)
        self.axis = Choice()
        self.axis.setAccessibleName("What the x axis counts")
        for name, by_time in (("Over steps", False), ("Over seconds", True)):
            self.axis.addItem(name, by_time)
        self.axis.activated.connect(lambda _i: self._set_axis())
        self.smoothing = Choice()
        self.smoothing.setAccessibleName("Smoothing of the curves")
        for name, span in SMOOTHINGS:
            self.smoothing.addItem(name, span)
        self.smoothing.activated.connect(lambda _i: self.board.set_smoothing(self.smoothing.currentData()))
        for choice in (self.axis, self.smoothing):
            choice.setMaximumWidth(150)
            row.addWidget(choice)
        self.curves_button = self._menu_button("Curves", "Which quantities are drawn")
        self.curves_menu = QMenu(self.curves_button)
        self.curves_menu.aboutToShow.connect(self._fill_curves)
        self.curves_button.setMenu(self.curves_menu)
        row.addWidget(self.curves_button)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setProperty("danger", True)
        self.stop_button.setToolTip("Stop the selected runs, or all that have not ended; a checkpoint is kept (Ctrl+Alt+Enter)")
        self.stop_button.clicked.connect(self.stop_selected)
        row.addWidget(self.stop_button)
        self.resume_button = QPushButton("Resume")
        self.resume_button.setToolTip("Continue the selected failed, cancelled or lost runs, or all of them, from their checkpoints")
        self.resume_button.clicked.connect(self.resume_selected)
        row.addWidget(self.resume_button)
        self.compare_button = QPushButton("Compare")
        self.compare_button.setProperty("primary", True)
        self.compare_button.clicked.connect(lambda: self.list.current is not None and self._desk.wants_comparison.emit(self.list.current))
        row.addWidget(self.compare_button)
        more = self._menu_button("More", "Log, editor, model, delete")
        menu = QMenu(more)
        menu.aboutToShow.connect(lambda: (menu.clear(), menu.addActions(self._menu().actions())))
        more.setMenu(menu)
        row.addWidget(more)
        return bar

    def _menu_button(self, text: str, tip: str) -> QToolButton:
        button = QToolButton()
        button.setProperty("push", True)
        button.setText(text)
        button.setToolTip(tip)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        return button

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        selected = self.selected
        one = selected[0] if len(selected) == 1 else None

        def add(text: str, act: Callable[[], object], enabled: bool = True) -> QAction:
            action = menu.addAction(text)
            action.triggered.connect(lambda _checked=False: act())
            action.setEnabled(enabled)
            return action

        add("Stop", self.stop_selected, self.stop_button.isEnabled())
        add("Resume", self.resume_selected, self.resume_button.isEnabled())
        menu.addSeparator()
        add("Show the log of the run" if self.log.isHidden() else "Hide the log", self.toggle_log, one is not None or not self.log.isHidden())
        add("Ask the model of the run", lambda: one and self._desk.wants_answers.emit(one.id), one is not None and one.status == "done")
        add("Open in the editor", lambda: self._desk.wants_experiment.emit(self.list.current))
        menu.addSeparator()
        add("Delete this experiment", self.delete, not any(run.active for run in self.model.runs))
        return menu

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
        name = next((row.name for row in update.experiments if row.id == update.experiment), "")
        self.title.setText(name)
        self.caption.setText(_state(update.runs))
        colours = self.colours()
        self.model.show_runs(update.runs, update.series, colours)
        self.table.setColumnHidden(7, not self.model.has_device)
        self._fit_table()
        self._offer_actions()
        units = {row.key: row.unit for row in update.series}
        keys = [key for key in DEFAULT_KEYS if key in self._chosen_keys and (key in units or key != "memory/device_mib")]
        keys += sorted(key for key in self._chosen_keys - set(DEFAULT_KEYS) if key in units)
        self.board.show_keys(keys, units)
        self.board.show_runs(update.runs, colours, self.model.hidden)
        self.board.add(update.pieces)
        self.feed.drew(self.board.redraw())
        if not self.log.isHidden():
            self._read_log()

    def _fit_table(self) -> None:
        rows = min(7, max(1, len(self.model.runs)))
        wanted = rows * 32 + self.table.horizontalHeader().height() + 6
        if self.table.maximumHeight() != max(wanted, 32 * len(self.model.runs) + 40):
            self.table.setMinimumHeight(min(wanted, 120))
            self.table.setMaximumHeight(max(wanted, 32 * len(self.model.runs) + 40))
            self.vertical.setSizes([wanted, max(100, self.vertical.height() - wanted), 160 if not self.log.isHidden() else 0])

    def _fetch_detail(self, series_id: int, low: float, high: float) -> None:
        store = self._desk.store
        if store is None:
            return

        def work() -> Any:
            from engines.store import queries

            return queries.curve(store, series_id, low=int(low), high=int(high) + 1, pixels=1600)

        self._desk.errands.run(work, lambda curve: self.board.add_detail(series_id, curve), self._desk.says.emit)

    # --- Selection and actions ----------------------------------------------------------------------------------------------------------------

    @property
    def selected(self) -> list[RunRow]:
        return [self.model.runs[index.row()] for index in self.table.selectionModel().selectedRows()]

    def _selected(self) -> None:
        self._offer_actions()
        selected = self.selected
        failed = next((run for run in selected if run.reason and run.status in ("failed", "lost", "cancelled")), None)
        if failed is not None:
            self.notice.say(
                "error" if failed.status != "cancelled" else "info", f"{failed.variant}, seed {failed.seed}: {failed.reason} {failed.advice}".strip()
            )
        else:
            self.notice.clear()
        if not self.log.isHidden():
            self._read_log()

    def _offer_actions(self) -> None:
        pool = self.selected or self.model.runs
        self.stop_button.setEnabled(any(not run.over and run.request != "cancel" for run in pool))
        self.resume_button.setEnabled(any(run.status in ("failed", "cancelled", "lost") for run in pool))
        self.compare_button.setEnabled(any(run.status == "done" for run in self.model.runs))
        some = "the selected" if self.selected else "all"
        self.stop_button.setText("Stop" if self.selected else "Stop all")
        self.resume_button.setAccessibleDescription(f"Continue {some} runs that did not finish")

    def stop_selected(self) -> None:
        """Ask the selected runs, or all that have not ended, to stop."""
        ids = [run.id for run in self.selected or self.model.runs if not run.over]
        self._write(lambda store, commands: commands.request_cancel(store, ids), f"Stopping {len(ids)} run{'s' if len(ids) != 1 else ''} …", ids)

    def resume_selected(self) -> None:
        """Queue the selected failed, cancelled or lost runs again, or all of them."""
        ids = [run.id for run in self.selected or self.model.runs if run.status in ("failed", "cancelled", "lost")]

        def act(store: Any, commands: Any) -> None:
            from engines.launching import ensure_supervisor

            commands.requeue(store, ids)
            ensure_supervisor(store.url)

        self._write(act, f"Resuming {len(ids)} run{'s' if len(ids) != 1 else ''} …", ids)

    def delete(self) -> None:
        """Delete the experiment, after a question."""
        experiment = self.list.current
        if experiment is None:
            return
        box = QMessageBox.question(
            self, "Delete the experiment?", f"“{self.title.text()}” and its runs are hidden now and removed at the next clean-up."
        )
        if box == QMessageBox.StandardButton.Yes:
            self.board.clear()
            self.list.list.setCurrentRow(-1)
            self.feed.watch(None)
            self._write(lambda store, commands: commands.delete_experiment(store, experiment), "Deleted.", [experiment])

    def _write(self, act: Callable[[Any, Any], Any], words: str, ids: list[int]) -> None:
        store = self._desk.store
        if store is None or not ids:
            return

        def work() -> None:
            from engines.store import commands

            act(store, commands)

        def done(_nothing: object) -> None:
            self._desk.says.emit(words)
            self.feed.refresh()

        self._desk.errands.run(work, done, lambda sentence: self.notice.say("error", sentence))

    def _clicked_square(self, index: Any) -> None:
        left = self.table.visualRect(index).left()
        if self.table.viewport().mapFromGlobal(self.cursor().pos()).x() - left < 28:
            self.model.toggle(index.row())

    def _toggled(self) -> None:
        self.board.show_runs(self.model.runs, self.colours(), self.model.hidden)
        self.board.redraw()

    def _set_axis(self) -> None:
        by_time = bool(self.axis.currentData())
        self.board.clear()
        self.board.set_axis(by_time=by_time)
        self.feed.follow(self._chosen_keys, exact=by_time)

    def _fill_curves(self) -> None:
        self.curves_menu.clear()
        units = {row.key: row.unit for row in self._update.series} if self._update else {}
        for key in [*DEFAULT_KEYS, *sorted(set(units) - set(DEFAULT_KEYS))]:
            action = self.curves_menu.addAction(title_of(key))
            action.setCheckable(True)
            action.setChecked(key in self._chosen_keys)
            action.setEnabled(key in units)
            action.toggled.connect(lambda on, key=key: self._toggle_key(key, on))

    def _toggle_key(self, key: str, on: bool) -> None:
        (self._chosen_keys.add if on else self._chosen_keys.discard)(key)
        self.board.clear()
        self.feed.follow(self._chosen_keys, exact=bool(self.axis.currentData()))

    def toggle_log(self) -> None:
        """Show or hide the end of the selected run's log."""
        self.log.setVisible(self.log.isHidden())
        if not self.log.isHidden():
            self._read_log()

    def _read_log(self) -> None:
        store, selected = self._desk.store, self.selected
        if store is None or not selected:
            return
        run = selected[0]
        path = Path(store.folder) / (run.folder or f"runs/{run.id}") / "worker.log"

        def work() -> str:
            from engines.store import queries

            events = "".join(f"{event.level}: {event.text}\n" for event in queries.events(store, run.id))
            if not path.exists():
                return events or "Nothing was written yet."
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES))
                return events + file.read().decode(errors="replace")

        def show(text: str) -> None:
            if text != self.log.toPlainText():
                self.log.setPlainText(text)
                self.log.verticalScrollBar().setValue(self.log.verticalScrollBar().maximum())

        self._desk.errands.run(work, show, lambda sentence: self.log.setPlainText(sentence))

    def _recolour(self, theme: Theme) -> None:
        self.delegate.theme = theme
        recolour(self, theme)
        colours = self.colours()
        self.model.colours = colours
        self.table.viewport().update()
        self.board.paint_with(theme, colours)


def _state(runs: list[RunRow]) -> str:
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.status] = counts.get(run.status, 0) + 1
    words = ", ".join(
        f"{counts[status]} {status}" for status in ("running", "starting", "queued", "done", "failed", "cancelled", "lost") if status in counts
    )
    return f"{len(runs)} run{'s' if len(runs) != 1 else ''}: {words}" + (
        " · smoke test, figures mean nothing" if any(run.smoke for run in runs) else ""
    )
