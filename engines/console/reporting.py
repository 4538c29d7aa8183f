"""`workbench report`: the report of experiments in a format, as described."""

from __future__ import annotations

import argparse
from pathlib import Path

from engines.console.opening import existing_experiment, opened
from engines.console.output import RequestError, experiment_id, note, write_json, write_text
from engines.report import design, writing


def report(arguments: argparse.Namespace) -> int:
    """Write the report to --out, by default into a file of the experiment's name here; with --keep the description is kept with the experiment."""
    numbers = [experiment_id(text) for text in arguments.ids]
    form = arguments.format
    if arguments.keep and not arguments.design:
        raise RequestError("--keep keeps the description of --design FILE with the experiment; name the file.")
    if arguments.out == "-" and form not in writing.TEXTS:
        raise RequestError(f"--format {form} is no text; name a file with --out.")
    if arguments.json and arguments.out == "-":
        raise RequestError("--json says on standard output what was written, which --out - takes; name a file.")
    wanted = design.read(arguments.design) if arguments.design else None
    with opened(arguments, looking=not arguments.keep) as store:
        if arguments.out == "-":
            write_text(writing.text(store, numbers, form, wanted), "-")
        else:
            out = Path(arguments.out or writing.file_name(existing_experiment(store, numbers[0]).name, form))
            written = writing.write(store, numbers, form, out, wanted)
            if not arguments.json:
                note(f"Wrote {written}")
        if arguments.keep and wanted is not None:
            design.remember(store, numbers, wanted)
            if not arguments.json:
                note(f"Kept as the report of {', '.join(arguments.ids)}: {design.place(store, numbers)}")
        if arguments.json:
            kept = str(design.place(store, numbers)) if arguments.keep else None
            write_json({"experiments": numbers, "format": form, "path": str(written), "kept": kept})
    return 0
