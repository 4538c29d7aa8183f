"""A finished model as files that leave: each is read back and held against the model on held-out data before it is kept.

    python -m engines.runtime.export --model FOLDER --out FILE --format safetensors|torch-export|onnx

Prints one line of JSON: {"written": [paths], "told": [sentences], "facts": {...}} or {"error": sentence}. facts: what the card of the model has to
say and only who has torch knows: "parts" ([{"file", "what", "inputs", "outputs", "error", "bytes"}]), "text" (level, licence, types ...), "size".
"""

from __future__ import annotations

import _thread
import argparse
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from engines.api import CorpusError
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.runtime.entrances import Offer, Part, entrances
from engines.runtime.evaluate import held_out_batch
from engines.runtime.finished import Finished, FinishedError, load_finished
from engines.runtime.graphs import GROWING_STATE, NotExportable, agreed, runnable, values_of, write_graph
from engines.runtime.onnxgraph import Graph
from engines.runtime.plan import PlanError
from engines.runtime.portable import load_exported, write_exported
from engines.runtime.programs import loaded_afresh, write_program
from engines.runtime.runners import score
from engines.telling import ORPHANED
from engines.toolbox import vocabularies
from engines.toolbox.packed import matrices_in

FORMATS = ("safetensors", "torch-export", "onnx")
SUFFIXES = {"torch-export": ".pt2", "onnx": ".onnx"}
"""Of files beside the first, where that has no suffix of its own."""


@dataclass(frozen=True)
class Written:
    """One file. inputs, outputs: "name type (sizes)"; error: its largest difference from the model on held-out data, in nats."""

    file: str
    what: str
    inputs: list[str]
    outputs: list[str]
    error: float
    bytes: int


