"""A drawing as an SVG file of its own: plain colours and attributes, as every program reads them."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from engines.report import inks
from engines.report.drawing import Drawing

_OWN = ("class", "style")
TITLE = 26.0
"""Pixels above the drawing, for its title."""


def svg(drawing: Drawing, theme: str = "light") -> str:
    """The file. Its title stands above the drawing; hints become titles of their shapes."""
    colours = inks.colours(theme)
    width, height = drawing.width + 16, drawing.height + TITLE + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
        ' font-family="DejaVu Sans, Segoe UI, Helvetica, Arial, sans-serif">',
        f"<title>{escape(_printable(drawing.title))}</title>",
        f'<rect width="{width:g}" height="{height:g}" fill="{colours["surface"]}"/>',
        f'<text x="8" y="18" font-size="13.5" font-weight="600" fill="{colours["text"]}">{escape(_printable(drawing.title))}</text>',
        f'<g transform="translate(8 {TITLE:g})">',
    ]
    for shape in drawing.shapes:
        look = inks.look_of(shape, colours)
        # A halo drawn behind the letters is newer than many readers; without it they would draw it over them.
        halo = look.pop("paint-order", "") and {key: look.pop(key) for key in ("stroke", "stroke-width")}
        for extra in ((halo, {}) if halo else ({},)):
            attributes = {key: value for key, value in shape.attributes.items() if key not in _OWN and not key.startswith("data-")} | look | extra
            named = "".join(f" {key}={quoteattr(str(value))}" for key, value in attributes.items() if value != "")
            hint = f"<title>{escape(_printable(shape.hint))}</title>" if shape.hint else ""
            lines.append(f"<{shape.element}{named}>{hint}{escape(_printable(shape.text))}</{shape.element}>")
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _printable(text: str) -> str:
    """Without the signs that XML has no place for."""
    return "".join(sign for sign in text if sign.isprintable() or sign in "\n\t")
