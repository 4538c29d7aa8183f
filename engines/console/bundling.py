"""`workbench bundle`, `workbench open`: an experiment in one file, and such a file read again."""

from __future__ import annotations

import argparse
from pathlib import Path

from engines import comparison
from engines.console.opening import existing_experiment, opened
from engines.console.output import RequestError, experiment_id, note, write_json
from engines.report import terminal
from engines.store import bundles, queries
from engines.store.bundles import SUFFIX
from engines.store.database import Store


def bundle(arguments: argparse.Namespace) -> int:
    number = experiment_id(arguments.id)
    with opened(arguments, looking=True) as store:
        row = existing_experiment(store, number)
        out = Path(arguments.out).expanduser() if arguments.out else Path(f"experiment-{number}{SUFFIX}")
        if out.suffix != SUFFIX:
            out = out.with_name(out.name + SUFFIX)
        if not out.absolute().parent.is_dir():
            raise RequestError(f"{out} cannot be written: its folder does not exist.")
        packed = bundles.pack(store, number, out.absolute(), weights=not arguments.without_weights)
    if arguments.json:
        figures = {"files": packed.files, "bytes": packed.bytes, "weights_bytes": 0 if arguments.without_weights else packed.weights}
        write_json({"experiment": number, "path": str(packed.path), **figures})
        return 0
    weights = f"{packed.weights / 2**20:,.1f} MiB of weights {'left out' if arguments.without_weights else 'before packing'}"
    note(f'"{row.name}": {packed.files} files, {packed.bytes / 2**20:,.1f} MiB ({weights}). Wrote {packed.path}')
    return 0


def look(arguments: argparse.Namespace) -> int:
    """Show the comparison of a bundle here; the door has opened the window already where there is a display and nothing else was asked for."""
    path = Path(arguments.file).expanduser().absolute()
    if not path.is_file():
        raise RequestError(f"There is no file {path}.")
    if arguments.copy:
        raise RequestError("--copy opens the window, alone and on a display; here, workbench show ID --store BUNDLE names what there is to copy.")
    with Store.open(bundles.unpack(path), read_only=True) as store:
        (row,) = queries.experiments(store)
        found = comparison.compare(store, [row.id])
        if arguments.json:
            write_json(found, "-")
        else:
            terminal.table(found)
            note(f"Read-only. More of it: workbench show {row.id} --store {path}")
    return 0