def write(folder: Path, out: Path, form: str, price: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Export a finished model; returns what `main` prints. Nothing appears at `out` that was not checked. price: what it cost, for its file.

    Raises NotExportable, and what loading raises.
    """
    finished = load_finished(folder, "cpu")
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as beside:
        if form == "safetensors":
            parts = [_portable(finished, folder, out, Path(beside), price)]
            told = ["Equals the model bit for bit after it was rebuilt from the file alone."]
            left_out: list[str] = []
        else:
            parts, told, left_out = _programs(finished, out, form, Path(beside))
            vocabulary = out.with_name(f"{out.stem}.vocabulary.json")
            described = vocabularies.described(finished.text)
            (Path(beside) / vocabulary.name).write_text(json.dumps(described, ensure_ascii=True), encoding="utf-8")
        written = []
        for path in sorted(Path(beside).iterdir(), key=lambda each: (each.name != out.name, each.name)):
            os.replace(path, out.with_name(path.name))
            written.append(str(out.with_name(path.name)))
    facts = {"parts": [asdict(part) for part in parts], "left_out": left_out, **_facts(finished)}
    return {"written": written, "told": told + left_out, "facts": facts}


def _portable(finished: Finished, folder: Path, out: Path, beside: Path, price: Mapping[str, float] | None) -> Written:
    """The one file with everything, rebuilt from that file alone; its figures must be the same to the last bit."""
    path = beside / out.name
    write_exported(folder, finished.text, path, price)
    again = load_exported(path, folder=finished.plan["model"].get("folder"))
    training = finished.plan["training"]
    inputs, targets = held_out_batch(finished, int(training["batch"]), int(training["sequence"]))
    one, other = score(finished.model, inputs, targets), score(again.model, inputs, targets)
    if not torch.equal(one, other):
        raise NotExportable(
            f"The model that is rebuilt from the file judges held-out text otherwise: by up to {float((one - other).abs().max()):.2g}. One of its "
            "techniques keeps something outside its tensors and its record."
        )
    return Written(out.name, "weights with what rebuilds the model", [], [], 0.0, path.stat().st_size)


# --- Programs and graphs --------------------------------------------------------------------------------------------------------------------


def _programs(finished: Finished, out: Path, form: str, beside: Path) -> tuple[list[Written], list[str], list[str]]:
    """What of the model can be written so, a sentence for each part, and one for each that is left out. Raises NotExportable where it is all."""
    training = finished.plan["training"]
    inputs, targets = held_out_batch(finished, int(training["batch"]), int(training["sequence"]))
    made: list[tuple[Offer, Part, Path]] = []
    reasons: dict[str, str] = {}
    for offer in entrances(finished, inputs, targets):
        reasons[offer.what] = offer.reason
        for part in offer.ways:
            path = beside / (out.name if not part.suffix else f"{out.stem}.{part.suffix}{out.suffix or SUFFIXES[form]}")
            try:
                (_write_graph if form == "onnx" else _write_program)(finished.model, part, path)
            except NotExportable as reason:
                path.unlink(missing_ok=True)
                reasons[offer.what] = reasons[offer.what] or str(reason)
                continue
            made.append((offer, part, path))
            del reasons[offer.what]
            break
    parts, told = [], []
    for (offer, part, path), check in zip(made, _checks_of_graphs(made) if form == "onnx" else _checks_of_programs(made, beside), strict=True):
        try:
            shapes, error = check()
        except NotExportable as wrong:
            path.unlink()
            reasons[offer.what] = str(wrong)
            continue
        parts.append(Written(path.name, part.what, _named(part, shapes), list(part.outputs), error, path.stat().st_size))
        told.append(f"{path.name}: {part.what} Equals the model to {error:.1e} after it was loaded afresh.")
    if not parts:
        # One reason often stands against all of them.
        why = " ".join(dict.fromkeys(reasons.values()))
        raise NotExportable(why if "safetensors" in why else f"{why} Export it as safetensors, which keeps every model.")
    return parts, told, [f"{what}: left out. {reason}" for what, reason in reasons.items()]


def _write_graph(model: Any, part: Part, path: Path) -> None:
    if part.grows:
        raise NotExportable(GROWING_STATE)
    write_graph(model, part.module, part.example, list(part.names), list(part.outputs), path)


def _write_program(model: Any, part: Part, path: Path) -> None:
    write_program(model, part.module, part.example, part.free, path)


Shapes = list[tuple[int | None, ...]]
"""Of each input; None where any size may come."""
Check = Callable[[], tuple[Shapes, float]]
"""Gives the shapes that are taken and the largest difference from the model. Raises NotExportable."""


def _checks_of_graphs(made: Sequence[tuple[Offer, Part, Path]]) -> Iterator[Check]:
    def check(part: Part, path: Path) -> tuple[Shapes, float]:
        with runnable():
            graph, found = Graph(path, threads=1), []
            values = values_of(graph, *part.example)
            for _ in range(part.rounds):
                given = graph(values)
                found.append(tuple(torch.from_numpy(value.numpy()) for value in given))
                values = given[1:]
        return [tuple(tensor.shape) for tensor in part.example], _compared(found, part, part.example, "onnxruntime")

    return (partial(check, part, path) for _, part, path in made)


def _checks_of_programs(made: Sequence[tuple[Offer, Part, Path]], beside: Path) -> Iterator[Check]:
    """One process loads them all."""
    examples = [{"": part.example, **_resized(part)} for _, part, _ in made]
    requests = [(path, list(each.values()), part.rounds) for (_, part, path), each in zip(made, examples, strict=True)]
    found = loaded_afresh(requests, beside) if requests else []

    def check(part: Part, tried: Mapping[str, tuple[torch.Tensor, ...]], answers: list[Any]) -> tuple[Shapes, float]:
        error, taken = 0.0, set()
        for (size, example), answer in zip(tried.items(), answers, strict=True):
            if not isinstance(answer, str):
                error = max(error, _compared(answer, part, example, "The program"))
                taken.add(size)
            elif not size:
                raise NotExportable(f"It was written, but does not run where it is loaded: {answer[:300]}")
        any_size = {dim for dim, size in enumerate(("rows", "places")) if size in taken}
        free = [set(dims) if part.grows else any_size & set(dims) for dims in part.free]
        shapes = [tuple(None if dim in dims else size for dim, size in enumerate(each.shape)) for each, dims in zip(part.example, free, strict=True)]
        return shapes, error

    return (partial(check, part, tried, answers) for (_, part, _), tried, answers in zip(made, examples, found, strict=True))


def _resized(part: Part) -> dict[str, tuple[torch.Tensor, ...]]:
    """The example with one row more, with fewer places, and both, where the part may take them; a step's sizes change of themselves."""
    if part.rounds > 1:
        return {}
    rows, width = 0 in part.free[0], part.example[0].shape[1]
    more = tuple(torch.cat((each, each[:1])) for each in part.example)
    less = width - width // 3
    fewer = {"places": part.example, **({"both": more} if rows else {})} if 1 in part.free[0] and less < width else {}
    return {**({"rows": more} if rows else {}), **{name: tuple(each[:, :less] for each in example) for name, example in fewer.items()}}


def _compared(found: Sequence[tuple[torch.Tensor, ...]], part: Part, example: tuple[torch.Tensor, ...], who: str) -> float:
    """The largest difference of any number; where two tokens are equally probable, either may be chosen, and the comparison ends."""
    worst, inputs = 0.0, example
    for outputs in found:
        with torch.no_grad():
            given = (part.reference or part.module)(*inputs)
        expected = tuple(given) if isinstance(given, tuple) else (given,)
        chosen = True
        for one, other in zip(outputs, expected, strict=True):
            if one.is_floating_point():
                worst = max(worst, agreed(one, other, who))
            else:
                chosen = chosen and torch.equal(one, other)
            if not chosen:
                return worst
        inputs = expected[1:]
    return worst


def _named(part: Part, shapes: Shapes) -> list[str]:
    kinds = [str(tensor.dtype).removeprefix("torch.") for tensor in part.example]
    sizes = [", ".join("any" if size is None else str(size) for size in shape) for shape in shapes]
    return [f"{name} {kind} ({size})" for name, kind, size in zip(part.names, kinds, sizes, strict=True)]


# --- For the card ---------------------------------------------------------------------------------------------------------------------------


def _facts(finished: Finished) -> dict[str, Any]:
    text, model = finished.text, finished.model
    states = {(t.data_ptr(), t.shape): t for t in model.state_dict().values()}.values()
    return {
        "text": {"level": text.level, "licence": text.licence, "fingerprint": text.fingerprint, "types": text.vocabulary.size,
                 "classes": list(text.classes), "facts": {key: value for key, value in text.facts.items() if isinstance(value, str)}},
        "size": {"tensors": len(states), "bytes": sum(t.numel() * t.element_size() for t in states), "packed": len(matrices_in(model))},
        "torch": torch.__version__,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.export")
    parser.add_argument("--model", type=Path, required=True, help="folder of a finished model")
    parser.add_argument("--out", type=Path, required=True, help="the file; others of the same stem may come beside it")
    parser.add_argument("--format", choices=FORMATS, default="onnx")
    parser.add_argument("--price", type=json.loads, default={}, help="what the model cost to make: key -> figure, as JSON")
    parser.add_argument("--attended", action="store_true", help="end, and leave no file behind, when standard input ends")
    arguments = parser.parse_args(argv)
    if arguments.attended:
        threading.Thread(target=_end_with_input, name="input", daemon=True).start()
    try:
        answer = write(arguments.model, arguments.out, arguments.format, arguments.price)
    except KeyboardInterrupt:
        return ORPHANED
    except (NotExportable, PlanError, FinishedError, CorpusError, UnknownPlugin, BrokenPlugin, OSError, SafetensorError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


def _end_with_input() -> None:
    """Who asked is gone when our standard input ends."""
    sys.stdin.read()
    _thread.interrupt_main()


if __name__ == "__main__":
    sys.exit(main())
