"""The machine: what it is, what it is doing now, which other machines the store knows, and what of the workbench works here."""

from __future__ import annotations

import json
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QGridLayout, QPushButton, QVBoxLayout, QWidget

from workbench.desk import Desk
from workbench.programs import Program
from workbench.surveying import looks
from workbench.surveying.findings import Findings
from workbench.surveying.gauges import Gauge
from workbench.surveying.peaks_card import PeaksCard
from workbench.theme import Theme
from workbench.widgets.columns import Columns
from workbench.widgets.surfaces import Card, Notice, emptied, recolour, scrolled
from workbench.widgets.text import flag, label

PERIOD_MS = 1000
ARRANGEMENTS = [(0, [[0, 7, 1, 2, 6, 3, 4, 5]]), (860, [[0, 1, 3], [7, 2, 6, 5, 4]]), (1700, [[0, 2, 6], [7, 1, 4], [5, 3]])]


class MachineView(QWidget):
    """Looks once a second while it is shown, never otherwise."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self._lookout = looks.Lookout()
        self._looking = False
        self._diagnosed = False
        self.facts: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.doctor = Program(self, fine=(0, 1))
        self.doctor.answered.connect(self._show_findings)
        self.doctor.failed.connect(self._not_diagnosed)
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(24, 20, 24, 24)
        column.setSpacing(14)
        column.addWidget(label("This machine", "title"))
        self.caption = label("Looking …", "caption", wrap=True, selectable=True)
        column.addWidget(self.caption)
        self.notice = Notice()
        column.addWidget(self.notice)
        cards = [self._now(), self._hardware(), self._gpus(), self._versions(), self._others(), self._works(), self._energy(), self._peaks()]
        column.addWidget(Columns(cards, ARRANGEMENTS))
        column.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(page))
        self._timer = QTimer(self)
        self._timer.setInterval(PERIOD_MS)
        self._timer.timeout.connect(self.look)
        desk.theme_changed.connect(self._recolour)
        desk.store_opened.connect(lambda _store: self._read())

    def _now(self) -> Card:
        card = Card("Now")
        self.verdict = label("", "strong", wrap=True)
        card.body.addWidget(self.verdict)
        theme = self._desk.theme
        self.percent = Gauge("Processor in use", theme, 100.0)
        self.load = Gauge("Load average, one minute", theme)
        self.clock = Gauge("Clock", theme)
        self.free = Gauge("Memory in use", theme)
        self.gauges = [self.percent, self.load, self.clock, self.free]
        for gauge in self.gauges:
            card.body.addWidget(gauge)
        self.throttling = label("", "caption", wrap=True)
        card.body.addWidget(self.throttling)
        return card

    def _hardware(self) -> Card:
        card = Card("Hardware and system")
        self._lines = _grid(card)
        return card

    def _gpus(self) -> Card:
        card = Card("GPUs")
        self._gpu_box = QVBoxLayout()
        self._gpu_box.setSpacing(10)
        card.body.addLayout(self._gpu_box)
        self._gpu_lines: list[Any] = []
        return card

    def _energy(self) -> Card:
        card = Card("Energy", "Counted by the hardware, or not at all: nothing is guessed from data sheets.")
        self.counters = Findings(self._desk.theme)
        card.body.addWidget(self.counters)
        return card

    def _peaks(self) -> Card:
        self.peaks = PeaksCard(self._desk.theme)
        self.peaks.measured.connect(self._read_peaks)
        self.peaks.measured.connect(self.diagnose)
        return self.peaks

    def _versions(self) -> Card:
        card = Card("Versions", "Packages whose version can move a figure.")
        self._packages = _grid(card)
        return card

    def _others(self) -> Card:
        self.others_card = Card("Machines of this store", "Figures of two machines are not compared without a warning.")
        self._others_box = QVBoxLayout()
        self._others_box.setSpacing(6)
        self.others_card.body.addLayout(self._others_box)
        return self.others_card

    def _works(self) -> Card:
        card = Card("What works here", "What workbench doctor says in a terminal.")
        self.doctor_button = QPushButton("Look again")
        self.doctor_button.clicked.connect(self.diagnose)
        card.corner.addWidget(self.doctor_button)
        self.doctor_note = label("", "muted", wrap=True)
        card.body.addWidget(self.doctor_note)
        self.findings = Findings(self._desk.theme)
        card.body.addWidget(self.findings)
        return card

    # --- Looking ----------------------------------------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._timer.start()
        self._read()
        self.look()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def leave(self) -> None:
        """The window closes."""
        self._timer.stop()
        self.doctor.close()
        self.peaks.program.close()

    def _read(self) -> None:
        """The facts, and the machines that the store knows."""
        store = self._desk.store

        def work() -> tuple[dict[str, Any], list[Any]]:
            from engines.store import queries

            return self._lookout.facts(), queries.machines(store) if store is not None else []

        self._desk.errands.run(work, self._show_facts, self._failed)
        self._desk.errands.run(self._lookout.energy, self._show_counters, self._failed)
        self._read_peaks()

    def _read_peaks(self) -> None:
        self._desk.errands.run(self._lookout.peaks, lambda found: self.peaks.show_peaks(*found), self._failed)

    def measure(self) -> None:
        """Measure the machine's peaks."""
        self.peaks.measure()

    def look(self) -> None:
        """See what the machine does now; one look at a time."""
        if self._looking:
            return
        self._looking = True
        self._desk.errands.run(self._lookout.now, self._show_now, self._failed)

    def _failed(self, sentence: str) -> None:
        self._looking = False
        self.notice.say("error", sentence)

    def _show_facts(self, answer: tuple[dict[str, Any], list[Any]]) -> None:
        facts, machines = answer
        if facts != self.facts:
            self.facts = facts
            self.caption.setText(f"{facts['host']}  ·  {facts['cpu']}  ·  {facts['system']}")
            _fill(self._lines, looks.hardware(facts))
            _fill(self._packages, list(facts["versions"].items()))
            self._name_gpus(facts["gpus"])
        emptied(self._others_box)
        for sentence in looks.others(facts, machines):
            self._others_box.addWidget(label(sentence, wrap=True, selectable=True))

    def _show_counters(self, counters: list[dict[str, str]]) -> None:
        if counters != self.counters.shown:
            self.counters.show_findings(counters)

    def _name_gpus(self, gpus: list[dict[str, Any]]) -> None:
        emptied(self._gpu_box)
        self._gpu_lines = []
        if not gpus:
            self._gpu_box.addWidget(label("No NVIDIA driver answers; figures of other accelerators are not read here.", "muted", wrap=True))
        for number, gpu in enumerate(gpus):
            self._gpu_box.addWidget(label(f"{number}  {gpu['name']}", "strong", selectable=True))
            about = f"{gpu['memory_mib']:,} MiB, compute capability {gpu['capability']}, driver {gpu['driver']}"
            self._gpu_box.addWidget(label(about, "caption", wrap=True, selectable=True))
            line = label("", wrap=True)
            self._gpu_box.addWidget(line)
            self._gpu_lines.append(line)

    def _show_now(self, state: dict[str, Any]) -> None:
        self._looking = False
        self.state = state
        if not self.facts:
            return
        kind, sentence = looks.verdict(state, self.facts["cores"])
        self.verdict.setText(sentence)
        flag(self.verdict, "state", kind)
        self.percent.show_value(state["machine_percent"], f"{state['machine_percent']:.0f}% of all cores")
        self.load.trace.top = float(self.facts["cores"])
        self.load.show_value(state["load_1"], f"{state['load_1']:.2f} on {self.facts['cores']} cores")
        clock = state.get("frequency_mhz")
        self.clock.show_value(clock, "cannot be read here" if clock is None else f"{clock:,.0f} MHz")
        self.throttling.setText(looks.throttling(state))
        whole = float(self.facts["memory_mib"])
        self.free.trace.top = whole
        used = whole - state["memory_available_mib"]
        self.free.show_value(used, f"{used:,.0f} of {whole:,.0f} MiB")
        for line, figures in zip(self._gpu_lines, state["gpus"], strict=False):
            line.setText(looks.gpu_words(figures))
        if not self._diagnosed and not state["timing"]:
            self.diagnose()

    # --- The doctor -------------------------------------------------------------------------------------------------------------------------

    def diagnose(self) -> None:
        """Let `workbench doctor` look, in a process of its own."""
        if self.doctor.running:
            return
        self._diagnosed = True
        self.doctor_button.setEnabled(False)
        self.doctor_note.setText("Looking …")
        self.doctor_note.show()
        store = self._desk.store
        self.doctor.start(["-m", "workbench", "doctor", "--json", *(["--store", store.url] if store is not None else [])])

    def _show_findings(self, text: str) -> None:
        self.doctor_button.setEnabled(True)
        try:
            findings = json.loads(text)["findings"]
        except (ValueError, KeyError):
            self._not_diagnosed("workbench doctor gave an answer that is no JSON; run it in a terminal.")
            return
        broken = sum(finding["state"] == "broken" for finding in findings)
        self.doctor_note.setText("Everything that is needed works." if not broken else f"{broken} thing{'s do' if broken > 1 else ' does'} not work.")
        self.findings.show_findings(findings)

    def _not_diagnosed(self, sentence: str) -> None:
        self.doctor_button.setEnabled(True)
        self.doctor_note.setText(sentence)

    def _recolour(self, theme: Theme) -> None:
        recolour(self, theme)
        for gauge in self.gauges:
            gauge.paint_with(theme)
        self.peaks.paint_with(theme)
        for findings in (self.findings, self.counters):
            findings.paint_with(theme)


def _grid(card: Card) -> QGridLayout:
    """Two columns in a card: names and texts."""
    grid = QGridLayout()
    grid.setHorizontalSpacing(16)
    grid.setVerticalSpacing(6)
    grid.setColumnStretch(1, 1)
    card.body.addLayout(grid)
    return grid


def _fill(grid: QGridLayout, lines: list[tuple[str, str]]) -> None:
    emptied(grid)
    for row, (name, text) in enumerate(lines):
        grid.addWidget(label(name, "muted"), row, 0)
        grid.addWidget(label(text, wrap=True, selectable=True), row, 1)
