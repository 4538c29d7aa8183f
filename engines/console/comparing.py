"""`workbench compare`: the comparison on the terminal and in files."""

from __future__ import annotations

import argparse

from engines import comparison
from engines.console.output import experiment_id, note, write_json, write_text
from engines.console.queue import opened
from engines.report import terminal


def compare(arguments: argparse.Namespace) -> int:
    """Print the table, unless something else was asked for on standard output; write every file that was asked for."""
    numbers = [experiment_id(text) for text in arguments.ids]
    with opened(arguments) as store:
        found = comparison.compare(store, numbers)
    written = False
    return 0
