"""The start page: what to try, what was done last, a text of one's own, and the tour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize, QTimer
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QFileDialog, QFrame, QGridLayout, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from workbench import gallery, kinds
from workbench.desk import Desk
from workbench.icons import icon
from workbench.starting_cards import ExampleCard, RecentList
from workbench.widgets.flow import Flow
from workbench.widgets.surfaces import Card, Notice, recolour, scrolled
from workbench.widgets.text import flag, label

if TYPE_CHECKING:
    from engines.store.database import Store
    from workbench.theme import Theme

CARD = 300
"""Pixels that a card of the gallery wants at least; there are as many columns as fit."""
SIDE = 310
"""Pixels of the column at the right, where there is room for it."""
REFRESH_MS = 3000


class StartView(QWidget):
    """Asks the window, through the desk, for everything that it offers."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page")
        self._desk = desk
        self.cards: list[ExampleCard] = []
        self._grids: list[tuple[QGridLayout, list[ExampleCard]]] = []
        self._columns = 0
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        main = QWidget()
        self._column = QVBoxLayout(main)
        self._column.setContentsMargins(24, 20, 24, 24)
        self._column.setSpacing(10)
        self.notice = Notice()
        self._column.addWidget(self.notice)
        self._column.addWidget(label("Which technique pays?", "title"))
        what = "On your model, your data and your machine, and at what price in quality. Open an example, change it, press Run."
        self._column.addWidget(label(what, "muted", wrap=True))
        self._column.addWidget(self._actions())
        self._column.addStretch(1)
        self._scroll = scrolled(main)
        row.addWidget(self._scroll, 1)
        self._side_column = self._side()
        row.addWidget(self._side_column)
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._read_recent)
        desk.store_opened.connect(lambda _store: self._read_recent())
        desk.catalogue_ready.connect(self._tell_what_is_missing)
        desk.theme_changed.connect(self._recolour)
        desk.dragging.connect(lambda on: flag(self.drop, "dropping", on))
        desk.errands.run(gallery.groups, self._show_groups, lambda sentence: self.notice.say("error", f"The examples could not be read: {sentence}"))

    # --- Building -------------------------------------------------------------------------------------------------------------------------

    def _actions(self) -> QWidget:
        line = QWidget()
        row = Flow(line, gap=8)
        row.setContentsMargins(0, 6, 0, 6)
        self.new, self.open, self.tour = (QPushButton(text) for text in ("New experiment", "Open a file …", "Two-minute tour"))
        for button, name, tip, wish in (
            (self.new, "new", "Assemble an experiment from nothing (Ctrl+N)", self._desk.wants_new.emit),
            (self.open, "open", "Open an experiment, a bundle or a text (Ctrl+O); or drop it on the window", self._desk.wants_file.emit),
            (self.tour, "info", "What is where, at the real places", self._desk.wants_tour.emit),
        ):
            button.setIcon(icon(name, self._desk.theme.muted))
            button.setProperty("icon_name", name)
            button.setToolTip(tip)
            button.clicked.connect(wish)
            button.ensurePolished()  # Before that it does not know its size.
            row.addWidget(button)
        return line

    def _side(self) -> QWidget:
        side = QFrame()
        side.setObjectName("side")
        column = QVBoxLayout(side)
        column.setContentsMargins(14, 20, 20, 20)
        column.setSpacing(14)
        self.drop = Card("Try it on your own text", "Drop a text file anywhere on the window, or choose one.")
        self.drop.heading.setWordWrap(True)
        self.drop.setAccessibleDescription("Choose a text file as the corpus of a new experiment")
        self.choose = QPushButton("Choose a text file …")
        self.choose.setToolTip("It becomes the corpus of a new experiment; it stays where it is and is only read")
        self.choose.clicked.connect(self._choose_text)
        self.drop.body.addWidget(self.choose)
        column.addWidget(self.drop)
        recent = Card("Recent experiments")
        recent.heading.setWordWrap(True)
        self.recent = RecentList()
        self.recent.chosen.connect(self._desk.wants_runs.emit)
        recent.body.addWidget(self.recent)
        recent.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        column.addWidget(recent, 1)
        return side

    def _show_groups(self, groups: Sequence[gallery.Group]) -> None:
        place = self._column.count() - 1
        for group in groups:
            heading = QVBoxLayout()
            heading.setContentsMargins(0, 12, 0, 0)
            heading.setSpacing(1)
            heading.addWidget(label(group.title, "heading"))
            heading.addWidget(label(group.about, "caption", wrap=True))
            self._column.insertLayout(place, heading)
            grid = QGridLayout()
            grid.setSpacing(12)
            cards = [ExampleCard(example) for example in group.examples]
            for card in cards:
                card.opened.connect(self._desk.wants_example.emit)
            self._column.insertLayout(place + 1, grid)
            self._grids.append((grid, cards))
            self.cards += cards
            place += 2
        self._columns = 0
        self._lay_out()
        self._tell_what_is_missing(self._desk.catalogue)

    # --- Showing --------------------------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        content, side = self._scroll.widget(), self._side_column.layout()
        assert content is not None
        assert side is not None
        room = self.width() - content.minimumSizeHint().width() - self._scroll.verticalScrollBar().width()
        self._side_column.setFixedWidth(max(side.minimumSize().width(), min(SIDE, room)))
        columns = max(1, (self._scroll.viewport().width() - 48) // CARD)
        if columns == self._columns or not self._grids:
            return
        for grid, cards in self._grids:
            for card in cards:
                grid.removeWidget(card)
            for column in range(max(columns, self._columns)):
                grid.setColumnStretch(column, int(column < columns))
            for number, card in enumerate(cards):
                grid.addWidget(card, number // columns, number % columns)
        self._columns = columns

    def _tell_what_is_missing(self, catalogue: dict[str, Any] | None) -> None:
        for card in self.cards:
            card.show_missing(gallery.unavailable(card.example, catalogue))

    def _read_recent(self) -> None:
        store = self._desk.store
        if store is not None and self.isVisible():
            self._desk.errands.run(lambda: _recent(store), self.recent.show_rows, self._desk.says.emit)

    def _recolour(self, theme: Theme) -> None:
        recolour(self, theme)
        for button in (self.new, self.open, self.tour):
            button.setIcon(icon(str(button.property("icon_name")), theme.muted))

    def leave(self) -> None:
        """The window closes."""
        self._timer.stop()

    # --- A text of one's own --------------------------------------------------------------------------------------------------------------

    def _choose_text(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Choose a text", str(self._desk.settings.value("folder", str(Path.home()))), kinds.TEXT_FILTER)
        if name:
            self._desk.wants_path.emit(name)

    # --- Events ---------------------------------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._lay_out()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._timer.start()
        self._lay_out()
        self._read_recent()

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def sizeHint(self) -> QSize:
        return QSize(1000, 700)


def _recent(store: Store) -> tuple[list[Any], list[Any]]:
    from engines.store import queries
    from engines.store.rows import ACTIVE, QUEUED

    return queries.experiments(store)[-RecentList.SHOWN :], queries.runs(store, status=(QUEUED, *ACTIVE))
