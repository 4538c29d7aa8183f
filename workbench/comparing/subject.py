"""What all parts of the compare view share: the comparison that is shown, the variant that is selected, and what a part is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from workbench.theme import Theme


class Subject(QObject):
    """Parts read it and tell it which variant the user chose; they never speak to each other."""

    replaced = Signal()
    """There is another comparison."""
    selected = Signal(str)
    """Another variant was chosen; empty for none."""

    def __init__(self, theme: Theme, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self.comparison: dict[str, Any] | None = None
        self.variant = ""

    def show(self, comparison: dict[str, Any]) -> None:
        """Take another comparison (the object of `engines.comparison.compare`); the selection stays where it is in there."""
        self.comparison = comparison
        if self.variant not in comparison["variants"]:
            self.variant = ""
        self.replaced.emit()

    def select(self, name: str) -> None:
        """Select a variant of the comparison, or none ("")."""
        known = name in (self.comparison or {"variants": {}})["variants"]
        if name != self.variant and (known or not name):
            self.variant = name
            self.selected.emit(name)

    def colours(self) -> dict[str, str]:
        """Colours by variant, the same as in the runs view."""
        return {name: self.theme.curve(number) for number, name in enumerate((self.comparison or {}).get("variants", {}))}


class Part(QWidget):
    """One page of the comparison. It is made when it is first shown, and drawn anew only while it is shown."""

    def __init__(self, subject: Subject, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.subject = subject

    def draw(self, comparison: Mapping[str, Any]) -> None:
        """Show this comparison."""
        raise NotImplementedError

    def mark(self, name: str) -> None:
        """Bring out the selected variant; empty for none."""
        raise NotImplementedError

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme; `draw` follows."""

    def leave(self) -> None:
        """The window closes."""
