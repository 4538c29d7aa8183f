"""The comparison as one self-contained HTML file: one script of our own, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from engines import differences, savings
from engines.profiles import doubts
from engines.report import charts, figures, inks, labels, profile_pictures, sentences, written
from engines.report.design import Design
from engines.report.forest import forest
from engines.report.material import PRICES, Material


def html(material: Material, wanted: Design | None = None) -> str:
    """The page with the sections of a design, by default all."""
    wanted = wanted or Design()
    comparison = material.comparison
    environment = Environment(
        loader=FileSystemLoader(inks.RESOURCES / "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    columns = labels.columns(comparison)
    variants = comparison["variants"]
    every_key = [*columns, *labels.other_keys(comparison, columns)]
    light, dark = inks.colours("light"), inks.colours("dark")
    series = sum(name.startswith("series-") for name in light)
    others = [name for name in variants if name != comparison["baseline"]]
    script = (inks.RESOURCES / "report" / "page.js").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        comparison=comparison,
        title=wanted.title or comparison["experiment"],
        sections=wanted.shown,
        prose=prose,
        facts=facts(comparison),
        baseline_index=list(variants).index(comparison["baseline"]),
        indices=(indices := {name: index for index, name in enumerate(variants)}),
        forest=forest(comparison, columns),
        savings_columns=(compact := savings.shown(comparison)),
        savings_groups=[(group, sum(1 for _ in run)) for group, run in groupby(compact, key=lambda column: column[0])],
        savings_head=savings.head,
        savings_cell=savings.cell,
        value=differences.text,
        goal=comparison.get("goal"),
        conditions=sentences.conditions(comparison.get("conditions", {})),
        profiles={name: (each, profile_pictures.pictures(each), profile_pictures.layers(each)) for name, each in material.profiles.items()},
        doubts=doubts,
        headline=[(indices[name], sentence) for name, sentence in zip(others, sentences.headline(comparison), strict=True)],
        method=sentences.method(comparison),
        controls=sentences.controls(comparison),
        columns=columns,
        others=labels.other_keys(comparison, [*columns, *PRICES]),
        units={key: result["unit"] for variant in variants.values() for key, result in variant["results"].items()},
        parts={name: sentences.of_variant(variant, every_key) for name, variant in variants.items()},
        scatters=lambda section: charts.scatters(comparison, section.x, section.y),
        curves=[charts.drawn(curve) for curve in material.curves],
        prices=[(key, rows) for key in PRICES if (rows := figures.bars(comparison, key))],
        machines=material.machines,
        remarks=material.remarks,
        experiments=material.experiments,
        file_name=material.file_name,
        download=_download,
        light=light,
        dark=dark,
        shapes=Markup(inks.style_sheet()),
        colours=series,
        data=charts.table(comparison, series),
        script=Markup(script),
        script_digest="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=program_version(),
        name=labels.name,
        short=labels.short,
        figure=labels.figure,
        ratio=labels.ratio,
        interval=labels.interval,
        state=labels.state,
        runs=labels.runs,
        over_limits=labels.over_limits,
        over=labels.OVER,
    )


def prose(text: str) -> Markup:
    """A person's Markdown; tags in it are shown as text, scripts in links refused, and pictures, which would have to be loaded, left out."""
    return Markup(f'<div class="prose">{written.html(text)}</div>') if text.strip() else Markup("")


def facts(comparison: Mapping[str, Any]) -> list[str]:
    variants = comparison["variants"].values()
    runs = sum(len(variant["runs"]) for variant in variants)
    done = sum(variant["status"].get("done", 0) for variant in variants)
    made, margin = comparison["verdicts"]["made"], comparison["margin"]
    return [f"{len(variants)} variants", f"{done} of {runs} runs done", f"{made} verdicts", f"margin {margin:.1%}"]


def _download(text: str) -> str:
    """A link that holds the file itself."""
    return "data:application/toml;base64," + base64.b64encode(text.encode()).decode()


def program_version() -> str:
    try:
        return version("efficiency-workbench")
    except PackageNotFoundError:
        return "(not installed)"
