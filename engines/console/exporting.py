"""`workbench export`: the finished model of a run with its card, its word vectors, or its points as CSV or JSON."""

from __future__ import annotations

import argparse
import csv
import io
import math
from pathlib import Path
from typing import Any

from engines import exporting
from engines.console.opening import existing_run, opened
from engines.console.output import RequestError, note, run_id, write_json, write_text
from engines.store import queries
from engines.store.database import Store


def export(arguments: argparse.Namespace) -> int:
    number = run_id(arguments.id)
    if arguments.json and arguments.out == "-":
        raise RequestError("--json says on standard output what was written, which OUT = - takes; name a file.")
    with opened(arguments, looking=True) as store:
        existing_run(store, number)
        folder = store.model_folder(number)
        if arguments.format in exporting.FORMATS:
            path = _target(folder, arguments.out, number)
            found = exporting.export(store, number, arguments.format, path)
            return _said(arguments, found.told, found.written)
        told: list[str] = []
        if arguments.format == "word2vec":
            told = [_export_vectors(folder, arguments.out, number)]
        elif arguments.format == "csv":
            write_text(_csv(store, number), arguments.out)
        else:
            write_json(_points(store, number), arguments.out)
    return _said(arguments, told, [] if arguments.out == "-" else [Path(arguments.out).expanduser().absolute()])


def _said(arguments: argparse.Namespace, told: list[str], written: list[Path]) -> int:
    if arguments.json:
        write_json({"run": run_id(arguments.id), "format": arguments.format, "written": [str(path) for path in written], "told": told})
        return 0
    for sentence in (*told, *(f"Wrote {path}" for path in written)):
        note(sentence)
    return 0


def _export_vectors(folder: Path, out: str, number: int) -> str:
    """Word vectors in the text format of word2vec, which other tools read; returns how many, and what was left out, as sentences."""
    answer = exporting.asked("engines.runtime.neighbours", ["--model", str(folder), "--out", str(_target(folder, out, number))], number)
    left_out = [repr(token) for token in answer["left_out"]]
    return f"{answer['words']:,} words." + (f" Left out, since the format parts words by blanks: {', '.join(left_out[:5])}." if left_out else "")


def _target(folder: Path, out: str, number: int) -> Path:
    """Where a model of a run is written. Raises RequestError where there is none, or where nothing can be written."""
    if not (folder / "weights.safetensors").is_file():
        raise RequestError(f"Run r{number} has no finished model in {folder}: only a run that is done leaves one.")
    if out == "-":
        raise RequestError("A model is not written to standard output; name a file.")
    path = Path(out).expanduser().absolute()
    if path.is_dir():
        raise RequestError(f"{out} is a folder: name the file to write.")
    if not path.parent.is_dir():
        raise RequestError(f"{out} cannot be written: its folder does not exist.")
    return path


def _points(store: Store, number: int) -> list[dict[str, Any]]:
    """Every series with its points; null where a value is not a number."""
    found = []
    for row in queries.series(store, number):
        steps, times, values = queries.points(store, row.id)
        numbers = [value if math.isfinite(value) else None for value in values.tolist()]
        found.append({"key": row.key, "unit": row.unit, "better": row.better, "steps": steps.tolist(), "times": times.tolist(), "values": numbers})
    return found


def _csv(store: Store, number: int) -> str:
    """One line a point: key, unit, step, time, value (empty where it is not a number)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", "unit", "step", "time", "value"])
    for series in _points(store, number):
        for step, time, value in zip(series["steps"], series["times"], series["values"], strict=True):
            writer.writerow([series["key"], series["unit"], int(step), time, "" if value is None else value])
    return text.getvalue()
