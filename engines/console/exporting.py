"""`workbench export`: the finished model of a run as one safetensors file, or its points as CSV or JSON."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import shutil
import struct
from pathlib import Path
from typing import Any

from engines.console.opening import existing_run, opened
from engines.console.output import RequestError, note, run_id, write_json, write_text
from engines.store import queries
from engines.store.database import Store


def export(arguments: argparse.Namespace) -> int:
    number = run_id(arguments.id)
    with opened(arguments, looking=True) as store:
        existing_run(store, number)
        if arguments.format == "safetensors":
            _export_model(store.folder / "runs" / str(number) / "model", arguments.out, number)
        elif arguments.format == "csv":
            write_text(_csv(store, number), arguments.out)
        else:
            write_json(_points(store, number), arguments.out)
    if arguments.out != "-":
        note(f"Wrote {Path(arguments.out).absolute()}")
    return 0


def _export_model(folder: Path, out: str, number: int) -> None:
    """Weights with the plan and the techniques' records as metadata, so that the one file says how to rebuild the model.

    The format: eight bytes with the length of a JSON header, the header, the tensors at offsets counted from the header's end.
    """
    weights = folder / "weights.safetensors"
    if not weights.is_file():
        raise RequestError(f"Run r{number} has no finished model in {folder}: only a run that is done leaves one.")
    if out == "-":
        raise RequestError("A model is not written to standard output; name a file.")
    with weights.open("rb") as source:
        (length,) = struct.unpack("<Q", source.read(8))
        header = json.loads(source.read(length))
        texts = {name: (folder / f"{name}.json").read_text(encoding="utf-8") for name in ("plan", "records")}
        header["__metadata__"] = header.get("__metadata__", {}) | texts
        written = json.dumps(header, separators=(",", ":")).encode()
        written += b" " * (-len(written) % 8)
        try:
            with Path(out).expanduser().open("wb") as target:
                target.write(struct.pack("<Q", len(written)) + written)
                shutil.copyfileobj(source, target)
        except OSError as error:
            raise RequestError(f"{out} cannot be written: {error.strerror or error}.") from error


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
