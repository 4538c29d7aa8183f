"""`workbench compare`: the comparison on the terminal and in files."""

from __future__ import annotations

import argparse
from pathlib import Path

from engines import comparison
from engines.console.opening import opened
from engines.console.output import RequestError, experiment_id, note, write_json, write_text
from engines.report import page, paper, tables, terminal
from engines.store.database import Store

_TEXTS = {"csv": tables.comma_separated, "markdown": tables.markdown, "latex": tables.latex}


def compare(arguments: argparse.Namespace) -> int:
    """Write every file that was asked for; print the table unless standard output is taken by one of them."""
    numbers = [experiment_id(text) for text in arguments.ids]
    outs = {name: getattr(arguments, name) for name in ("json", *_TEXTS, "html", "pdf") if getattr(arguments, name)}
    with opened(arguments, looking=True) as store:
        found = comparison.compare(store, numbers)
        for name, out in outs.items():
            if name == "json":
                write_json(found, out)
            elif name == "html":
                write_page(store, numbers, Path(out))
            elif name == "pdf":
                paper.write_pdf(store, numbers, Path(out))
            else:
                write_text(_TEXTS[name](found), out)
            if out != "-":
                note(f"Wrote {Path(out).absolute()}")
    if "-" not in outs.values():
        terminal.table(found)
    return 0


def write_page(store: Store, experiments: list[int], out: Path) -> Path:
    """The report as a self-contained page. Raises RequestError where the file cannot be written."""
    try:
        return page.write_html(store, experiments, out)
    except OSError as error:
        raise RequestError(f"{out} cannot be written: {error.strerror or error}.") from error
