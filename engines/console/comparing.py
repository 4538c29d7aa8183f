"""`workbench compare`: the comparison on the terminal and in files."""

from __future__ import annotations

import argparse
from pathlib import Path

from engines import comparison
from engines.console.opening import opened
from engines.console.output import experiment_id, note, write_json, write_text
from engines.report import terminal, writing


def compare(arguments: argparse.Namespace) -> int:
    """Write every file that was asked for; print the table unless standard output is taken by one of them."""
    numbers = [experiment_id(text) for text in arguments.ids]
    outs = {name: getattr(arguments, name) for name in writing.FORMATS if getattr(arguments, name, None)}
    with opened(arguments, looking=True) as store:
        found = comparison.compare(store, numbers)
        for name, out in outs.items():
            if name == "json":
                write_json(found, out)
            elif out == "-" and name in writing.TEXTS:
                write_text(writing.text(store, numbers, name), out)
            else:
                writing.write(store, numbers, name, out)
            if out != "-":
                note(f"Wrote {Path(out).absolute()}")
    if "-" not in outs.values():
        terminal.table(found)
    return 0

