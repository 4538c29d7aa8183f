"""The pages of a profile: layers with the picture of the model, flame graph, roofline, memory, operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from workbench.profiling import colours
from workbench.profiling.blocks import ModelPicture
from workbench.profiling.flame import FlameGraph
from workbench.profiling.memory import MemoryTimeline
from workbench.profiling.reading import OWNERS, Profile, engineering
from workbench.theme import Theme
from workbench.widgets.figures import Column, FigureTable
from workbench.widgets.surfaces import scrolled, topped
from workbench.widgets.text import label, number, short


def _ms(value: float) -> str:
    return number(value, 3)


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _bytes(value: float) -> str:
    return engineering(value, "B")


LAYERS = (
    Column("name", "Layer", "Name as in the model; a click puts the layers back in their order", text=True),
    Column("type", "Kind", "Class of the module", text=True, width=120, least=900),
    Column("share", "Share", "Of the time that all layers take", _percent, bar=True, width=104, least=400),
    Column("forward_ms", "Forward ms", "Milliseconds of a step", _ms, width=92),
    Column("backward_ms", "Backward ms", "Milliseconds of a step", _ms, width=100),
    Column("calls", "Calls", "Forward calls in a step", lambda value: f"{value:g}", width=60, least=980),
    Column("parameters", "Parameters", "", short, width=96, least=780),
    Column("flops", "FLOPs", "Operations of a step that were counted", short, width=66),
    Column("bytes", "Bytes", "Moved in a step", _bytes, width=78),
    Column("bound", "Bound by", "What keeps it from being faster", text=True, width=90, least=1080),
)
OPERATORS = (
    Column("name", "Operator", "As torch names it", text=True),
    Column("share", "Share", "Of the own time of all operators", _percent, bar=True, width=150),
    Column("self_ms", "Own ms", "Milliseconds of a step, without what it calls", _ms, width=96),
    Column("total_ms", "Total ms", "Milliseconds of a step, with what it calls", _ms, width=96),
    Column("calls", "Calls", "In a step", lambda value: f"{value:g}", width=80),
    Column("flops", "FLOPs", "Operations of a step that were counted", short, width=96),
)
OWNED = (
    Column("name", "Owner", "", text=True),
    Column("share", "Share", "Of the memory at the peak", _percent, bar=True, width=124, least=300),
    Column("mib", "MiB", "At the peak", number, width=90),
)
MODULES = (
    Column("name", "Module", "", text=True),
    Column("share", "Share", "Of the memory at the peak", _percent, bar=True, width=124, least=380),
    Column("mib", "MiB", "Held by the module at the peak", number, width=90),
)


class LayersPage(QWidget):
    """The picture of the model on the left, its layers in a table on the right; what is chosen or pointed at in one is so in the other."""

    chosen = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.picture = ModelPicture(theme)
        self.table = FigureTable(LAYERS, theme, "Layers")
        self.words = label("", "caption", wrap=True)
        side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(14, 12, 8, 12)
        column.setSpacing(6)
        column.addWidget(label("The stronger the colour, the more time", "caption", wrap=True))
        self._scroll = scrolled(topped(self.picture))
        column.addWidget(self._scroll, 1)
        right = QWidget()
        inside = QVBoxLayout(right)
        inside.setContentsMargins(8, 12, 14, 8)
        inside.setSpacing(6)
        inside.addWidget(self.table, 1)
        inside.addWidget(self.words)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(side)
        splitter.addWidget(right)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([240, 700])
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(splitter)
        self.table.chosen.connect(self._choose)
        self.table.pointed.connect(self.picture.point_at)
        self.picture.pointed.connect(self.table.point_at)
        self.picture.chosen.connect(self.table.select)

    def show_profile(self, profile: Profile) -> None:
        self.picture.show_layers(profile.layers)
        self.picture.mark("")
        self.table.show_rows(profile.layers)
        uncounted: Mapping[str, int] = profile.data.get("uncounted") or {}
        names = ", ".join(f"{name} ({calls} calls)" for name, calls in sorted(uncounted.items(), key=lambda pair: -pair[1])[:6])
        rest = f" and {len(uncounted) - 6} more" if len(uncounted) > 6 else ""
        self.words.setText(f"Operations whose FLOPs are unknown, so that they are in no count: {names}{rest}." if uncounted else "")
        self.words.setVisible(bool(uncounted))

    def select(self, name: str) -> bool:
        return self.table.select(name)

    def _choose(self, name: str) -> None:
        self.picture.mark(name)
        part = self.picture.holding(name)
        if part is not None:
            self._scroll.ensureVisible(0, int(part.top), 0, 40)
        self.chosen.emit(name)

    def paint_with(self, theme: Theme) -> None:
        self.picture.paint_with(theme)
        self.table.paint_with(theme)


class FlamePage(QWidget):
    """The flame graph with the figures of the bar that is pointed at above it."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 8)
        column.setSpacing(8)
        self.words = label("", "strong", wrap=True)
        column.addWidget(self.words)
        self.graph = FlameGraph(theme)
        self.graph.pointed.connect(self.words.setText)
        column.addWidget(scrolled(topped(self.graph)), 1)
        column.addWidget(label("Click or Enter: fill the width. Arrows: walk. Escape: show all.", "caption"))

    def show_profile(self, profile: Profile) -> None:
        self.graph.show_cells(profile.cells)
        self.words.setText(self.graph.words(0))

    def paint_with(self, theme: Theme) -> None:
        self.graph.paint_with(theme)


