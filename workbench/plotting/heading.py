"""The head of a plot: its name, what is drawn over what, what is to know about it, and the button for what can be done with it."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from workbench.theme import Theme
from workbench.widgets.legend import Legend
from workbench.widgets.surfaces import icon_button
from workbench.widgets.text import ElidedLabel, label


class Heading(QWidget):
    """title and unit: of the quantity; the unit may be known only once its first point is there."""

    def __init__(self, title: str, unit: str, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.unit, self.x_name = title, unit, "steps"
        self._note, self._empty = "", False
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        row = QHBoxLayout()
        row.addWidget(label(title, "strong"), 1)
        self.menu_button = icon_button("more", f"Export or close: {title}", theme)
        row.addWidget(self.menu_button)
        column.addLayout(row)
        self.caption = ElidedLabel("caption")
        column.addWidget(self.caption)
        self.legend = Legend()
        self.legend.setWordWrap(False)
        self.legend.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.legend.hide()
        column.addWidget(self.legend)
        self.read_out("")

    @property
    def axes(self) -> str:
        """As "nats/token over steps"."""
        return f"{self.unit} over {self.x_name}" if self.unit else f"over {self.x_name}"

    def set_unit(self, unit: str) -> None:
        self.unit = unit
        self.read_out("")

    def name_x(self, name: str) -> None:
        """What x counts: steps, tokens, seconds."""
        self.x_name = name
        self.read_out("")

    def say(self, note: str) -> None:
        """Something to know about the curves."""
        if note != self._note:
            self._note = note
            self.read_out("")

    def show_empty(self, empty: bool) -> None:
        """Say that nothing is recorded yet, or no longer."""
        if empty != self._empty:
            self._empty = empty
            self.read_out("")

    def read_out(self, words: str) -> None:
        """What is under the pointer, in place of the caption; empty: the caption again."""
        parts = [self.axes, self._note, "nothing recorded yet" if self._empty else ""]
        self.caption.setText(words or " · ".join(part for part in parts if part))
