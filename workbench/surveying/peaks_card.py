"""What the machine can do at best, as it was measured, and the button that measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QWidget

from workbench.programs import Program
from workbench.theme import Theme
from workbench.watching.experiment_list import ago
from workbench.widgets.figures import Column, FigureTable
from workbench.widgets.surfaces import Card
from workbench.widgets.text import label, number

FORMATS = {"float32": 62, "bfloat16": 70, "float16": 62, "int8": 52}
"""Number formats and the pixels that their figures need."""


def _figure(value: float) -> str:
    return number(value, 3)


COLUMNS = (
    Column("name", "Device", text=True),
    *(
        Column(name, name, f"Products of {name}, 10⁹ operations a second", _figure, width=width, least=640 if name == "float16" else 0)
        for name, width in FORMATS.items()
    ),
    Column("gb_per_s", "GB/s", "Bytes moved from and to memory", _figure, width=52),
    Column("launch_us", "Start µs", "What starting one operator takes", _figure, width=68),
    Column("measured", "Measured", text=True, width=86),
)


class PeaksCard(Card):
    """`measured` when new peaks are stored."""

    measured = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__("Measured peaks", "Operations in 10⁹ a second for each number format. Rooflines and predictions stand on them.", parent)
        self.program = Program(self)
        self.words = label("", "muted", wrap=True)
        self.program.said.connect(self.words.setText)
        self.program.answered.connect(lambda _text: self._ended(""))
        self.program.failed.connect(self._ended)
        self.program.stopped.connect(lambda: self._ended("Stopped; what was measured until then is kept."))
        self.button = QPushButton("Measure")
        self.button.setToolTip("Measure what this machine can do at best, in a process of its own; leave the machine alone meanwhile")
        self.button.clicked.connect(self.measure_or_stop)
        self.corner.addWidget(self.button)
        self.table = FigureTable(COLUMNS, theme, "Measured peaks of this machine")
        self.table.hide()
        self.body.addWidget(self.table)
        self.body.addWidget(self.words)

    def show_peaks(self, entries: Sequence[Mapping[str, Any]], doubts: Sequence[str]) -> None:
        """entries: as in `engines.peaks`; doubts: sentences about what makes them worth less."""
        rows = []
        for entry in entries:
            threads = entry["threads"]
            place = f"{entry['device']}, {threads} thread{'s' if threads != 1 else ''}" if entry["device"] == "cpu" else entry["device"]
            rates = {name: rate / 1e9 for name, rate in entry["flops_per_s"].items() if rate is not None}
            moved = {"gb_per_s": entry["bytes_per_s"] / 1e9, "launch_us": entry["launch_us"], "measured": ago(entry["measured"])}
            rows.append({"name": place, **rates, **moved})
        self.table.show_rows(rows)
        self.table.fit(6)
        self.table.setVisible(bool(rows))
        if not self.program.running:
            nothing = "Never measured on this machine: rooflines have no roof, and step times are not predicted. It takes seconds."
            self.words.setText("\n".join(doubts) if rows else nothing)
            self.words.setVisible(bool(self.words.text()))

    def measure_or_stop(self) -> None:
        """Begin to measure, or stop what is under way."""
        if self.program.running:
            self.program.stop()
            return
        self.measure()

    def measure(self) -> None:
        """Measure, unless that is under way; it waits while a timing session holds the machine."""
        if self.program.running:
            return
        self.words.setText("Starting …")
        self.words.show()
        self.button.setText("Stop")
        self.program.start(["-m", "workbench", "doctor", "--measure"])

    def _ended(self, sentence: str) -> None:
        self.button.setText("Measure")
        self.words.setText(sentence)
        self.words.setVisible(bool(sentence))
        self.measured.emit()

    def paint_with(self, theme: Theme) -> None:
        self.table.paint_with(theme)
