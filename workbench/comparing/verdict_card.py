"""The verdict table with what stands above it: find variants, choose and pin figures, show differences alone, unfold seeds, sort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from PySide6.QtCore import QPoint, QSettings, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCheckBox, QLineEdit, QMenu, QPushButton

from engines.report import labels
from workbench.comparing import table_look, verdicts
from workbench.comparing.column_chooser import ColumnChooser
from workbench.comparing.figure_table import FigureTable
from workbench.comparing.table_look import TableLook
from workbench.comparing.verdict_table import FOLD, By, Row, VerdictTable
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.flow import Beside
from workbench.widgets.surfaces import Card
from workbench.widgets.text import label

UNFOLD = {Qt.Key.Key_Plus: True, Qt.Key.Key_Minus: False}
SIDEWAYS = {Qt.Key.Key_Right: True, Qt.Key.Key_Left: False}


class _Table(FigureTable):
    """+ and - (on a name also the arrows) unfold and fold the seeds of a row."""

    fold_asked = Signal(int, bool)

    def takes_key(self, event: QKeyEvent) -> bool:
        index = self.selection.currentIndex()
        wanted = UNFOLD.get(Qt.Key(event.key()))
        if wanted is None and index.column() == 0:
            wanted = SIDEWAYS.get(Qt.Key(event.key()))
        folding = index.siblingAtColumn(0).data(FOLD) if index.isValid() else None
        means_it = folding == ("folded" if wanted else "unfolded") or (wanted is False and folding == "seed")
        if wanted is None or not means_it:
            return super().takes_key(event)
        self.fold_asked.emit(index.row(), wanted)
        return True


class VerdictCard(Card):
    """What is chosen here is remembered in the settings and holds for every experiment; only the text to find is not."""

    redrawn = Signal()
    """Rows moved, came or went: whoever marks one marks it again."""

    def __init__(self, theme: Theme, settings: QSettings) -> None:
        super().__init__("Verdicts", f"{verdicts.LEGEND}; the ratio is to the baseline, its interval in brackets.")
        self._settings = settings
        self.look: TableLook = table_look.read(settings)
        self._comparison: Mapping[str, Any] | None = None
        self._colours: Mapping[str, str] = {}
        self._measured: tuple[list[str], set[str]] | None = None
        self.model = VerdictTable(self)
        self.table = _Table(self.model, theme, "Figures and verdicts of the variants")
        for half in self.table.halves:
            half.setAccessibleDescription("Plus unfolds a variant into its seeds, minus folds it")
        self.chooser = ColumnChooser(self)
        self.body.addLayout(self._tools())
        self.told = label("", "caption", wrap=True)
        self.body.addWidget(self.told)
        self.body.addWidget(self.table)
        self.table.sort_by_heads()
        self.table.sort_asked.connect(self._sort)
        self.sorting.activated.connect(lambda place: self.table.sort_by(place - 1, self.table.sorting[1]))
        self.by.activated.connect(self._sort_by)
        self.table.fold_asked.connect(self._fold)
        self.table.staying.cells.fold_asked.connect(lambda index: self._fold(index.row(), index.data(FOLD) == "folded"))
        self.table.menu_asked.connect(self._open_menu)
        self.chooser.shown.connect(lambda key, on: self._choose(self.look.shown(key, on)))
        self.chooser.pinned.connect(lambda key, on: self._choose(self.look.pin(key, on)))
        self.chooser.standing.connect(lambda everything: self._choose(self.look.all_figures(everything)))

    def _tools(self) -> Beside:
        row = Beside(least=130)
        self.wanted = QLineEdit()
        self.wanted.setPlaceholderText("Find variants")
        self.wanted.setAccessibleName("Find variants by name or technique")
        self.wanted.setToolTip("Words of the name or of a technique; the baseline stays")
        self.wanted.setClearButtonEnabled(True)
        self.wanted.setMinimumWidth(110)
        self.wanted.textChanged.connect(lambda _text: self._fill())
        row.addWidget(self.wanted)
        self.differences = QCheckBox("Differences only")
        self.differences.setToolTip("Leave out figures in which every variant is as the baseline, by the verdict or exactly")
        self.differences.setChecked(self.look.differences)
        self.differences.toggled.connect(lambda on: self._choose(replace(self.look, differences=on)))
        self.seeds = QCheckBox("Seeds")
        self.seeds.setToolTip("Show the figures of each seed below its variant (a single one: + and − in the table)")
        self.seeds.setChecked(self.look.seeds)
        self.seeds.toggled.connect(self._unfold_all)
        self.columns = QPushButton("Figures …")
        self.columns.setToolTip("Choose the figures that are shown, and pin those that stay in sight")
        self.columns.clicked.connect(lambda: self.chooser.open_at(self.columns.mapToGlobal(self.columns.rect().bottomRight())))
        self.sorting = Choice()
        self.sorting.setAccessibleName("Sort the rows by")
        self.sorting.setMinimumWidth(140)
        self.by = Choice()
        self.by.addItem("figure", "value")
        self.by.addItem("ratio", "ratio")
        self.by.setAccessibleName("Sort by figure or by ratio")
        self.by.setMinimumWidth(84)
        caption = label("Sort", "caption")
        caption.setBuddy(self.sorting)
        for widget in (self.differences, self.seeds, self.columns, caption, self.sorting, self.by):
            row.addWidget(widget)
        return row

    # --- Showing ----------------------------------------------------------------------------------------------------------------------------

    def draw(self, comparison: Mapping[str, Any], colours: Mapping[str, str]) -> None:
        """Show another comparison, as it was chosen."""
        if self._comparison is None or comparison["experiments"] != self._comparison["experiments"]:
            self.model.unfolded = set()
        if self.look.seeds:
            self.model.unfolded |= set(comparison["variants"])
        self._comparison, self._colours, self._measured = comparison, colours, None
        self._fill()

    def _fill(self) -> None:
        comparison = self._comparison
        if comparison is None:
            return
        names = table_look.matching(comparison, self.wanted.text())
        keys = self.look.keys(comparison, names)
        self.model.show_comparison(comparison, keys, self._colours, names)
        self.table.pinned = sum(key in keys for key in self.look.pinned)
        self.sorting.clear()
        self.sorting.addItems(["as in the experiment", "name", *(labels.short(key) for key in keys)])
        column, order = self.model.sorting or (-1, Qt.SortOrder.AscendingOrder)
        self.table.show_sorting(column, order)
        self.sorting.setCurrentIndex(column + 1)
        self.chooser.show_keys(table_look.every_key(comparison), self._chosen(comparison), self.look.pinned)
        if self._measured is None or self._measured[0] != keys or not self._measured[1].issuperset(names):
            self.table.fit()
            self._measured = keys, set(names)
        else:
            self.table.fit_height()  # While letters are typed, columns keep their widths, and nothing is measured anew.
        self._tell(comparison, names, keys)
        self.redrawn.emit()

    def _chosen(self, comparison: Mapping[str, Any]) -> list[str]:
        """What is ticked: also figures that are left out only while differences alone are shown."""
        return replace(self.look, differences=False).keys(comparison, [])

    def _tell(self, comparison: Mapping[str, Any], names: list[str], keys: list[str]) -> None:
        """What is not shown, and why; nothing where all is."""
        sentences = []
        if self.wanted.text().strip():
            held = f"{len(names)} of {len(comparison['variants'])} variants" if names else "No variant"
            sentences.append(f"{held} with “{self.wanted.text().strip()}” in name or techniques.")
        same = len(self._chosen(comparison)) - len(keys)
        if same and names:
            figures = "1 figure is" if same == 1 else f"{same} figures are"
            sentences.append(f"{figures} left out: no difference from the baseline.")
        self.told.setText(" ".join(sentences))
        self.told.setVisible(bool(sentences))

    # --- Choosing ---------------------------------------------------------------------------------------------------------------------------

    def _choose(self, look: TableLook) -> None:
        self.look, self._measured = look, None
        table_look.write(look, self._settings)
        self._fill()

    def _unfold_all(self, on: bool) -> None:
        self.model.unfolded = set(self._comparison["variants"]) if on and self._comparison else set()
        self._choose(replace(self.look, seeds=on))

    def _fold(self, row: int, unfolded: bool) -> None:
        """Where a seed is looked at, its variant is looked at once it is folded."""
        name, column = self.model.rows[row].name, max(0, self.table.selection.currentIndex().column())
        self.model.fold(name, unfolded)
        self.table.go(self.model.index(self.model.rows.index(Row(name)), column))
        self.table.fit_height()
        self.redrawn.emit()

    def _open_menu(self, column: int, place: QPoint) -> None:
        self.menu_of(column).popup(place)

    def menu_of(self, column: int) -> QMenu:
        """What can be done with a column; 0 is that of the names."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

        def add(text: str, act: Callable[[], object]) -> None:
            menu.addAction(text).triggered.connect(lambda _checked=False: act())

        add("Sort upwards", lambda: self.table.sort_by(column, Qt.SortOrder.AscendingOrder))
        add("Sort downwards", lambda: self.table.sort_by(column, Qt.SortOrder.DescendingOrder))
        menu.addSeparator()
        if column > 0:
            key = self.model.keys[column - 1]
            pinned = key in self.look.pinned
            add("Let it scroll" if pinned else "Pin it beside the names", lambda: self._choose(self.look.pin(key, not pinned)))
            add("Leave it out", lambda: self._choose(self.look.shown(key, False)))
        add("Choose figures …", lambda: self.columns.click())
        return menu

    # --- Sorting ----------------------------------------------------------------------------------------------------------------------------

    def _sort(self, column: int, order: Qt.SortOrder) -> None:
        self.model.sort(column, order)
        self.sorting.setCurrentIndex(column + 1)
        self.redrawn.emit()

    def _sort_by(self, _place: int) -> None:
        self.model.by = cast(By, self.by.currentData())
        self._sort(*self.table.sorting)
