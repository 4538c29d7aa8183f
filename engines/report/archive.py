"""Everything of a report in one ZIP: page, paper, text, tables, each chart three times, the description, and the experiment files."""

from __future__ import annotations

import io
import json
import zipfile

from engines.report import design, latex, markdown, page, paper, png, svg, tables
from engines.report.blocks import Report
from engines.report.design import Design
from engines.report.material import Material

CHARTS = "charts"


def archive(material: Material, wanted: Design, report: Report, version: str) -> bytes:
    """The file. Text and LaTeX in it show the charts beside them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as put:
        put.writestr("report.html", page.html(material, wanted))
        put.writestr("report.pdf", paper.pdf(report, version))
        put.writestr("report.md", markdown.markdown(report, CHARTS))
        put.writestr("report.tex", latex.latex(report, CHARTS))
        put.writestr("figures.csv", tables.comma_separated(material.comparison))
        put.writestr("comparison.json", json.dumps(material.comparison, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        put.writestr("report.toml", design.dump(wanted))
        for each in report.files:
            put.writestr(each.name, each.text)
        for picture in report.pictures:
            put.writestr(f"{CHARTS}/{picture.name}.svg", svg.svg(picture.drawing))
            put.writestr(f"{CHARTS}/{picture.name}.pdf", paper.picture(picture.drawing))
            put.writestr(f"{CHARTS}/{picture.name}.png", png.png(picture.drawing))
    return file.getvalue()
