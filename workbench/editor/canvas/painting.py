"""How the canvas is drawn: blocks, layers, residual paths, and what may be dropped where."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen

from workbench.editor.canvas.layout import Layout, Piece
from workbench.theme import Theme

COLOUR = {"embedding": 0, "mixer": 1, "feedforward": 2, "head": 3, "model": 4}
"""Colours of the slots, by their place in the theme's set."""
FADED = 0.35


@dataclass(frozen=True)
class Look:
    """What is chosen and pointed at. takes: keys of pieces that take what is dragged, None while nothing is; gap: where a layer would go."""

    chosen: str = ""
    layers: Collection[int] = ()
    pointed: str = ""
    takes: Collection[str] | None = None
    gap: int | None = None
    gaps: bool = False
    moving: Collection[int] = ()
    changed: Collection[str] = ()
    focus: bool = False
    fonts: tuple[QFont, QFont] = field(default_factory=lambda: (QFont(), QFont()))


def paint(painter: QPainter, layout: Layout, visible: QRectF, theme: Theme, look: Look, unit: float) -> None:
    """Draw what lies in `visible`, all in scene coordinates. unit: pixels of a line of text. Too small to be read, text is left out."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    readable = painter.worldTransform().m11() > 0.45
    for frame in layout.frames:
        if visible.intersects(frame.area.adjusted(0, 0, unit, unit)):
            _frame(painter, frame.area, frame.repeat, f"Layer {frame.number + 1}", frame.caption, theme, look, frame.number, unit, readable)
    for number, gap in enumerate(layout.gaps):
        if look.gaps and visible.intersects(gap):
            _gap(painter, gap, theme, number == look.gap)
    for arrow in layout.arrows:
        if visible.left() - unit <= arrow.end.x() and arrow.start.x() <= visible.right() + unit:
            _arrow(painter, arrow.start, arrow.end, arrow.shape if readable else "", theme, look, unit)
    for piece in layout.pieces:
        if visible.intersects(piece.area.adjusted(-unit, -2 * unit, unit, unit)):
            painter.setOpacity(FADED if look.takes is not None and piece.key not in look.takes else 1.0)
            _piece(painter, piece, theme, look, unit, readable)
    painter.setOpacity(1.0)


def _frame(
    painter: QPainter, area: QRectF, repeat: int, title: str, caption: str, theme: Theme, look: Look, number: int, unit: float, readable: bool
) -> None:
    chosen = number in look.layers
    painter.setOpacity(FADED if number in look.moving else 1.0)
    for sheet in range(min(2, repeat - 1), 0, -1):  # A repeated layer is a pile.
        painter.setPen(QPen(QColor(theme.border), 1))
        painter.setBrush(QColor(theme.window))
        painter.drawRoundedRect(area.translated(sheet * unit / 4, sheet * unit / 4), 8, 8)
    painter.setBrush(QColor(theme.accent_soft if chosen else theme.window))
    painter.setPen(QPen(QColor(theme.accent if chosen or "layers" in look.changed else theme.border), 1.5 if chosen else 1))
    painter.drawRoundedRect(area, 8, 8)
    if readable:
        line = QRectF(area.x() + unit / 2, area.y() + unit / 5, area.width() - unit, unit * 1.2)
        painter.setFont(look.fonts[0])
        painter.setPen(QColor(theme.text))
        heading = f"{title}   × {repeat}" if repeat > 1 else title
        used = QFontMetricsF(look.fonts[0]).horizontalAdvance(heading)
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, heading)
        painter.setFont(look.fonts[1])
        painter.setPen(QColor(theme.muted))
        small = QFontMetricsF(look.fonts[1]).elidedText(caption, Qt.TextElideMode.ElideRight, max(0.0, line.width() - used - unit))
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, small)
    painter.setOpacity(1.0)


def _gap(painter: QPainter, area: QRectF, theme: Theme, aimed: bool) -> None:
    painter.setPen(QPen(QColor(theme.accent), 1, Qt.PenStyle.SolidLine if aimed else Qt.PenStyle.DashLine))
    painter.setBrush(QColor(theme.accent if aimed else theme.accent_soft))
    painter.drawRoundedRect(area.adjusted(area.width() * 0.32, 0, -area.width() * 0.32, 0), 4, 4)


def _arrow(painter: QPainter, start: QPointF, end: QPointF, shape: str, theme: Theme, look: Look, unit: float) -> None:
    painter.setPen(QPen(QColor(theme.strong), 1.3))
    painter.drawLine(start, end)
    head = QPainterPath(end)
    head.lineTo(end.x() - unit / 3, end.y() - unit / 4)
    head.lineTo(end.x() - unit / 3, end.y() + unit / 4)
    painter.fillPath(head, QColor(theme.strong))
    if shape:
        painter.save()
        painter.setFont(look.fonts[1])
        painter.setPen(QColor(theme.muted))
        painter.translate((start.x() + end.x()) / 2, start.y())
        painter.rotate(-90)
        painter.drawText(QRectF(unit / 3, -unit * 1.1, unit * 6, unit), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shape)
        painter.restore()


def _piece(painter: QPainter, piece: Piece, theme: Theme, look: Look, unit: float, readable: bool) -> None:
    area, colour = piece.area, QColor(theme.curve(COLOUR[piece.slot]))
    chosen, takes = piece.key == look.chosen, look.takes is not None and piece.key in look.takes
    if piece.residual:
        _residual(painter, area, theme, unit)
    if piece.norm:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.strong))
        painter.drawRoundedRect(QRectF(area.x() - unit * 0.38, area.y() + unit / 2, unit * 0.2, area.height() - unit), 2, 2)
    for sheet in range(min(3, piece.fan - 1), 0, -1):
        painter.setPen(QPen(colour, 1))
        painter.setBrush(QColor(theme.surface))
        painter.drawRoundedRect(area.translated(sheet * unit / 7, sheet * unit / 7), 6, 6)
    edge = (
        theme.danger if piece.wrong else theme.accent if chosen or takes or piece.key == look.pointed or piece.key in look.changed else theme.border
    )
    painter.setBrush(QColor(theme.accent_soft if takes or (chosen and piece.empty) else theme.sunken if piece.empty else theme.surface))
    style = Qt.PenStyle.DashLine if piece.empty else Qt.PenStyle.SolidLine
    painter.setPen(QPen(QColor(edge), 2 if chosen or piece.wrong else 1, style))
    painter.drawRoundedRect(area, 6, 6)
    if chosen and look.focus:
        painter.setPen(QPen(QColor(theme.accent), 1, Qt.PenStyle.DotLine))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(area.adjusted(-3, -3, 3, 3), 8, 8)
    if not piece.empty:
        band = QPainterPath()
        band.addRoundedRect(QRectF(area.x() + 1, area.y() + unit / 2, unit * 0.22, area.height() - unit), 2, 2)
        painter.fillPath(band, colour)
    if readable:
        _text(painter, piece, theme, look, unit)


def _text(painter: QPainter, piece: Piece, theme: Theme, look: Look, unit: float) -> None:
    inside = piece.area.adjusted(unit * 0.6, unit * 0.25, -unit * 0.35, -unit * 0.2)
    if piece.empty:
        painter.setFont(look.fonts[0])
        painter.setPen(QColor(theme.danger if piece.wrong else theme.muted))
        painter.drawText(piece.area, Qt.AlignmentFlag.AlignCenter, piece.title)
        return
    titles = broken(piece.title, QFontMetricsF(look.fonts[0]), inside.width())
    rows = [*titles, *piece.lines]
    height = inside.height() / max(3, len(rows))
    for place, text in enumerate(rows):
        painter.setFont(look.fonts[0 if place < len(titles) else 1])
        painter.setPen(QColor(theme.danger if piece.wrong and place < len(titles) else theme.text if place < len(titles) else theme.muted))
        metrics = QFontMetricsF(painter.font())
        row = QRectF(inside.x(), inside.y() + place * height, inside.width(), height)
        painter.drawText(
            row, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, metrics.elidedText(text, Qt.TextElideMode.ElideRight, row.width())
        )


def broken(title: str, metrics: QFontMetricsF, width: float) -> tuple[str, ...]:
    """A title in one line where it fits, else in two, parted at a blank or behind a hyphen; the second may still be too long."""
    if metrics.horizontalAdvance(title) <= width:
        return (title,)
    ends = [place + 1 for place, letter in enumerate(title[:-1]) if letter in " -"]
    fitting = [end for end in ends if metrics.horizontalAdvance(title[:end].rstrip()) <= width]
    return (title[: fitting[-1]].rstrip(), title[fitting[-1] :]) if fitting else (title,)


def _residual(painter: QPainter, area: QRectF, theme: Theme, unit: float) -> None:
    """The path around a block, and the sum behind it."""
    left, right, top = area.x() - unit * 0.45, area.right() + unit * 0.3, area.y() - unit * 0.55
    path = QPainterPath(QPointF(left, area.center().y()))
    path.lineTo(left, area.y())
    path.quadTo(left, top, left + unit, top)
    path.lineTo(right - unit, top)
    path.quadTo(right, top, right, area.y())
    path.lineTo(right, area.center().y() - unit * 0.3)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(theme.strong), 1.2))
    painter.drawPath(path)
    radius = unit * 0.26
    middle = QPointF(right, area.center().y())
    painter.setBrush(QColor(theme.surface))
    painter.drawEllipse(middle, radius, radius)
    painter.drawLine(middle - QPointF(radius, 0), middle + QPointF(radius, 0))
    painter.drawLine(middle - QPointF(0, radius), middle + QPointF(0, radius))


def paint_small(painter: QPainter, layout: Layout, area: QRectF, shown: QRectF, theme: Theme, look: Look) -> None:
    """The whole model in a strip, and the part that is shown of it."""
    painter.fillRect(area, QColor(theme.sunken))
    scale = area.width() / max(1.0, layout.size.width())
    top, height = area.y() + 3, area.height() - 6
    painter.setPen(Qt.PenStyle.NoPen)
    for piece in layout.pieces:
        colour = theme.danger if piece.wrong else theme.accent if piece.key == look.chosen else theme.curve(COLOUR[piece.slot])
        if not piece.empty:
            painter.fillRect(QRectF(area.x() + piece.area.x() * scale, top, max(1.0, piece.area.width() * scale - 1), height), QColor(colour))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(theme.text), 1.5))
    painter.drawRect(QRectF(area.x() + shown.x() * scale, area.y() + 1, shown.width() * scale, area.height() - 2))
