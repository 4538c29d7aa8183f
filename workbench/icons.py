"""Icons: the drawings of `resources/icons`, in a colour of the theme, sharp at every screen scale."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from workbench.theme import RESOURCES

PIXELS = (16, 18, 22, 36, 44, 66)
"""Sizes that are drawn for every icon: the ones the window uses, at one, two and three device pixels each."""


@cache
def _source(name: str) -> str:
    return (RESOURCES / "icons" / f"{name}.svg").read_text(encoding="utf-8")


@cache
def _draw(name: str, colour: str, pixels: int) -> QPixmap:
    image = QPixmap(pixels, pixels)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(QByteArray(_source(name).replace("currentColor", colour).encode())).render(painter, QRectF(0, 0, pixels, pixels))
    painter.end()
    return image


@cache
def icon(name: str, colour: str, checked: str = "") -> QIcon:
    """The icon `name` drawn in `colour` ("#RRGGBB"); `checked` is the colour of a button's checked state."""
    result = QIcon()
    for pixels in PIXELS:
        result.addPixmap(_draw(name, colour, pixels), QIcon.Mode.Normal, QIcon.State.Off)
        if checked:
            result.addPixmap(_draw(name, checked, pixels), QIcon.Mode.Normal, QIcon.State.On)
    return result


def pixmap(name: str, colour: str, size: int, ratio: float = 1.0) -> QPixmap:
    """The icon as a pixmap of `size` logical pixels on a screen with `ratio` device pixels each."""
    image = QPixmap(_draw(name, colour, round(size * ratio)))
    image.setDevicePixelRatio(ratio)
    return image
