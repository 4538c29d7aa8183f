"""A section of a report as an image, drawn in a thread: the window only shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PySide6.QtCore import QByteArray, QEventLoop, QRectF, QSizeF, Qt, QUrl
from PySide6.QtGui import QAbstractTextDocumentLayout as Layout
from PySide6.QtGui import QFont, QImage, QPainter, QPalette, QTextDocument
from PySide6.QtSvg import QSvgRenderer

from engines.report import sections, svg
from engines.report.blocks import Block, Heading, Picture
from engines.report.design import Section
from engines.report.material import Material
from workbench.reporting import rich
from workbench.theme import Theme

TALLEST = 5000
"""Pixels of a section that a preview shows."""

LONGEST = 4000
"""Letters of it that are told to a screen reader."""


class Rendered(NamedTuple):
    """The picture, and its words for those who cannot see it; cut: whether the report has more of it."""

    image: QImage
    words: str
    cut: bool


def title(text: str, theme: Theme, font: QFont, width: int, ratio: float) -> Rendered:
    """The head of the report."""
    return _image([Heading(text, 1)], theme, font, width, ratio)


def section(material: Material, wanted: Section, theme: Theme, font: QFont, width: int, ratio: float) -> Rendered | None:
    """width: of the page in logical pixels; ratio: device pixels in one. None where the section has nothing to show."""
    blocks = sections.of(material, wanted)
    return _image(blocks, theme, font, width, ratio) if blocks else None


def _image(blocks: Sequence[Block], theme: Theme, font: QFont, width: int, ratio: float) -> Rendered:
    # A long document starts timers, for which a thread needs what an event loop brings.
    loop = QEventLoop()
    document = QTextDocument()
    document.setDefaultFont(font)
    document.setDocumentMargin(2)
    document.setPageSize(QSizeF(width, -1))
    charts = [block for block in blocks if isinstance(block, Picture)]
    for number, chart in enumerate(charts):
        document.addResource(QTextDocument.ResourceType.ImageResource, QUrl(f"chart:{number}"), _chart(chart, theme, width - 8, ratio))
    document.setHtml(rich.html(blocks, theme, width - 8))
    document.setTextWidth(width)
    whole = document.size().height()
    height = max(1, min(round(whole), TALLEST))
    image = QImage(round(width * ratio), round(height * ratio), QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    image.fill(theme.surface)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
    context = Layout.PaintContext()
    context.palette.setColor(QPalette.ColorRole.Text, theme.text)
    context.clip = QRectF(0, 0, width, height)
    document.documentLayout().draw(painter, context)
    painter.end()
    words = document.toPlainText()[:LONGEST]
    del document, loop
    return Rendered(image, words, whole > TALLEST)


def _chart(chart: Picture, theme: Theme, width: int, ratio: float) -> QImage:
    """The very file that is exported, in the colours of the window."""
    renderer = QSvgRenderer(QByteArray(svg.svg(chart.drawing, theme.name).encode()))
    size = renderer.defaultSize()
    shown = min(width, round(chart.drawing.width))
    image = QImage(round(shown * ratio), round(shown * size.height() / size.width() * ratio), QImage.Format.Format_RGB32)
    image.fill(theme.surface)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    renderer.setAspectRatioMode(Qt.AspectRatioMode.KeepAspectRatio)
    renderer.render(painter)
    painter.end()
    return image
