"""What training the shown model will take on this machine, told before it runs: asked of a process of its own, shown as a card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from PySide6.QtCore import QObject, QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from engines.hearing import last_said
from engines.predicting import MODULE
from workbench.desk import Desk
from workbench.editor.costs import Known, details
from workbench.profiling import colours
from workbench.programs import Program
from workbench.theme import Theme
from workbench.widgets.legend import Legend
from workbench.widgets.surfaces import Card, emptied
from workbench.widgets.text import label, number

BAR = 12


class Forecast(QObject):
    """The process that predicts. Another question ends the one under way."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._program = Program(self)
        self._program.answered.connect(self._answered)
        self._program.failed.connect(lambda sentence: self._refused(sentence))
        self._told: Callable[[dict[str, Any]], None] = _nobody
        self._refused: Callable[[str], None] = _nobody

    def ask(
        self, plan: Mapping[str, Any], plans: Mapping[str, Mapping[str, Any]], runs: str, told: Callable[[dict[str, Any]], None],
        refused: Callable[[str], None],
    ) -> None:  # fmt: skip
        """plans: of every variant by name, for those that the recipe of `plan` reads; runs: folder of the runs of the store, for those that it
        names. One of the two functions is called later."""
        self.forget()
        self._told, self._refused = told, refused
        self._program.start(["-m", MODULE, json.dumps({"plan": plan, "plans": plans, "considerate": True, "runs": runs})])

    @property
    def running(self) -> bool:
        return self._program.running

    def forget(self) -> None:
        """What is being predicted is no longer wanted."""
        self._program.close()

    def _answered(self, text: str) -> None:
        found = last_said(text) or {"error": "The process said nothing."}
        if "error" in found:
            self._refused(str(found["error"]))
        else:
            self._told(found["answer"])


def _nobody(answer: Any) -> None:
    """Nobody has asked yet."""


class OwnersBar(QWidget):
    """Memory at the peak as one bar, by owner."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.mib: dict[str, float] = {}
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Memory at the peak, by owner")

    def sizeHint(self) -> QSize:
        return QSize(200, BAR)

    def shades(self) -> dict[str, QColor]:
        return {"process": QColor(self.theme.border), **colours.owners(self.theme)}

    def paintEvent(self, event: QPaintEvent) -> None:
        whole = sum(self.mib.values())
        if not whole:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        shape = QPainterPath()
        shape.addRoundedRect(QRectF(0, 0, self.width(), BAR), 4, 4)
        painter.setClipPath(shape)
        left, shades = 0.0, self.shades()
        for owner, mib in self.mib.items():
            width = self.width() * mib / whole
            painter.fillRect(QRectF(left, 0, max(0.0, width - 1), BAR), shades[owner])
            left += width


class ForecastCard(Card):
    """What is known of a variant beside its costs: whose its memory is, or why there is no prediction."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("In detail")
        self._desk = desk
        self._rows = QVBoxLayout()
        self._rows.setSpacing(6)
        self.body.addLayout(self._rows)
        self._of = label("Memory at the peak, by owner (MiB)", "muted", wrap=True)
        self.body.addWidget(self._of)
        self.bar = OwnersBar(desk.theme)
        self.body.addWidget(self.bar)
        self.legend = Legend()
        self.body.addWidget(self.legend)
        self.state = label("", "caption", wrap=True)
        self.body.addWidget(self.state)
        desk.theme_changed.connect(self._recolour)
        self.show_known(Known(), None)

    def show_known(self, known: Known, base: Known | None) -> None:
        """base: the baseline, None where it is what is shown. The card is hidden where there is nothing to say."""
        emptied(self._rows)
        rows, found = details(known, base), known.found or {}
        for row in rows:
            self._rows.addLayout(figure_row(row.name, row.value, " · ".join(part for part in (row.unit, row.ratio) if part), row.tip))
        self.bar.mib = {owner: mib for owner, mib in found.get("memory_mib", {}).items() if mib}
        self._recolour(self._desk.theme)
        for part in (self._of, self.bar, self.legend):
            part.setVisible(bool(self.bar.mib))
        self.state.setText(" ".join(filter(None, [known.refused, *found.get("missing", [])])))
        self.state.setVisible(bool(self.state.text()))
        self.setVisible(bool(rows or found or known.refused))

    def _recolour(self, theme: Theme) -> None:
        self.bar.theme = theme
        shades = self.bar.shades()
        self.legend.show_entries((shades[owner].name(), f"{owner} {number(mib, 3)}") for owner, mib in self.bar.mib.items())
        self.bar.update()


def figure_row(name: str, value: str, unit: str, tip: str) -> QHBoxLayout:
    """A name at the left, a figure with its unit at the right."""
    row = QHBoxLayout()
    row.addWidget(label(name, "muted"))
    row.addStretch(1)
    figure = label(value, "strong")
    figure.setToolTip(tip)
    row.addWidget(figure)
    row.addWidget(label(unit, "caption"))
    return row
