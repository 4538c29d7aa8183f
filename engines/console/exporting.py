"""`workbench export`: the finished model of a run as one safetensors file or as ONNX, its word vectors, or its points as CSV or JSON."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from engines import extras
from engines.console.opening import existing_run, opened
from engines.console.output import RequestError, note, run_id, write_json, write_text
from engines.launching import process_environment
from engines.store import queries
from engines.store.database import Store


def export(arguments: argparse.Namespace) -> int:
    number = run_id(arguments.id)
    with opened(arguments, looking=True) as store:
        existing_run(store, number)
        if arguments.format == "safetensors":
            _export_model(store.folder / "runs" / str(number) / "model", arguments.out, number)
        elif arguments.format == "onnx":
            for path in _export_onnx(store.folder / "runs" / str(number) / "model", arguments.out, number):
                note(f"Wrote {path}")
            return 0
        elif arguments.format == "word2vec":
            _export_vectors(store.folder / "runs" / str(number) / "model", arguments.out, number)
        elif arguments.format == "csv":
            write_text(_csv(store, number), arguments.out)
        else:
            write_json(_points(store, number), arguments.out)
    if arguments.out != "-":
        note(f"Wrote {Path(arguments.out).absolute()}")
    return 0


def _export_onnx(folder: Path, out: str, number: int) -> list[str]:
    """The files written by a process that has torch, each checked equal to the model after it was read back."""
    if missing := extras.missing(extras.ONNX):
        raise RequestError(f"ONNX needs {', '.join(missing)}, not installed here: {extras.advice(missing)}")
    answer = _asked("engines.runtime.export", folder, out, number)
    for sentence in answer["told"]:
        note(sentence)
    written: list[str] = answer["written"]
    return written


def _export_vectors(folder: Path, out: str, number: int) -> None:
    """Word vectors in the text format of word2vec, which other tools read."""
    answer = _asked("engines.runtime.neighbours", folder, out, number)
    left_out = [repr(token) for token in answer["left_out"]]
    note(f"{answer['words']:,} words." + (f" Left out, since the format parts words by blanks: {', '.join(left_out[:5])}." if left_out else ""))


def _asked(module: str, folder: Path, out: str, number: int) -> dict[str, Any]:
    """The answer of a process that has torch, loads the finished model in `folder` and writes `out`."""
    _check_model(folder, out, number)
    path = Path(out).expanduser().absolute()
    if not path.parent.is_dir():
        raise RequestError(f"{out} cannot be written: its folder does not exist.")
    command = [sys.executable, "-m", module, "--model", str(folder), "--out", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=process_environment())
    lines = done.stdout.strip().splitlines()
    if not lines:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RequestError(f"The export of r{number} failed: {last[0]}")
    answer: dict[str, Any] = json.loads(lines[-1])
    if "error" in answer:
        raise RequestError(f"r{number} is not exported. {answer['error']}")
    return answer


def _check_model(folder: Path, out: str, number: int) -> None:
    if not (folder / "weights.safetensors").is_file():
        raise RequestError(f"Run r{number} has no finished model in {folder}: only a run that is done leaves one.")
    if out == "-":
        raise RequestError("A model is not written to standard output; name a file.")


def _export_model(folder: Path, out: str, number: int) -> None:
    """Weights with the plan and the techniques' records as metadata, so that the one file says how to rebuild the model.

    The format: eight bytes with the length of a JSON header, the header, the tensors at offsets counted from the header's end.
    """
    _check_model(folder, out, number)
    with (folder / "weights.safetensors").open("rb") as source:
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
