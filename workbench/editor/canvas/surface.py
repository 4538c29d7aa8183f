"""The picture of the model: holds the layout, zooms and pans it, and draws it with the strip that shows the whole."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QPainter, QPaintEvent, QResizeEvent, QTransform, QWheelEvent
from PySide6.QtWidgets import QAbstractScrollArea, QSizePolicy, QWidget

from workbench.editor.canvas.layout import Layout, Piece, layer_of, scaled
from workbench.editor.canvas.painting import Look, paint, paint_small
from workbench.theme import Theme

SMALLEST, LARGEST = 0.08, 1.5
SMALLEST_OF_ITSELF = 0.7
"""How far it shrinks of itself so that a model is seen whole."""
STRIP = 20
"""Height of the strip that shows the whole model, in pixels."""


class Surface(QAbstractScrollArea):
    """Shows a layout; what is chosen in it is `look.chosen` (a piece) and `layers` (their numbers)."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme = theme
        self._plain, self.layout_ = Layout(), Layout()
        self.zoom, self._zoomed = 1.0, False
        self.look = Look()
        self.layers: set[int] = set()
        self._lowest = 0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("The model as a picture")
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)  # The strip below the model takes its place.
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._measure()

    # --- What is shown ---------------------------------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        """Lengths follow the text."""
        strong, small = QFont(self.font()), QFont(self.font())
        strong.setWeight(QFont.Weight.DemiBold)
        small.setPointSizeF(max(6.0, self.font().pointSizeF() * 0.88))
        self.unit = QFontMetricsF(self.font()).height()
        self.look = replace(self.look, fonts=(strong, small))
        self.layout_ = scaled(self._plain, self.unit)
        self._bars()

    def changeEvent(self, event: QEvent) -> None:
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange) and hasattr(self, "unit"):
            self._measure()
            self.updateGeometry()
        super().changeEvent(event)

    def show_layout(self, layout: Layout, changed: set[str]) -> None:
        """Show another state of the model; what was chosen stays so where it is still there."""
        self._plain = layout
        self.look = replace(self.look, changed=changed)
        self.layers &= {frame.number for frame in layout.frames}
        if layout.piece(self.look.chosen) is None:
            self.look = replace(self.look, chosen="")
        self._measure()
        self.updateGeometry()

    def choose(self, key: str, layers: set[int] | None = None) -> None:
        """Choose a piece, with it its layer or those given, and bring it into view. Tells nobody."""
        number = layer_of(key) if key else None
        self.layers = layers if layers is not None else set() if number is None else {number}
        self.look = replace(self.look, chosen=key, layers=frozenset(self.layers))
        piece = self.layout_.piece(key)
        if piece is not None:
            self.setAccessibleDescription(f"{piece.words}{f'. {piece.wrong}' if piece.wrong else ''}")
            bar, left, right = self.horizontalScrollBar(), piece.area.left() * self.zoom, piece.area.right() * self.zoom
            if left - self.unit < bar.value():
                bar.setValue(int(left - self.unit))
            elif right + self.unit > bar.value() + self.viewport().width():
                bar.setValue(int(right + self.unit - self.viewport().width()))
        self.viewport().update()

    @property
    def key(self) -> str:
        return self.look.chosen

    def sizeHint(self) -> QSize:
        height = self.layout_.size.height() * max(self.zoom, SMALLEST_OF_ITSELF) + STRIP + 2
        return QSize(400, int(max(self._lowest * self.unit, height)))

    def minimumSizeHint(self) -> QSize:
        return QSize(200, self.sizeHint().height())

    def leave_height(self, lines: int) -> None:
        """Be so many lines of text high at least, for what stands beside it."""
        self._lowest = lines
        self.updateGeometry()

    def paint_with(self, theme: Theme) -> None:
        self.theme = theme
        self.viewport().update()

    # --- Zoom and pan -----------------------------------------------------------------------------------------------------------------------

    @property
    def _overflows(self) -> bool:
        return self.layout_.size.width() * self.zoom > self.viewport().width() + 1

    def _bars(self) -> None:
        bar, width = self.horizontalScrollBar(), self.viewport().width()
        if not self._zoomed:
            self.zoom = min(1.0, max(SMALLEST_OF_ITSELF, width / max(1.0, self.layout_.size.width())))
        bar.setRange(0, max(0, int(self.layout_.size.width() * self.zoom - width)))
        bar.setPageStep(width)
        bar.setSingleStep(int(3 * self.unit))
        self.viewport().update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._bars()

    def set_zoom(self, zoom: float, around: float | None = None) -> None:
        """around: the x of the viewport that stays where it is; its middle where none is given."""
        zoom = min(LARGEST, max(SMALLEST, zoom))
        x = self.viewport().width() / 2 if around is None else around
        scene = (self.horizontalScrollBar().value() + x) / self.zoom
        self.zoom, self._zoomed = zoom, True
        self._bars()
        self.updateGeometry()
        self.horizontalScrollBar().setValue(int(scene * zoom - x))

    def fit(self) -> None:
        """The whole model in view, in its own size at most."""
        self.set_zoom(min(1.0, self.viewport().width() / max(1.0, self.layout_.size.width())))

    def wheelEvent(self, event: QWheelEvent) -> None:
        by = event.angleDelta().y() or event.angleDelta().x()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.set_zoom(self.zoom * 1.0015**by, event.position().x())
        elif event.modifiers() & Qt.KeyboardModifier.ShiftModifier or event.angleDelta().x():
            self.horizontalScrollBar().setValue(self.horizontalScrollBar().value() - by)
        else:
            event.ignore()  # The page scrolls.
            return
        event.accept()

    def scene(self, point: QPointF) -> QPointF:
        return QPointF((point.x() + self.horizontalScrollBar().value()) / self.zoom, (point.y() - self._top) / self.zoom)

    @property
    def _top(self) -> float:
        """Pixels above the model."""
        return max(0.0, (self.viewport().height() - STRIP - self.layout_.size.height() * self.zoom) / 2)

    def _strip(self) -> QRectF:
        size = self.viewport().size()
        return QRectF(0, size.height() - STRIP, size.width(), STRIP)

    def _strip_hit(self, point: QPointF) -> bool:
        """Whether a point lies on the strip while that is drawn."""
        return self._overflows and self._strip().contains(point)

    def place_of(self, key: str) -> QPoint:
        """The middle of a piece in the viewport; that of the viewport where there is none."""
        piece = self.layout_.piece(key)
        if piece is None:
            return self.viewport().rect().center()
        middle = piece.area.center() * self.zoom
        return QPoint(int(middle.x()) - self.horizontalScrollBar().value(), int(middle.y() + self._top))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        left, size = self.horizontalScrollBar().value(), self.viewport().size()
        visible = QRectF(left / self.zoom, 0, size.width() / self.zoom, size.height() / self.zoom)
        painter.setTransform(QTransform().translate(-left, self._top).scale(self.zoom, self.zoom))
        paint(painter, self.layout_, visible, self.theme, self.look, self.unit)
        painter.resetTransform()
        if self._overflows:
            paint_small(painter, self.layout_, self._strip(), visible, self.theme, self.look)

    def piece_at(self, point: QPointF) -> Piece | None:
        place = self.scene(point)
        return next((piece for piece in self.layout_.pieces if piece.area.contains(place)), None)

    def _layer_at(self, point: QPointF) -> int | None:
        place = self.scene(point)
        return next((frame.number for frame in self.layout_.frames if frame.area.contains(place)), None)

    def gap_at(self, point: QPointF) -> int:
        """The gap that is nearest."""
        x = self.scene(point).x()
        return min(range(len(self.layout_.gaps)), key=lambda number: abs(self.layout_.gaps[number].center().x() - x), default=0)
