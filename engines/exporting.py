"""Finished models leave: the process that writes and checks the files, and the card that goes with them. No torch."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import extras, modelcard
from engines.hearing import last_said
from engines.launching import process_environment
from engines.store import queries
from engines.store.database import Store
from engines.teachers import COSTS

MODULE = "engines.runtime.export"
FORMATS = {
    "safetensors": ("safetensors: weights, opened with the workbench", ".safetensors"),
    "torch-export": ("torch.export: programs, run with torch alone", ".pt2"),
    "onnx": ("ONNX: graphs, run with onnxruntime alone", ".onnx"),
}
"""What each is in a word, and the suffix of its file."""


class ExportError(RuntimeError):
    """A model that is not exported; the message is a sentence that says why and what to do instead."""


@dataclass(frozen=True)
class Exported:
    """written: the files, the model first. told: what was checked and what was left out, in sentences."""

    written: list[Path]
    told: list[str]


def export(store: Store, run_id: int, form: str, out: Path) -> Exported:
    """Write the finished model of a run to `out`, with its card and files of the same stem beside it. Raises ExportError."""
    if form == "onnx" and (missing := extras.missing(extras.ONNX)):
        raise ExportError(f"ONNX needs {', '.join(missing)}, not installed here: {extras.advice(missing)}")
    folder = store.model_folder(run_id)
    price = {row.key: row.value for row in queries.results(store, run_id) if row.key in COSTS and row.value is not None}
    words = ["--model", str(folder), "--out", str(out), "--format", form, "--price", json.dumps(price), "--attended"]
    answer = asked(MODULE, words, run_id)
    beside = out.with_name(f"{out.name}.card.md")
    try:
        beside.write_text(modelcard.card(store, run_id, form, answer["facts"]), encoding="utf-8")
    except OSError as error:
        raise ExportError(f"The model was written, but its card {beside} was not: {error.strerror or error}.") from error
    return Exported([*(Path(path) for path in answer["written"]), beside], answer["told"])


def asked(module: str, words: Sequence[str], run_id: int) -> dict[str, Any]:
    """The answer of a process that has torch. Raises ExportError with its sentence, or with the last words of one that failed."""
    # Its input is our pipe: where we are killed, it ends, and puts its files away.
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", env=process_environment(),
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        errors: list[str] = []
        listening = threading.Thread(target=lambda: errors.extend(process.stderr or ()), name="export", daemon=True)
        listening.start()
        answer = last_said(process.stdout.read())
        process.wait()
        listening.join()
    if not answer:
        last = [line.strip() for line in errors if line.strip()][-1:] or [f"exit code {process.returncode}"]
        raise ExportError(f"The export of r{run_id} failed: {last[0]}")
    if "error" in answer:
        raise ExportError(f"r{run_id} is not exported. {answer['error']}")
    return answer
