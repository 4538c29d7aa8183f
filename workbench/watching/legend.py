"""Which curve is whose: a chip a variant (or a run). A click hides or shows its curves, with Alt held it shows them alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QColor, QIcon, QMouseEvent, QPainter, QPixmap
from PySide6.QtWidgets import QScrollArea, QToolButton, QWidget

from workbench.plotting.readout import shortened
from workbench.widgets.flow import LINE, Flow
from workbench.widgets.surfaces import emptied

ROWS = 2
"""Lines of chips that are seen at once; more are scrolled."""


@dataclass(frozen=True)
class Entry:
    """name; colour "#RRGGBB"; runs: whose curves it stands for."""

    name: str
    colour: str
    runs: tuple[int, ...]


class Chip(QToolButton):
    """A button that knows whether Alt was held when it was clicked."""

    with_alt = False

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.with_alt = bool(event.modifiers() & Qt.KeyboardModifier.AltModifier)
        super().mouseReleaseEvent(event)
        self.with_alt = False


class Legend(QScrollArea):
    """`toggled(runs)` on a click, `soloed(runs)` on a click with Alt."""

    toggled = Signal(tuple)
    soloed = Signal(tuple)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._inside = QWidget()
        self._flow = Flow(self._inside)
        self.setWidget(self._inside)
        self._entries: list[Entry] = []
        self._hidden: frozenset[int] | None = None
        self._found: frozenset[int] | None = None
        self.chips: list[Chip] = []
        self.setAccessibleName("Legend of the curves")

    def show_entries(self, entries: Sequence[Entry], hidden: Collection[int], found: Collection[int] | None = None) -> None:
        """Draw the chips again where something differs. hidden: runs whose curves are not drawn; found: those that a search left, None: all."""
        if list(entries) != self._entries:
            self._entries, self._hidden, self._found = list(entries), None, None
            emptied(self._flow)
            self.chips = [self._chip(entry) for entry in entries]
            for chip in self.chips:
                chip.ensurePolished()  # Before that it does not know its size.
                self._flow.addWidget(chip)
            self._fit()
            QTimer.singleShot(0, self, self._fit)
        left = None if found is None else frozenset(found)
        if left != self._found:
            self._found = left
            for entry, chip in zip(self._entries, self.chips, strict=True):
                chip.setVisible(left is None or not left.isdisjoint(entry.runs))
            self._fit()
        if self._hidden == frozenset(hidden):
            return
        self._hidden = frozenset(hidden)
        for entry, chip in zip(self._entries, self.chips, strict=True):
            shown = not self._hidden.issuperset(entry.runs)
            chip.setChecked(shown)
            chip.setIcon(_swatch(entry.colour, filled=shown))

    def _chip(self, entry: Entry) -> Chip:
        chip = Chip()
        chip.setProperty("chip", True)
        chip.setCheckable(True)
        chip.setText(shortened(entry.name, 28))
        chip.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        chip.setToolTip(f"{entry.name}\nClick: hide or show its curves. Alt and click: these alone, or all again.")
        chip.setAccessibleName(f"Curves of {entry.name}")
        chip.clicked.connect(lambda: self._clicked(entry.runs, alone=chip.with_alt))
        return chip

    def _clicked(self, runs: tuple[int, ...], *, alone: bool) -> None:
        self._hidden = None  # Qt has toggled the chip already: what is shown follows from what is hidden.
        (self.soloed if alone else self.toggled).emit(runs)

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        lines = self._flow.heightForWidth(max(1, self.viewport().width()))
        self.setFixedHeight(max(LINE, min(lines, ROWS * LINE)))


def _swatch(colour: str, *, filled: bool) -> QIcon:
    image = QPixmap(24, 24)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QColor(colour))
    painter.setBrush(QColor(colour) if filled else Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(3, 3, 18, 18, 4, 4)
    painter.end()
    return QIcon(image)
