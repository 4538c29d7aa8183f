"""Paper: pages with the fonts of this machine, text that breaks lines, and drawings as vectors."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fpdf import FPDF
from fpdf.drawing import DeviceRGB
from fpdf.enums import RenderStyle, XPos, YPos

from engines.report import inks
from engines.report.drawing import Drawing, Shape
from engines.report.fonts import Font, Fonts

# It tells of every letter that a font lacks; what is missing was looked for before, and is told once.
logging.getLogger("fpdf").setLevel(logging.ERROR)
logging.getLogger("fontTools").setLevel(logging.ERROR)

POINTS = 72 / 25.4
"""Points in a millimetre."""
READING, CODE, BUILT_IN = "reading", "code", "helvetica"


class Sheet(FPDF):
    """Millimetres; text in one of two families. What no font has is shown as a question mark."""

    def __init__(self, fonts: Fonts, size: str | tuple[float, float] = "A4") -> None:
        super().__init__(unit="mm", format=size)
        self.colours = inks.colours("light")
        self.fonts_used = fonts
        self.c_margin = 0
        if fonts.reading:
            self._embed(READING, fonts.reading, "")
            self._embed(READING, fonts.bold or fonts.reading, "B")
            self._embed(CODE, fonts.code or fonts.reading, "")
            for number, font in enumerate(fonts.others):
                for style in ("", "B"):
                    self._embed(f"other{number}", font, style)
            self.set_fallback_fonts([READING, *(f"other{number}" for number in range(len(fonts.others)))], exact_match=False)
            self.set_text_shaping(True)
        self.look()

    def _embed(self, name: str, font: Font, style: str) -> None:
        self.add_font(name, style, font.path, collection_font_number=font.number)

    # --- Text -------------------------------------------------------------------------------------------------------------------------------

    def look(self, points: float = 9.5, *, bold: bool = False, code: bool = False, colour: str = "text") -> None:
        """How text looks from here on; colour: a name of the theme or #RRGGBB."""
        family = (CODE if code else READING) if self.fonts_used.reading else ("courier" if code else BUILT_IN)
        self.set_font(family, "B" if bold and not code else "", points)
        self.set_text_color(self.ink(colour))

    def ink(self, colour: str) -> DeviceRGB:
        """A colour of the theme, or one given as #RRGGBB."""
        text = self.colours.get(colour, colour).lstrip("#")
        return DeviceRGB(*(int(text[start : start + 2], 16) / 255 for start in (0, 2, 4)))

    def shown(self, text: str) -> str:
        """What can be shown of a text: missing letters as question marks, signs without a shape left out."""
        text = "".join("?" if letter in self.fonts_used.missing else letter for letter in text if letter.isprintable() or letter == "\n")
        if self.fonts_used.reading is None:
            text = text.replace("…", "...").replace("–", "-").replace("—", "-").replace("→", "->").encode("latin-1", "replace").decode("latin-1")
        return text

    def lines(self, text: str, width: float) -> list[str]:
        """A text broken at a width, in the present look."""
        if not text:
            return [""]
        found: Any = self.multi_cell(width, text=self.shown(text), align="L", dry_run=True, output="LINES")
        return list(found)

    def put(self, x: float, y: float, text: str, *, anchor: str = "start") -> None:
        """One line with its baseline at y; anchor: start, middle or end of it stands at x."""
        text = self.shown(text)
        if not text:
            return
        width = self.get_string_width(text)
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        size = self.font_size
        self.set_xy(left, y - 0.8 * size)
        self.cell(width, size, text, new_x=XPos.RIGHT, new_y=YPos.TOP)

    # --- Drawings ---------------------------------------------------------------------------------------------------------------------------

    def draw(self, drawing: Drawing, x: float, y: float, width: float) -> float:
        """A drawing with its corner there, as wide as said; returns its height."""
        scale = width / drawing.width
        automatic, self.auto_page_break = self.auto_page_break, False
        for shape in drawing.shapes:
            look = inks.look_of(shape, self.colours)
            with self._opaque(float(look.get("opacity", 1))):
                self._shape(shape, look, x, y, scale)
        self.auto_page_break = automatic
        self.set_dash_pattern()
        return drawing.height * scale

    @contextmanager
    def _opaque(self, share: float) -> Iterator[None]:
        if share >= 1:
            yield
            return
        with self.local_context(fill_opacity=share, stroke_opacity=share):
            yield

    def _shape(self, shape: Shape, look: Mapping[str, str], x: float, y: float, scale: float) -> None:
        at: Mapping[str, Any] = shape.attributes
        stroke, fill = look.get("stroke", "none"), look.get("fill", "none" if shape.element == "line" else "#000000")
        if shape.element == "text":
            self._words(shape, look, x, y, scale)
            return
        if stroke != "none":
            self.set_draw_color(self.ink(stroke))
            self.set_line_width(float(look.get("stroke-width", 1)) * scale)
            dash = [float(part) * scale for part in look.get("stroke-dasharray", "").split()]
            self.set_dash_pattern(*(dash or [0, 0]))
        if fill != "none":
            self.set_fill_color(self.ink(fill))
        style = RenderStyle.coerce(("D" if stroke != "none" else "") + ("F" if fill != "none" else ""))
        match shape.element:
            case "line":
                self.line(x + at["x1"] * scale, y + at["y1"] * scale, x + at["x2"] * scale, y + at["y2"] * scale)
            case "rect":
                self.rect(x + at["x"] * scale, y + at["y"] * scale, at["width"] * scale, at["height"] * scale, style=style)
            case "circle":
                self.circle(x + at["cx"] * scale, y + at["cy"] * scale, at["r"] * scale, style=style)
            case "path":
                for closed, points in strokes(str(at["d"])):
                    placed = [(x + px * scale, y + py * scale) for px, py in points]
                    if len(placed) > 1:
                        self.polyline(placed, polygon=closed, style=style)

    def _words(self, shape: Shape, look: Mapping[str, str], x: float, y: float, scale: float) -> None:
        points = float(look.get("font-size", 12)) * scale * POINTS
        self.look(points, bold=look.get("font-weight") == "600", colour=look.get("fill", "text"))
        anchor = str(shape.attributes.get("text-anchor", "start"))
        turned = re.fullmatch(r"translate\(([\d.]+) ([\d.]+)\) rotate\(-90\)", str(shape.attributes.get("transform", "")))
        if turned:
            px, py = x + float(turned[1]) * scale, y + float(turned[2]) * scale
            with self.rotation(90, px, py):
                self.put(px, py, shape.text, anchor=anchor)
        else:
            self.put(x + shape.attributes["x"] * scale, y + shape.attributes["y"] * scale, shape.text, anchor=anchor)


def strokes(data: str) -> Iterator[tuple[bool, list[tuple[float, float]]]]:
    """(closed, points) of each part of path data made of M, L and Z with absolute points."""
    for part in re.findall(r"M[^M]*", data):
        numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", part)]
        yield part.rstrip().endswith("Z"), list(zip(numbers[::2], numbers[1::2], strict=True))
