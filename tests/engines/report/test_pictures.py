"""Charts as files: SVG that every reader parses, PNG with the colours of its shapes."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from engines.report import charts, inks, png, svg
from engines.report.forest import forest
from tests.engines.report.conftest import HOSTILE


@pytest.fixture
def drawings(comparison):
    comparison["variants"]["bell\x07 größer"] = comparison["variants"].pop("broken")
    made = charts.scatters(comparison)[:1]
    return [forest(comparison, comparison["metrics"]), charts.with_legend(made[0], list(comparison["variants"]))]


def test_svg_is_plain_xml(drawings):
    texts = []
    for drawing in drawings:
        root = ElementTree.fromstring(svg.svg(drawing))
        texts += [element.text or "" for element in root.iter() if element.tag.endswith("}text")]
        for element in root.iter():
            assert not {"class", "style"} & set(element.attrib)
            assert not any("var(" in value for value in element.attrib.values())
    assert any(text.startswith(HOSTILE[:12]) for text in texts)
    assert "bell größer" in texts


def test_png_shows_every_series(drawings):
    image = Image.open(io.BytesIO(png.png(drawings[0])))
    assert image.size == (round((drawings[0].width + 16) * 2), round((drawings[0].height + 34) * 2))
    colours = {f"#{r:02X}{g:02X}{b:02X}" for _, (r, g, b) in image.getcolors(1 << 20)}
    assert {inks.colours()[f"series-{index}"] for index in (1, 2)} <= colours


def test_every_class_of_a_shape_has_a_look(drawings):
    used = {name for drawing in drawings for shape in drawing.shapes for name in str(shape.attributes.get("class", "")).split()}
    assert used
    assert used <= set(inks.LOOKS)