class MemoryPage(QWidget):
    """The timeline, and below it who held the memory at the peak."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 10)
        column.setSpacing(10)
        self.timeline = MemoryTimeline(theme)
        column.addWidget(self.timeline, 1)
        row = QHBoxLayout()
        row.setSpacing(12)
        self.owners = FigureTable(OWNED, theme, "Owners of the memory at the peak")
        self.modules = FigureTable(MODULES, theme, "Modules that hold memory at the peak")
        row.addWidget(self.owners, 2, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self.modules, 3, Qt.AlignmentFlag.AlignTop)
        column.addLayout(row)
        self.words = label("", "caption", wrap=True)
        column.addWidget(self.words)

    def show_profile(self, profile: Profile) -> None:
        self.timeline.show_timeline(profile.instants, profile.owners)
        peak = profile.data["memory"]["peak"]
        whole = peak.get("total_mib") or 1.0
        owned = [{"name": owner, "mib": peak["owners"][owner], "share": peak["owners"][owner] / whole} for owner in OWNERS if owner in peak["owners"]]
        self.owners.show_rows(owned, self._swatches())
        modules = sorted(peak.get("modules", ()), key=lambda row: -row["mib"])
        self.modules.show_rows([{**row, "share": row["mib"] / whole} for row in modules])
        for table in (self.owners, self.modules):
            table.fit(5)
        self.words.setText(_beside(peak))
        self.words.setVisible(bool(self.words.text()))

    def _swatches(self) -> dict[str, str]:
        return {owner: colour.name() for owner, colour in colours.owners(self._theme).items()}

    def paint_with(self, theme: Theme) -> None:
        self._theme = theme
        self.timeline.paint_with(theme)
        self.owners.figures.swatches = self._swatches()
        for table in (self.owners, self.modules):
            table.paint_with(theme)


def _beside(peak: Mapping[str, Any]) -> str:
    """What the step held beside its tensors, as far as it was measured."""
    from engines.profiles import outside

    unseen = peak.get("unseen_mib") or 0.0
    known = unseen and unseen >= 0.005 * (peak.get("total_mib") or 1.0)
    inside = [f"Beside these, operators held up to {number(unseen)} MiB inside themselves while they worked."] if known else []
    return " ".join([*inside, *outside(peak)])


class OperatorsPage(QWidget):
    """The thirty operators with the most time of their own."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 12, 14, 10)
        self.table = FigureTable(OPERATORS, theme, "Operators")
        column.addWidget(self.table, 1)

    def show_profile(self, profile: Profile) -> None:
        self.table.show_rows(profile.operators)

    def paint_with(self, theme: Theme) -> None:
        self.table.paint_with(theme)


def step_words(data: Mapping[str, Any]) -> str:
    """What was profiled, in one line; and on a second one why its times may be those of other work."""
    from engines.profiles import doubts

    threads = data.get("threads")
    parts = [
        f"{data['steps']} steps of batch {data['batch']}, {data['length']} tokens long",
        str(data["device"]) + (f", {threads} thread{'s' if threads != 1 else ''}" if threads else ""),
    ]
    looked_at = (data.get("profiled") or {}).get("step_ms")
    if looked_at:
        parts.append(f"{number(looked_at)} ms while layers were looked at")
    cost = data.get("cost") or {}
    if cost.get("seconds"):
        parts.append(f"profiling took {cost['seconds']:.0f} s" + (f" and {engineering(cost['bytes'], 'B')}" if cost.get("bytes") else ""))
    reasons = doubts(data)
    return "  ·  ".join(parts) + (f"\nThese times are a hint and no more. {' '.join(reasons)}" if reasons else "")
