"""Which layers of a finished model bear to be rounded or pruned: measured beside the window, drawn, and the mix that follows for a recipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from engines.report import labels
from engines.sensitivity import ALLOWED, LEVELS, Mode, SensitivityError, allowance, command, levels_of, mix_words, refusal, stored, toml
from workbench.desk import Desk
from workbench.profiling.sensitivity_bars import SensitivityBars
from workbench.programs import Program
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.figures import Column, FigureTable
from workbench.widgets.flow import Flow
from workbench.widgets.legend import Legend
from workbench.widgets.surfaces import Empty, Notice, scrolled, topped
from workbench.widgets.text import label, number, short
from workbench.widgets.working import Working

if TYPE_CHECKING:
    from engines.store.rows import RunRow

MODES: tuple[tuple[Mode, str, str], ...] = (
    ("bits", "Round to bits", "Each matrix alone is rounded as quantization/weight_only does by default: groups of 64, symmetric"),
    ("sparsity", "Prune to sparsity", "In each matrix alone the smallest weights become zero"),
)


class SensitivityPage(QWidget):
    """Shows what was measured of the run that the view shows, and measures it in a process of its own."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._run: RunRow | None = None
        self._found: dict[str, dict[str, Any]] = {}
        self._working_on, self._error = 0, ""
        self._table: FigureTable | None = None
        self.program = Program(self)
        self.program.told.connect(self._heard)
        self.program.answered.connect(lambda _text: self._ended(""))
        self.program.failed.connect(self._refused)
        self.program.stopped.connect(lambda: self._ended("The measurement was stopped; nothing of it was stored."))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(10)
        column.addLayout(self._controls())
        self.working = Working("Layers that were measured", "Stop measuring sensitivity")
        self.working.stop_asked.connect(self.program.stop)
        column.addWidget(self.working)
        self.notice = Notice()
        column.addWidget(self.notice)
        self.pages = QStackedWidget()
        self.empty = Empty("profile", "", "")
        self.empty.paint_with(desk.theme)
        self.pages.addWidget(self.empty)
        self.pages.addWidget(self._results(desk.theme))
        column.addWidget(self.pages, 1)
        self._set_levels()

    def _controls(self) -> Flow:
        row = Flow(gap=8)
        self.modes = Choice()
        self.modes.setAccessibleName("What is done to a layer")
        self.modes.setMinimumWidth(170)
        for mode, title, tip in MODES:
            self.modes.addItem(title, mode)
            self.modes.setItemData(self.modes.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.modes.currentIndexChanged.connect(lambda _place: self._set_levels())
        row.addWidget(self.modes)
        self.levels = QLineEdit()
        self.levels.setMaximumWidth(150)
        self.levels.returnPressed.connect(self.start)
        row.addWidget(self.levels)
        row.addWidget(label("a mix may lose", "muted"))
        self.allowed = QLineEdit(f"{ALLOWED:g}")
        self.allowed.setMaximumWidth(70)
        self.allowed.setAccessibleName("What the suggested mix may lose, in nats a target")
        self.allowed.setToolTip("Nats a target that the suggested mix of levels may add to the loss; 0.01 is about 1% of a perplexity")
        self.allowed.returnPressed.connect(self.start)
        row.addWidget(self.allowed)
        row.addWidget(label("nats a target", "muted"))
        self.measure_button = QPushButton("Measure sensitivity")
        self.measure_button.setProperty("primary", True)
        self.measure_button.setToolTip("Change one layer at a time, judge the finished model on validation text each time, in a process of its own")
        self.measure_button.clicked.connect(self.start)
        row.addWidget(self.measure_button)
        return row

    def _results(self, theme: Theme) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        self.caption = label("", "caption", wrap=True)
        column.addWidget(self.caption)
        self.legend = Legend()
        column.addWidget(self.legend)
        self.bars = SensitivityBars(theme)
        self.bars.chosen.connect(self._choose)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(scrolled(topped(self.bars)))
        self._place = QVBoxLayout()
        self._place.setContentsMargins(8, 0, 0, 0)
        side = QWidget()
        side.setLayout(self._place)
        splitter.addWidget(side)
        splitter.setSizes([400, 540])
        column.addWidget(splitter, 1)
        row = QHBoxLayout()
        self.mix = label("", wrap=True, selectable=True)
        row.addWidget(self.mix, 1)
        self.copy_button = QPushButton("Copy for a recipe")
        self.copy_button.setToolTip("The mix as an entry of `techniques` in an experiment file (TOML), on the clipboard")
        self.copy_button.clicked.connect(self.copy)
        row.addWidget(self.copy_button, 0, Qt.AlignmentFlag.AlignTop)
        column.addLayout(row)
        return page

    # --- Which run --------------------------------------------------------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        found: Mode = self.modes.currentData()
        return found

    def _set_levels(self) -> None:
        self.levels.setText(", ".join(f"{level:g}" for level in LEVELS[self.mode]))
        unit = "bits, 2 to 8" if self.mode == "bits" else "share of the weights, between 0 and 1"
        self.levels.setAccessibleName(f"Levels to try ({unit})")
        self.levels.setToolTip(f"Levels to try, with commas ({unit})")
        self._show()

    def show_run(self, run: RunRow | None) -> None:
        """Show what is stored of a run."""
        changed = run is None or self._run is None or run.id != self._run.id
        self._run = run
        if changed:
            self._found = {}
            self.notice.clear()
            self._show()
            self._load()

    def _load(self) -> None:
        run, store = self._run, self._desk.store
        if run is None or store is None:
            return

        def show(found: dict[str, dict[str, Any]]) -> None:
            if self._run is not None and self._run.id == run.id:
                self._found = found
                self._show()

        self._desk.errands.run(lambda: stored(store, run.id), show, lambda sentence: self.notice.say("error", sentence))

    def _show(self) -> None:
        working = self.program.running
        self.working.setVisible(working)
        self.measure_button.setEnabled(self._run is not None and not working)
        found = self._found.get(self.mode)
        self.pages.setCurrentIndex(0 if found is None else 1)
        if found is not None:
            self._draw(found)
        elif self._run is None:
            self.empty.say("No run is chosen", "Choose a run that is done.")
        else:
            what = "rounded" if self.mode == "bits" else "pruned"
            words = "One layer is changed at a time, and the finished model judged on the same validation text. The run itself is not touched."
            self.empty.say(f"How much does each layer lose when it is {what}?", words)

    def _draw(self, found: dict[str, Any]) -> None:
        levels = [f"{level:g} bits" if found["mode"] == "bits" else f"{level:.0%} zero" for level in found["levels"]]
        rows = sorted(found["layers"], key=lambda row: -row["levels"][-1]["loss"])
        unit, figure = found["loss"]["unit"], found["figure"]
        self.caption.setText(
            f"{labels.name(figure['key'])} {number(figure['value'])} as it is, on the first {found['targets']:,} targets. Bars: {unit} a target that "
            f"the layer alone adds, whiskers: 95% intervals over {found['pieces']} pieces of the text, paired with the model as it is; that judged "
            f"again moved by {found['again']:.1g}."
        )
        self.legend.show_entries((self._desk.theme.curve(place), level) for place, level in enumerate(levels))
        self.bars.show_layers(rows, levels, f"{unit} lost")
        self._fill(rows, levels, found)
        self.mix.setText(mix_words(found))
        self.copy_button.setVisible(found["suggestion"]["recipe"] is not None)

    def _fill(self, rows: list[dict[str, Any]], levels: list[str], found: dict[str, Any]) -> None:
        """A table with a column a level; another one where there are other levels."""
        columns = [Column("name", "Layer", "Name of the weight, as patterns match it", text=True)]
        columns.append(Column("weights", "Weights", "", short, width=70, least=560))
        wide = 66 if found["mode"] == "bits" else 84
        columns += [Column(f"loss {n}", level, "Loss added, a target", lambda value: f"{value:+.4f}", width=wide) for n, level in enumerate(levels)]
        columns.append(Column("mixed", "Mix", "The level that the suggested mix gives it", lambda value: f"{value:g}", width=46))
        if self._table is not None:
            self._place.removeWidget(self._table)
            self._table.hide()
            self._table.deleteLater()
        self._table = FigureTable(columns, self._desk.theme, "Layers and what they lose")
        self._table.chosen.connect(self.bars.mark)
        self._place.addWidget(self._table)
        mixed = found["suggestion"]["levels"]
        self._table.show_rows(
            [
                {"name": row["name"], "weights": row["weights"], "place": row["place"], "mixed": mixed.get(row["name"])}
                | {f"loss {n}": each["loss"] for n, each in enumerate(row["levels"])}
                for row in rows
            ]
        )

    def _choose(self, name: str) -> None:
        self.bars.mark(name)
        if self._table is not None:
            self._table.select(name)

    def copy(self) -> None:
        """The mix as TOML on the clipboard."""
        found = self._found.get(self.mode)
        if found is not None and found["suggestion"]["recipe"] is not None:
            QGuiApplication.clipboard().setText(toml(found["suggestion"]["recipe"]))
            self._desk.says.emit("Copied: put it into the techniques of a variant.")

    # --- Measuring --------------------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Measure the run at the levels that are typed."""
        run, store = self._run, self._desk.store
        if run is None or store is None or self.program.running:
            return
        self.notice.clear()
        if reason := refusal(run):
            self.notice.say("info", reason)
            return
        try:
            levels, allowed = levels_of(self.mode, self.levels.text()), allowance(self.allowed.text())
        except SensitivityError as error:
            self.notice.say("error", str(error))
            return
        self._working_on, self._error = run.id, ""
        self.working.say("Starting …")
        self.program.start(command(store.url, run.id, self.mode, levels, allowed))
        self._show()

    def _heard(self, line: str) -> None:
        """{"doing", "done", "of"} or {"error"}; what a library prints is passed over."""
        try:
            said = json.loads(line)
            self._error = str(said.get("error", self._error))
            doing, done, of = str(said.get("doing", "")), int(said.get("done", 0)), int(said.get("of", 0))
        except (ValueError, AttributeError):
            return
        if doing:
            self.working.say(f"{done} of {of}: {doing}" if of else doing, done / of if of else None)

    def _refused(self, sentence: str) -> None:
        self._ended("")
        self.notice.say("error", self._error or sentence)

    def _ended(self, sentence: str) -> None:
        self._show()
        if sentence:
            self.notice.say("info", sentence)
        elif self._run is not None and self._run.id == self._working_on:
            self._load()

    def paint_with(self, theme: Theme) -> None:
        self.empty.paint_with(theme)
        self.bars.paint_with(theme)
        self._show()
