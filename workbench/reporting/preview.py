"""The report as it will look: a page of section pictures, each drawn in a thread and kept until it changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from engines.report.design import Design
from engines.report.material import Material
from workbench.desk import Desk
from workbench.theme import Theme
from workbench.widgets.text import flag

NARROWEST, WIDEST, EDGE = 320, 820, 16
SEEN = 60
"""Pixels of a section that are in sight at least, for it to be seen."""
SETTLED_MS = 150
"""A width or a text has to stand so long before it is drawn for."""


class Preview(QScrollArea):
    """Shows the sections of a design; a click chooses one."""

    clicked = Signal(int)
    drawn = Signal()
    """Another section was drawn."""

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._desk = desk
        self._material: Material | None = None
        self._version = 0
        self._design = Design()
        self._chosen = -1
        self._drawn: dict[Hashable, Any] = {}
        self._busy = False
        self._seek = False
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setAccessibleName("Preview of the report")
        page = QWidget()
        self._column = QVBoxLayout(page)
        self._column.setContentsMargins(EDGE, EDGE, EDGE, EDGE)
        self._column.setSpacing(0)
        self._column.addStretch(1)
        self.setWidget(page)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(SETTLED_MS)
        self._later.timeout.connect(self._show)

    # --- What is shown ----------------------------------------------------------------------------------------------------------------------

    def take(self, material: Material) -> None:
        """Other figures."""
        self._material = material
        self._version += 1
        self._later.start()

    def show_design(self, design: Design, chosen: int) -> None:
        """Another description, or another chosen section, which is brought into sight."""
        moved = chosen != self._chosen
        self._seek = self._seek or moved or design != self._design
        self._design, self._chosen = design, chosen
        self._later.start()
        if moved:
            self._show()

    def bring(self) -> None:
        """Scroll to the chosen section where nothing of it is in sight."""
        sheet = next((sheet for sheet in self._sheets() if sheet.place == self._chosen and sheet.picture), None)
        top = self.verticalScrollBar().value()
        if sheet is not None and (sheet.y() + sheet.height() < top + SEEN or sheet.y() > top + self.viewport().height() - SEEN):
            self.verticalScrollBar().setValue(sheet.y() - EDGE)

    def bare(self) -> list[bool]:
        """Which sections are known to have nothing to show."""
        return [section.shown and self._drawn.get(self._key(section), True) is None for section in self._design.sections]

    @property
    def settled(self) -> bool:
        """Whether all is drawn that is to be seen."""
        return self._material is not None and not self._later.isActive() and not self._busy and self._next() is None

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._later.start()

    def paint_with(self, _theme: Theme) -> None:
        """Take the colours of a theme."""
        self._later.start()

    def _page(self) -> int:
        room = self.viewport().width() - 2 * EDGE - 2 * Sheet.MARGIN
        return max(NARROWEST, min(WIDEST, room))

    def _key(self, section: Hashable) -> Hashable:
        return section, self._version, self._page(), self.devicePixelRatioF(), self._desk.theme.name, self.font().toString()

    def _wanted(self) -> list[tuple[int, Hashable]]:
        """(place, what is drawn) of the title, whose place is -1, and of every shown section."""
        title = self._design.title or (str(self._material.comparison["experiment"]) if self._material else "")
        return [(-1, title), *((place, section) for place, section in enumerate(self._design.sections) if section.shown)]

    def _next(self) -> Hashable | None:
        """What has to be drawn first: the chosen section, then from the top."""
        wanted = sorted(self._wanted(), key=lambda each: each[0] != self._chosen)
        return next((what for _, what in wanted if self._key(what) not in self._drawn), None)

    def _sheets(self) -> list[Sheet]:
        items = (self._column.itemAt(index) for index in range(self._column.count()))
        return [widget for item in items if item is not None and isinstance(widget := item.widget(), Sheet)]

    def _show(self) -> None:
        """Put what is drawn on the page, and draw what is missing."""
        sheets = self._sheets()
        wanted = self._wanted() if self._material else []
        while len(sheets) < len(wanted):
            sheet = Sheet(self.clicked.emit)
            self._column.insertWidget(len(sheets), sheet, 0, Qt.AlignmentFlag.AlignHCenter)
            sheets.append(sheet)
        for sheet in sheets[len(wanted) :]:
            self._column.removeWidget(sheet)
            sheet.hide()
            sheet.deleteLater()
        for sheet, (place, what) in zip(sheets, wanted, strict=False):
            # What was drawn last stays until the new picture is there.
            sheet.show_picture(place, self._drawn.get(self._key(what), sheet.picture), place == self._chosen, self._desk.theme)
        self._draw_next()

    def _draw_next(self) -> None:
        what, material = self._next(), self._material
        if self._busy or what is None or material is None:
            if not self._busy:
                if self._seek and not self._later.isActive():
                    # Heights are known when the layout has had its turn.
                    QTimer.singleShot(0, self, self.bring)
                    self._seek = False
                kept = {self._key(each) for _, each in self._wanted()}
                self._drawn = {key: picture for key, picture in self._drawn.items() if key in kept}
            return
        self._busy = True
        key, theme, font, width, ratio = self._key(what), self._desk.theme, self.font(), self._page(), self.devicePixelRatioF()

        def work() -> Any:
            from workbench.reporting import rendering

            if isinstance(what, str):
                return rendering.title(what, theme, font, width, ratio)
            return rendering.section(material, what, theme, font, width, ratio)  # type: ignore[arg-type]

        self._desk.errands.run(work, partial(self._done, key), partial(self._failed, key))

    def _done(self, key: Hashable, picture: Any) -> None:
        self._busy = False
        self._drawn[key] = picture
        self._show()
        self.drawn.emit()

    def _failed(self, key: Hashable, sentence: str) -> None:
        self._done(key, None)
        self._desk.says.emit(f"A section of the report could not be drawn: {sentence}")


class Sheet(QWidget):
    """The picture of one section."""

    MARGIN = 14

    def __init__(self, chosen: Callable[[int], object], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.place = -1
        self.picture: Any = None
        self._tell = chosen
        self._chosen = False
        self._colours: Sequence[QColor] = ()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    def show_picture(self, place: int, picture: Any, chosen: bool, theme: Theme) -> None:
        """picture: None for a section without figures or text."""
        colours = [QColor(theme.surface), QColor(theme.accent)]
        if (place, picture, chosen, colours) == (self.place, self.picture, self._chosen, self._colours):
            return
        self.place, self.picture, self._chosen, self._colours = place, picture, chosen, colours
        self.setVisible(picture is not None)
        if picture is not None:
            self.setFixedSize(self.sizeHint())
            self.setAccessibleName(picture.words.partition("\n")[0])
            self.setAccessibleDescription(picture.words)
            self.setToolTip("The report has more of this section" if picture.cut else "")
        flag(self, "chosen", chosen)
        self.update()

    def sizeHint(self) -> QSize:
        size = self.picture.image.deviceIndependentSize().toSize() if self.picture else QSize(0, 0)
        return QSize(size.width() + 2 * self.MARGIN, size.height() + 12)

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self.picture or not self._colours:
            return
        painter = QPainter(self)
        painter.fillRect(event.rect(), self._colours[0])
        painter.drawImage(self.MARGIN, 6, self.picture.image)
        if self._chosen:
            painter.fillRect(QRect(0, 0, 3, self.height()), self._colours[1])

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self.place >= 0:
            self._tell(self.place)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        event.ignore()
