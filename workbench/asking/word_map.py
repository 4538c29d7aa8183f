"""Words in a plane: a dot each, with as many names as have room. A dot under the mouse tells its word, a click asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QKeyEvent

from workbench.asking.neighbour_table import shown
from workbench.theme import Theme

DOT, ASKED_DOT = 9.0, 14.0
NEAR = 14.0
"""Pixels within which the mouse means a dot."""
GAP = 3.0


class WordMap(pg.PlotWidget):
    """`pointed(word)` as the mouse finds a dot (empty when it leaves), `asked(word)` on a click or Enter. One unit is as long in x as in y.

    The wheel zooms, dragging moves, Home or a double click shows all. The arrow keys go through the words.
    """

    pointed = Signal(str)
    asked = Signal(str)

    def __init__(self, theme: Theme) -> None:
        plot = pg.PlotItem(enableMenu=False)
        super().__init__(plotItem=plot)
        self._plot = plot
        self.setFrameShape(self.Shape.NoFrame)
        self.setMinimumSize(260, 240)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Words in the plane of their first two principal components")
        plot.hideButtons()
        self._box = plot.getViewBox()
        self._box.setAspectLocked(True)
        self._box.disableAutoRange()
        self._spots = pg.ScatterPlotItem(pxMode=True)
        plot.addItem(self._spots, ignoreBounds=True)
        self._texts: list[pg.TextItem] = []
        self.words: list[str] = []
        self._place_NP = np.zeros((0, 2))
        self._plus: frozenset[str] = frozenset()
        self._minus: frozenset[str] = frozenset()
        self._marked = self._under = ""
        self._late = QTimer(self)
        self._late.setSingleShot(True)
        self._late.setInterval(30)
        self._late.timeout.connect(self._place_names)
        self._box.sigRangeChanged.connect(lambda *_: self._late.start())
        self._box.sigResized.connect(lambda *_: self._late.start())
        self.scene().sigMouseMoved.connect(self._moved)
        self.scene().sigMouseClicked.connect(self._clicked)
        self.paint_with(theme)

    def paint_with(self, theme: Theme) -> None:
        """Take the colours of a theme."""
        self._theme = theme
        self.setBackground(QColor(theme.surface))
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(QColor(theme.border))
            axis.setTextPen(QColor(theme.muted))
            axis.enableAutoSIPrefix(False)
            # The numbers say nothing: only how words lie to each other does.
            axis.setStyle(showValues=False, tickLength=0)
        self._plot.showGrid(x=True, y=True, alpha=0.12)
        self._draw()

    def show_words(
        self, points: Sequence[Mapping[str, Any]], explained: Sequence[float], plus: Sequence[str] = (), minus: Sequence[str] = ()
    ) -> None:
        """Draw {"word", "x", "y"} each; plus, minus: the words that were asked for. explained: shares of the variance along x and y."""
        self.words = [point["word"] for point in points]
        self._place_NP = np.array([[point["x"], point["y"]] for point in points], dtype=float).reshape(-1, 2)
        self._plus, self._minus, self._marked = frozenset(plus), frozenset(minus), ""
        for side, nth, share in (("bottom", "first", explained[0]), ("left", "second", explained[1])):
            self._plot.getAxis(side).setLabel(f"{nth} principal component: {share:.0%} of the variance", color=self._theme.muted)
        self.show_all()
        self._draw()

    def show_all(self) -> None:
        """Show every dot."""
        if len(self._place_NP):
            low, high = self._place_NP.min(0), self._place_NP.max(0)
            air = np.maximum(0.08 * (high - low), 1e-6)
            self._box.setRange(xRange=(low[0] - air[0], high[0] + air[0]), yRange=(low[1] - air[1], high[1] + air[1]), padding=0)

    def mark(self, word: str) -> None:
        """A ring around a word (empty: around none), whose name is shown whatever it covers."""
        if word != self._marked:
            self._marked = word
            self._draw()

    def _draw(self) -> None:
        theme = self._theme
        spots = []
        for word, place in zip(self.words, self._place_NP, strict=True):
            asked = word in self._plus or word in self._minus
            colour = theme.warning if word in self._minus else theme.accent if word in self._plus else theme.muted
            ring = pg.mkPen(theme.text, width=2) if word == self._marked else pg.mkPen(theme.surface, width=1)
            size, shape = ASKED_DOT if asked else DOT, "s" if word in self._minus else "o"
            spots.append({"pos": place, "size": size, "brush": pg.mkBrush(colour), "pen": ring, "symbol": shape})
        self._spots.setData(spots)
        while len(self._texts) < len(self.words):
            text = pg.TextItem(anchor=(0, 0))
            self._plot.addItem(text, ignoreBounds=True)
            self._texts.append(text)
        for number, text in enumerate(self._texts):
            if number < len(self.words):
                word = self.words[number]
                colour = theme.warning if word in self._minus else theme.accent if word in self._plus else theme.text
                text.setText(shown(word), color=QColor(colour))
                text.setZValue(20 if word == self._marked else 10)
            else:
                text.hide()
        self._place_names()

    def _place_names(self) -> None:
        """Names keep their size in pixels: each goes to the first side of its dot that is free, in the order of the words, or is left out."""
        width, height = self._box.width(), self._box.height()
        if not self.words or width < 1 or height < 1:
            return
        (left, right), (bottom, top) = self._box.viewRange()
        across, up = (right - left) / width, (top - bottom) / height
        pixel_NP = np.column_stack([(self._place_NP[:, 0] - left) / across, (top - self._place_NP[:, 1]) / up])
        taken = np.column_stack([pixel_NP - DOT / 2, pixel_NP + DOT / 2])
        first = [number for number, word in enumerate(self.words) if word == self._marked or word in self._plus | self._minus]
        for number in first + [number for number in range(len(self.words)) if number not in set(first)]:
            text = self._texts[number]
            area = text.textItem.boundingRect()
            box = _free(pixel_NP[number], area.width(), area.height(), taken, (width, height))
            if box is None and number in first:
                box = _sides(pixel_NP[number], area.width(), area.height())[0]
            text.setVisible(box is not None)
            if box is not None:
                taken = np.vstack([taken, box])
                text.setPos(left + box[0] * across, top - box[1] * up)

    @property
    def named(self) -> list[str]:
        """The words whose names have room."""
        return [word for word, text in zip(self.words, self._texts, strict=False) if text.isVisible()]

    # --- Mouse and keyboard -----------------------------------------------------------------------------------------------------------------

    def _nearest(self, position: QPointF) -> str:
        if not self.words or not self._box.sceneBoundingRect().contains(position):
            return ""
        place, (across, up) = self._box.mapSceneToView(position), self._box.viewPixelSize()
        away_N = np.hypot((self._place_NP[:, 0] - place.x()) / across, (self._place_NP[:, 1] - place.y()) / up)
        nearest = int(away_N.argmin())
        return self.words[nearest] if away_N[nearest] <= NEAR else ""

    def _moved(self, position: QPointF) -> None:
        found = self._nearest(position)
        if found != self._under:
            self._under = found
            self.setCursor(Qt.CursorShape.PointingHandCursor if found else Qt.CursorShape.ArrowCursor)
            self.mark(found)
            self.pointed.emit(found)

    def _clicked(self, event: Any) -> None:
        found = self._nearest(event.scenePos())
        if found:
            self.asked.emit(found)
        elif event.double():
            self.show_all()

    def leaveEvent(self, event) -> None:
        super().leaveEvent(event)
        if self._under:
            self._under = ""
            self.mark("")
            self.pointed.emit("")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The arrow keys go through the words from left to right, Enter asks for one, Home shows all."""
        step = {Qt.Key.Key_Right: 1, Qt.Key.Key_Down: 1, Qt.Key.Key_Left: -1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
        if event.key() == Qt.Key.Key_Home:
            self.show_all()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._marked:
            self.asked.emit(self._marked)
        elif step is not None and self.words:
            order = [self.words[place] for place in np.argsort(self._place_NP[:, 0], kind="stable")]
            start = order.index(self._marked) + step if self._marked in order else (0 if step > 0 else -1)
            self.mark(order[start % len(order)])
            self.pointed.emit(self._marked)
        else:
            super().keyPressEvent(event)


def _sides(place_P: np.ndarray, width: float, height: float) -> np.ndarray:
    """The boxes (left, top, right, bottom) of a name right, above, below and left of its dot, in pixels."""
    x, y = place_P
    away = DOT / 2 + GAP
    corners = np.array(
        [[x + away, y - height / 2], [x - width / 2, y - away - height], [x - width / 2, y + away], [x - away - width, y - height / 2]]
    )
    return np.column_stack([corners, corners + np.array([width, height])])


def _free(place_P: np.ndarray, width: float, height: float, taken: np.ndarray, frame: tuple[float, float]) -> np.ndarray | None:
    """The first of the four boxes that lies in the frame and covers nothing that is taken; None where there is none."""
    for box in _sides(place_P, width, height):
        inside = box[0] >= 0 and box[1] >= 0 and box[2] <= frame[0] and box[3] <= frame[1]
        if inside and not ((taken[:, 0] < box[2]) & (box[0] < taken[:, 2]) & (taken[:, 1] < box[3]) & (box[1] < taken[:, 3])).any():
            return np.asarray(box)
    return None
