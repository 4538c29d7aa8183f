"""The three columns of the editor. Where they would be too narrow to be used, the last one stands below the first."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QEvent, Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QWidget

from workbench.editor.side import Side

NARROW = 64
"""Lines of text of width up to which there are two columns."""
WIDTHS = (250, 700, 270)


class ThreeColumns(QSplitter):
    """Variants, what is edited, and the side; while the side shows a card it always has a column of its own."""

    def __init__(self, first: QWidget, middle: QWidget, side: Side) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self._side = side
        self._left = QSplitter(Qt.Orientation.Vertical)
        self._left.setChildrenCollapsible(False)
        self._left.addWidget(first)
        self.setChildrenCollapsible(False)
        for place, part in enumerate((self._left, middle, side)):
            self.addWidget(part)
            self.setStretchFactor(place, int(part is middle))
        self.setSizes(list(WIDTHS))
        side.unfolded.connect(lambda _on: self._arrange())

    @property
    def narrow(self) -> bool:
        """Whether there are two columns."""
        return self._side.parentWidget() is self._left

    def widths(self) -> QByteArray | None:
        """How wide the person made three columns, to be restored; None while there are two."""
        return None if self.narrow else self.saveState()

    def _arrange(self) -> None:
        narrow = self.width() < NARROW * self.fontMetrics().height() and not self._side.shows_card
        if narrow == self.narrow:
            return
        if narrow:
            self._left.addWidget(self._side)
            self._left.setSizes([self.height() * 3 // 5, self.height() * 2 // 5])
        else:
            self.addWidget(self._side)
            self.setStretchFactor(2, 0)
            self.setSizes([WIDTHS[0], self.width() - WIDTHS[0] - WIDTHS[2], WIDTHS[2]])

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "_left"):
            QTimer.singleShot(0, self, self._arrange)  # The style is being given to one widget after the other.
