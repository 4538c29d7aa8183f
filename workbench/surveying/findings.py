"""What the doctor found, as lines: what is broken first, then notes, then what is fine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from workbench.icons import pixmap
from workbench.theme import Theme
from workbench.widgets.surfaces import emptied
from workbench.widgets.text import label

ORDER = ("broken", "note", "ok")
PICTURES = {"broken": "error", "note": "info", "ok": "ok"}


class Findings(QWidget):
    """A line for each finding: {"name", "state": ok | note | broken, "text"}."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.shown: list[Mapping[str, Any]] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(7)
        self._grid.setColumnStretch(2, 1)

    def show_findings(self, findings: Sequence[Mapping[str, Any]]) -> None:
        emptied(self._grid)
        self.shown = sorted(findings, key=lambda finding: ORDER.index(finding["state"]))
        top = Qt.AlignmentFlag.AlignTop
        for row, finding in enumerate(self.shown):
            state = finding["state"]
            picture = QLabel()
            colour = {"broken": self.theme.danger, "note": self.theme.warning, "ok": self.theme.ok}[state]
            picture.setPixmap(pixmap(PICTURES[state], colour, 16, self.devicePixelRatioF()))
            picture.setAccessibleName(state)
            picture.setToolTip({"broken": "does not work", "note": "works, with less", "ok": "works"}[state])
            self._grid.addWidget(picture, row, 0, top)
            self._grid.addWidget(label(finding["name"], "strong", selectable=True), row, 1, top)
            self._grid.addWidget(label(finding["text"], "error" if state == "broken" else "muted", wrap=True, selectable=True), row, 2, top)

    def paint_with(self, theme: Theme) -> None:
        self.theme = theme
        self.show_findings(self.shown)
