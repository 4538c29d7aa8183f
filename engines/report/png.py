"""A drawing as a PNG of twice its size, without a display: shapes drawn larger and scaled down, letters at their size above them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from engines.report import inks
from engines.report.drawing import Drawing, Shape
from engines.report.fonts import Font, Fonts, fonts_for, has
from engines.report.sheet import strokes

SCALE = 2
"""Pixels of the file for one of the drawing."""
_FINER = 2
"""Shapes are drawn so much larger still."""
_EDGE, _HEAD = 8.0, 26.0


def png(drawing: Drawing) -> bytes:
    """The file, its title above the drawing, on the light theme's paper."""
    colours = inks.colours("light")
    fonts = fonts_for(" ".join([drawing.title, *(shape.text for shape in drawing.shapes)]))
    size = (drawing.width + 2 * _EDGE, drawing.height + _HEAD + _EDGE)
    large = SCALE * _FINER
    image = Image.new("RGB", (round(size[0] * large), round(size[1] * large)), colours["surface"])
    pen = ImageDraw.Draw(image)
    looks = [(shape, inks.look_of(shape, colours)) for shape in drawing.shapes]
    for shape, look in looks:
        if shape.element != "text":
            _shape(pen, shape, look, large, colours["surface"])
    image = image.resize((round(size[0] * SCALE), round(size[1] * SCALE)), Image.Resampling.BOX)
    _words(image, fonts, drawing.title, _EDGE, 18.0, 13.5, True, colours["text"], "start", False)
    for shape, look in looks:
        if shape.element == "text":
            _letter(image, fonts, shape, look, colours["surface"])
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True, dpi=(96 * SCALE, 96 * SCALE))
    return file.getvalue()


def _shape(pen: ImageDraw.ImageDraw, shape: Shape, look: Mapping[str, str], scale: int, paper: str) -> None:
    at: Mapping[str, Any] = shape.attributes
    share = float(look.get("opacity", 1))
    stroke = _mixed(look.get("stroke", "none"), paper, share)
    fill = _mixed(look.get("fill", "none" if shape.element == "line" else "#000000"), paper, share)
    width = max(1, round(float(look.get("stroke-width", 1)) * scale)) if stroke else 0

    def placed(x: float, y: float) -> tuple[float, float]:
        return (x + _EDGE) * scale, (y + _HEAD) * scale

    match shape.element:
        case "line":
            pen.line([placed(at["x1"], at["y1"]), placed(at["x2"], at["y2"])], fill=stroke, width=width)
        case "rect":
            pen.rectangle([placed(at["x"], at["y"]), placed(at["x"] + at["width"], at["y"] + at["height"])], fill=fill, outline=stroke, width=width)
        case "circle":
            # The stroke lies half outside of the radius.
            r = at["r"] + (width / scale / 2 if stroke else 0)
            pen.ellipse([placed(at["cx"] - r, at["cy"] - r), placed(at["cx"] + r, at["cy"] + r)], fill=fill, outline=stroke, width=width)
        case "path":
            dash = [float(part) for part in look.get("stroke-dasharray", "").split()]
            for closed, points in strokes(str(at["d"])):
                if closed and fill:
                    pen.polygon([placed(*point) for point in points], fill=fill)
                if stroke:
                    ring = [*points, points[0]] if closed else points
                    for part in _dashed(ring, dash) if dash else [ring]:
                        pen.line([placed(*point) for point in part], fill=stroke, width=width, joint="curve")


def _dashed(points: list[tuple[float, float]], dash: list[float]) -> Iterator[list[tuple[float, float]]]:
    """The drawn pieces of a line."""
    place, drawing = 0.0, True
    for (x1, y1), (x2, y2) in pairwise(points):
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        gone = 0.0
        while gone < length:
            step = min((dash[0] if drawing else dash[1]) - place, length - gone)
            ends = [(x1 + (x2 - x1) * share / length, y1 + (y2 - y1) * share / length) for share in (gone, gone + step)]
            if drawing:
                yield ends
            gone, place = gone + step, place + step
            if place >= (dash[0] if drawing else dash[1]) - 1e-9:
                place, drawing = 0.0, not drawing


def _letter(image: Image.Image, fonts: Fonts, shape: Shape, look: Mapping[str, str], paper: str) -> None:
    at: Mapping[str, Any] = shape.attributes
    colour = _mixed(look.get("fill", "#000000"), paper, float(look.get("opacity", 1))) or paper
    size, bold, anchor = float(look.get("font-size", 12)), look.get("font-weight") == "600", str(at.get("text-anchor", "start"))
    turned = re.fullmatch(r"translate\(([\d.]+) ([\d.]+)\) rotate\(-90\)", str(at.get("transform", "")))
    x, y = (float(turned[1]), float(turned[2])) if turned else (at["x"], at["y"])
    _words(image, fonts, shape.text, x + _EDGE, y + _HEAD, size, bold, colour, anchor, bool(turned))


def _words(
    image: Image.Image, fonts: Fonts, text: str, x: float, y: float, size: float, bold: bool, colour: str, anchor: str, turned: bool
) -> None:  # fmt: skip
    """A line with its baseline there, in as many fonts as its letters need."""
    runs = [(part, _face(font, size * SCALE)) for part, font in _runs(text, fonts, bold)]
    lengths = [face.getlength(part) for part, face in runs]
    offset = {"start": 0.0, "middle": sum(lengths) / 2, "end": sum(lengths)}[anchor]
    if turned:
        height = round(size * SCALE * 1.6)
        strip = Image.new("L", (max(1, round(sum(lengths)) + 2), height))
        _run(ImageDraw.Draw(strip), runs, lengths, 0.0, height * 0.75, 255)
        strip = strip.rotate(90, expand=True)
        place = (round(x * SCALE - height * 0.75), round(y * SCALE + offset - strip.height))
        image.paste(colour, (*place, place[0] + strip.width, place[1] + strip.height), strip)
        return
    _run(ImageDraw.Draw(image), runs, lengths, x * SCALE - offset, y * SCALE, colour)


def _run(pen: ImageDraw.ImageDraw, runs: list[tuple[str, Any]], lengths: list[float], x: float, y: float, colour: Any) -> None:
    for (part, face), length in zip(runs, lengths, strict=True):
        pen.text((x, y), part, font=face, fill=colour, anchor="ls")
        x += length


def _runs(text: str, fonts: Fonts, bold: bool) -> Iterator[tuple[str, Font | None]]:
    """Parts of a text by the font that has their letters."""
    usual = fonts.bold if bold else fonts.reading
    run, current = "", usual
    for letter in text:
        if not letter.isprintable():
            continue
        font = usual if usual is None or has(usual, letter) or letter.isspace() else next((f for f in fonts.others if has(f, letter)), usual)
        if font != current and run:
            yield run, current
            run = ""
        run, current = run + letter, font
    if run:
        yield run, current


@cache
def _face(font: Font | None, size: float) -> Any:
    return ImageFont.truetype(str(font.path), size, index=font.number) if font else ImageFont.load_default(size)


def _mixed(colour: str, paper: str, share: float) -> str | None:
    """A colour laid thinly on the paper; None for none."""
    if colour == "none":
        return None
    parts = [[int(each.lstrip("#")[start : start + 2], 16) for start in (0, 2, 4)] for each in (colour, paper)]
    return "#" + "".join(f"{round(share * over + (1 - share) * under):02X}" for over, under in zip(*parts, strict=True))
