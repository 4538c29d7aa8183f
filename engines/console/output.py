"""How the verbs speak: sentences on standard error, answers on standard output, tables that no terminal width breaks."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any


class RequestError(ValueError):
    """The request was wrong; the text is one sentence for each thing that is."""


def say(text: str = "") -> None:
    """An answer, on standard output."""
    sys.stdout.write(f"{text}\n")


def note(text: str) -> None:
    """Something beside the answer, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def write_text(text: str, out: str) -> None:
    """To a file, or to standard output where `out` is "-". Raises RequestError where the file cannot be written."""
    if out == "-":
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        return
    try:
        Path(out).expanduser().write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{out} cannot be written: {error.strerror or error}.") from error


def write_json(value: Any, out: str = "-") -> None:
    """NaN and infinity, which JSON does not have, become null."""
    write_text(json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False), out)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def columns(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns; numbers to the right. No cell is ever cut or wrapped: paths and ids can be copied."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(headings), *cells]) for i in range(len(headings))]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(headings))]

    def line(row: Sequence[str]) -> str:
        parts = [cell.rjust(width) if is_right else cell.ljust(width) for cell, width, is_right in zip(row, widths, right, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join(line(row) for row in [list(headings), *cells])


def when(seconds: float | None) -> str:
    """A moment in local time, to the second."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S") if seconds else ""


def span(seconds: float | None) -> str:
    """A duration as a person says it: 4 s, 3 min 20 s, 2 h 5 min."""
    if seconds is None or seconds < 0:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


# --- Ids ------------------------------------------------------------------------------------------------------------------------------------


def experiment_id(text: str) -> int:
    """`3` -> 3. Raises RequestError for a run or anything else."""
    kind, number = split_id(text)
    if kind == "run":
        raise RequestError(f'"{text}" names a run; here an experiment is wanted, as in 3 (workbench list shows them).')
    return number


def run_id(text: str) -> int:
    """`r12` -> 12. Raises RequestError for an experiment or anything else."""
    kind, number = split_id(text)
    if kind == "experiment":
        raise RequestError(f'"{text}" names an experiment; here a run is wanted, as in r12 (workbench show {text} lists its runs).')
    return number


def split_id(text: str) -> tuple[str, int]:
    """("experiment", 3) for `3`, ("run", 12) for `r12`."""
    found = re.fullmatch(r"(r?)(\d+)", text.strip().lower())
    if found is None:
        raise RequestError(f'"{text}" is no id: experiments are numbers (3), runs are r and a number (r12); workbench list shows them.')
    return ("run" if found[1] else "experiment"), int(found[2])
