"""The parts of a comparison behind tabs: each is made when it is first shown, and drawn again only while it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QIcon, QPixmap
from PySide6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from workbench.comparing.subject import Part, Subject
from workbench.theme import Theme
from workbench.widgets.choices import Choice
from workbench.widgets.surfaces import recolour
from workbench.widgets.text import label

NONE = "All variants"


@dataclass(frozen=True)
class Tab:
    """A tab before its part is made. offered: whether a comparison has anything for it; it is hidden otherwise."""

    key: str
    title: str
    tip: str
    make: Callable[[Subject], Part]
    offered: Callable[[Mapping[str, Any]], bool] = lambda _comparison: True


class Tabs(QWidget):
    """A row of tabs, beside them the selected variant, below the chosen part."""

    def __init__(self, subject: Subject, tabs: Sequence[Tab], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._subject, self._tabs = subject, list(tabs)
        self.parts: dict[str, Part] = {}
        self._stale: set[str] = set()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        top = QFrame()
        top.setObjectName("bar")
        row = QHBoxLayout(top)
        row.setContentsMargins(12, 0, 16, 0)
        row.setSpacing(8)
        self.bar = QTabBar()
        self.bar.setDrawBase(False)
        self.bar.setExpanding(False)
        self.bar.setUsesScrollButtons(True)
        self.bar.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.bar.setAccessibleName("Parts of the comparison")
        for place, tab in enumerate(self._tabs):
            self.bar.addTab(tab.title)
            self.bar.setTabToolTip(place, tab.tip)
        self.bar.currentChanged.connect(lambda _place: self._show())
        top.setMinimumHeight(42)
        row.addWidget(self.bar, 1, Qt.AlignmentFlag.AlignBottom)
        self.variant = Choice()
        self.variant.setFixedWidth(190)
        self.variant.setAccessibleName("Selected variant")
        self.variant.setToolTip("The variant that is brought out in every part")
        self.variant.activated.connect(lambda _place: subject.select(str(self.variant.currentData() or "")))
        caption = label("Variant", "caption")
        caption.setBuddy(self.variant)
        row.addWidget(caption)
        row.addWidget(self.variant)
        column.addWidget(top)
        self.stack = QStackedWidget()
        column.addWidget(self.stack, 1)
        subject.replaced.connect(self._replaced)
        subject.selected.connect(self._mark)

    @property
    def current(self) -> str:
        """Key of the tab that is shown."""
        return self._tabs[max(0, self.bar.currentIndex())].key

    def go(self, key: str) -> None:
        """Show a tab, if the comparison has anything for it."""
        place = next(place for place, tab in enumerate(self._tabs) if tab.key == key)
        if self.bar.isTabVisible(place):
            self.bar.setCurrentIndex(place)

    def offered(self) -> list[str]:
        """Keys of the tabs that this comparison has."""
        return [tab.key for place, tab in enumerate(self._tabs) if self.bar.isTabVisible(place)]

    def part(self, key: str) -> Part:
        """The part behind a tab, made at its first use."""
        if key not in self.parts:
            made = next(tab for tab in self._tabs if tab.key == key).make(self._subject)
            self.parts[key] = made
            self._stale.add(key)
            self.stack.addWidget(made)
        return self.parts[key]

    def _replaced(self) -> None:
        comparison = self._subject.comparison
        assert comparison is not None
        for place, tab in enumerate(self._tabs):
            self.bar.setTabVisible(place, tab.offered(comparison))
        self._offer_variants(comparison)
        self._stale = set(self.parts)
        self._show()

    def _offer_variants(self, comparison: Mapping[str, Any]) -> None:
        self.variant.clear()
        self.variant.addItem(NONE, "")
        for name, colour in self._subject.colours().items():
            swatch = QPixmap(10, 10)
            swatch.fill(QColor(colour))
            self.variant.addItem(QIcon(swatch), name + (" (baseline)" if name == comparison["baseline"] else ""), name)
        self.variant.setCurrentIndex(max(0, self.variant.findData(self._subject.variant)))

    def _show(self) -> None:
        part = self.part(self.current)
        if self.current in self._stale and self._subject.comparison is not None:
            self._stale.discard(self.current)
            part.draw(self._subject.comparison)
            part.mark(self._subject.variant)
        self.stack.setCurrentWidget(part)

    def _mark(self, name: str) -> None:
        self.variant.setCurrentIndex(max(0, self.variant.findData(name)))
        for key, part in self.parts.items():
            if key not in self._stale:
                part.mark(name)

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        recolour(self, theme)
        for part in self.parts.values():
            part.paint_with(theme)
        if self._subject.comparison is not None:
            self._replaced()
