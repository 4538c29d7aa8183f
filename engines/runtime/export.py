"""A finished model as ONNX files, checked equal to torch after they were read back.

    python -m engines.runtime.export --model FOLDER --out FILE

Prints one line of JSON: {"written": [paths], "told": [sentences]} or {"error": sentence}.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.api import CorpusError
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.runtime.evaluate import held_out_batch
from engines.runtime.finished import FinishedError, load_finished
from engines.runtime.graphs import NotExportable, checked_scoring, checked_steps, export_scoring, export_step, runnable
from engines.runtime.onnxgraph import Graph
from engines.runtime.plan import PlanError


def write(folder: Path, out: Path) -> tuple[list[Path], list[str]]:
    """Export a finished model: the scoring graph to `out`, the step beside it as NAME.step.onnx. Returns the files and what is to be told.

    Each is checked after it was read back; one that cannot be is told, both is an error. Raises NotExportable and what loading raises.
    """
    finished = load_finished(folder, "cpu")
    training = finished.plan["training"]
    inputs_BT, targets_BT = held_out_batch(finished, int(training["batch"]), int(training["sequence"]))
    model, prompt_1T = finished.model, inputs_BT[:1]
    parts: list[tuple[str, Path, Callable[[Path], None], Callable[[Graph], float]]] = [
        (
            f"Scoring of {tuple(inputs_BT.shape)} tokens", out, lambda path: export_scoring(model, inputs_BT, targets_BT, path),
            lambda graph: checked_scoring(graph, model, inputs_BT, targets_BT),
        )
    ]  # fmt: skip
    if not finished.task.no_steps:
        step = (
            f"A next-token step after a prompt of {prompt_1T.shape[1]} tokens", out.with_name(f"{out.stem}.step{out.suffix or '.onnx'}"),
            lambda path: export_step(model, prompt_1T, path), lambda graph: checked_steps(graph, model, prompt_1T),
        )  # fmt: skip
        parts.append(step)
    written, told, reasons = [], [], []
    for what, path, make, check in parts:
        try:
            make(path)
            with runnable():
                error = check(Graph(path, threads=1))
        except NotExportable as reason:
            path.unlink(missing_ok=True)
            reasons.append(f"{what}: {reason}")
            continue
        written.append(path)
        told.append(f"{what}: equals torch to {error:.1e} after reading back.")
    if not written:
        raise NotExportable(" ".join(reasons))
    return written, told + [f"{reason} It is left out." for reason in reasons]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.export")
    parser.add_argument("--model", type=Path, required=True, help="folder of a finished model")
    parser.add_argument("--out", type=Path, required=True, help="file of the graph that judges text")
    arguments = parser.parse_args(argv)
    try:
        written, told = write(arguments.model, arguments.out)
        answer: dict[str, Any] = {"written": [str(path) for path in written], "told": told}
    except (NotExportable, PlanError, FinishedError, CorpusError, UnknownPlugin, BrokenPlugin, OSError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
