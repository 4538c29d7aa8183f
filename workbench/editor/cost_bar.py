"""The foot of the editor: what the variant that is looked at costs, in proportion to the baseline, while it is edited."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from workbench.editor.costs import Cost, Known, costs
from workbench.widgets.flow import Flow
from workbench.widgets.text import ElidedLabel, flag, label

FITTED = "It is made from the training text at once: how large it is and what it does are known when it has run."
UNKNOWN = "–"
QWIDGETSIZE_MAX = (1 << 24) - 1
"""No limit, as Qt says it."""
ABOUT = 170
"""Pixels for the name of the variant."""


class _Cell(QWidget):
    """One figure: its name above, value, unit and ratio below."""

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self.name = label("", "caption")
        column.addWidget(self.name)
        row = QHBoxLayout()
        row.setSpacing(4)
        self.figure, self.unit = label(UNKNOWN, "strong"), label("", "caption")
        row.addWidget(self.figure)
        row.addWidget(self.unit)
        row.addStretch(1)
        column.addLayout(row)

    def show_cost(self, cost: Cost, *, waiting: bool) -> None:
        """waiting: the figure is being found out again, so the one before stays, dimmed."""
        self.name.setText(cost.name)
        old = waiting and not cost.value
        if not old:
            self.figure.setText(cost.value or UNKNOWN)
            self.unit.setText(" · ".join(part for part in (cost.unit, cost.ratio) if part) if cost.value else "")
            self.setToolTip(cost.tip)
            self.setAccessibleName(f"{cost.name}: {cost.value or 'not known'} {cost.unit}" + (f", {cost.ratio}" if cost.ratio else ""))
        flag(self.figure, "role", "muted" if old else "strong")


class CostBar(QFrame):
    """Shows what is known at once and keeps what is being found out again, dimmed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("foot")
        self.setAccessibleName("What this variant costs")
        row = self._row = Flow(self, gap=18)
        row.setContentsMargins(16, 6, 16, 8)
        named = QWidget()
        named.setFixedWidth(ABOUT)
        about = QVBoxLayout(named)
        about.setContentsMargins(0, 0, 0, 0)
        about.setSpacing(0)
        self.name, self.beside = ElidedLabel("strong"), ElidedLabel("caption")
        about.addWidget(self.beside)
        about.addWidget(self.name)
        row.addWidget(named)
        self.cells = [_Cell() for _ in costs(Known(), None)]
        for cell in self.cells:
            row.addWidget(cell)
        self.state = label("", "caption")
        row.addWidget(self.state)
        self.show_known(Known(), None)

    def stand(self, *, low: bool) -> None:
        """In one line, with as much as that holds, or in as many as it takes."""
        margins = self._row.contentsMargins()
        line = max(cell.sizeHint().height() for cell in self.cells) + margins.top() + margins.bottom()
        self.setMaximumHeight(line if low else QWIDGETSIZE_MAX)

    def show_known(self, known: Known, base: Known | None, state: str = "", *, waiting: bool = False) -> None:
        """base: the baseline, None where it is what is shown. waiting: more is being found out."""
        same = known.name == self.name.text()
        self.name.setText(known.name)
        self.beside.setText(f"in proportion to {base.name}" if base is not None else "Baseline" if known.name else "")
        for cell, cost in zip(self.cells, costs(known, base), strict=True):
            cell.show_cost(cost, waiting=waiting and same)
        fitted = bool(known.shapes and known.shapes.get("fitted"))
        self.state.setText(FITTED if fitted else state)
