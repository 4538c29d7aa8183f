"""A report on paper: pages with real text, the experiment file attached, drawings as vectors, also where the machine has no fonts."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from pypdf import PdfReader

from engines.report import fonts, paper, sections
from engines.report.design import Design, Section
from engines.report.forest import forest
from engines.report.material import Material
from engines.report.sheet import strokes
from tests.engines.report.conftest import HOSTILE

TEXT = "A *slanted* `code` and a [link](https://example.org).\n\n- one\n  1. within\n\n> quoted\n\n| a | b |\n|---|---|\n| 1 | 2 |"
FILE = 'name = "Größe"\n# a comment\n'


@pytest.fixture
def report(comparison):
    wanted = Design(title="Größe é", section=[Section(kind=kind) for kind in ("summary", "verdicts", "forest")] + [Section(kind="text", text=TEXT)])
    return sections.report(Material(comparison, experiments=[SimpleNamespace(text=FILE, digest="0" * 64, folder="")]), wanted)


def read(data):
    reader = PdfReader(io.BytesIO(data))
    return reader, " ".join("\n".join(page.extract_text() for page in reader.pages).split())


def test_the_text_can_be_read_and_the_experiment_is_attached(report):
    reader, text = read(paper.pdf(report))
    for needed in ("Größe é", "adaptive", "better in inference speed (1.83x, 1.82 to 1.83)", "179.8", "no practical difference", "slanted", "quoted"):
        assert needed in text
    assert HOSTILE.split("(")[0] in text
    assert reader.attachments["experiment.toml"][0].decode() == FILE
    assert [mark.title for mark in reader.outline if not isinstance(mark, list)] == ["Größe é"]
    assert not [name for page in reader.pages for name in page.images]


def test_without_fonts_latin_is_written_and_the_rest_is_told(report, monkeypatch):
    monkeypatch.setattr(fonts, "_files", dict)
    _, text = read(paper.pdf(report))
    assert "Größe é" in text
    foreign = sections.report(Material({**_bare(report), "experiment": "哪种"}), Design(section=()))
    _, text = read(paper.pdf(foreign))
    assert "?? " in text
    assert "2 letters are in no font of the machine" in text


def _bare(report):
    return {"warnings": [], "variants": {}, "baseline": "", "experiment": report.title}


def test_a_drawing_is_a_page_of_its_size(comparison):
    drawing = forest(comparison, comparison["metrics"])
    reader, text = read(paper.picture(drawing))
    assert len(reader.pages) == 1
    assert float(reader.pages[0].mediabox.width) == pytest.approx((drawing.width / 4 + 4) * 72 / 25.4)
    assert "Inference speed" in text


def test_path_data_in_parts():
    assert list(strokes("M1 2L3.5 -4M0 0L1 1L2 0Z")) == [(False, [(1, 2), (3.5, -4)]), (True, [(0, 0), (1, 1), (2, 0)])]
