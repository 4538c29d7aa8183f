"""One door to every format of a report: what a format is called, and the writing of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from engines.report import archive, design, latex, markdown, page, paper, sections, tables
from engines.report.design import Design, DesignError
from engines.report.material import Material, gather
from engines.store.database import Store


class Format(NamedTuple):
    """`name` as people say it, the suffix of its files, and what it is."""

    name: str
    suffix: str
    what: str


FORMATS: Mapping[str, Format] = {
    "html": Format("HTML page", "html", "one interactive page that loads nothing, with the experiment file in it"),
    "pdf": Format("PDF", "pdf", "pages to print, with the experiment file attached"),
    "markdown": Format("Markdown", "md", "text and tables"),
    "latex": Format("LaTeX", "tex", "text and booktabs tables to \\input into a paper"),
    "csv": Format("CSV", "csv", "a row for each variant and figure, at full precision"),
    "json": Format("JSON", "json", "the comparison, for programs"),
    "zip": Format("ZIP of everything", "zip", "all of these, each chart as SVG, PDF and PNG, and the experiment file"),
    "design": Format("Description", "toml", "the description of the report itself, to change and to use again"),
}

_TEXTS: Mapping[str, Callable[[Material, Design], str]] = {
    "html": page.html,
    "markdown": lambda material, wanted: markdown.markdown(sections.report(material, wanted)),
    "latex": lambda material, wanted: latex.latex(sections.report(material, wanted)),
    "csv": lambda material, wanted: tables.comma_separated(material.comparison),
    "json": lambda material, wanted: json.dumps(material.comparison, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    "design": lambda material, wanted: design.dump(wanted),
}
TEXTS = tuple(_TEXTS)
"""Formats that may go to standard output."""


def text(store: Store, experiment_ids: Sequence[int], form: str, wanted: Design | None = None) -> str:
    """A report as text, described by `wanted` or as remembered with the experiments. form: one of TEXTS."""
    return _TEXTS[form](gather(store, experiment_ids), wanted or design.remembered(store, experiment_ids))


def write(store: Store, experiment_ids: Sequence[int], form: str, path: Path | str, wanted: Design | None = None) -> Path:
    """Write a report; returns where it lies. Raises DesignError where the file cannot be written, and what `compare` raises."""
    found = Path(path).expanduser()
    made = content(gather(store, experiment_ids), form, wanted or design.remembered(store, experiment_ids))
    try:
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_bytes(made)
    except OSError as error:
        raise DesignError(f"{found} cannot be written: {error.strerror or error}.") from error
    return found.resolve()


def content(material: Material, form: str, wanted: Design) -> bytes:
    """The bytes of a report in a format."""
    if form == "pdf":
        return paper.pdf(sections.report(material, wanted), page.program_version())
    if form == "zip":
        return archive.archive(material, wanted, sections.report(material, wanted), page.program_version())
    return _TEXTS[form](material, wanted).encode()


def file_name(title: str, form: str) -> str:
    """A file for a report of this title: letters and digits of any script, short enough for every file system."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in title.lower())
    stem = "-".join(part for part in kept.split("-") if part)[:60].strip("-")
    return f"{stem or 'report'}.{FORMATS[form].suffix}"
