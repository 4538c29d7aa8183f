"""How much quality a finished model loses when one layer alone is pruned or rounded, measured in a process of its own.

    python -m engines.runtime.sensitivity --store URL --run ID --mode bits|sparsity --levels 4,3 [--allow NATS] [--tokens N]

Each matrix in turn is changed, the model judged on the same first targets of the validation split, and the matrix put back. It answers with JSON
lines on standard output: {"doing", "done", "of"} as it goes, at the end {"sensitivity": path}, or {"error": sentence}. Nothing is stored before
all is measured. It ends when its standard input ends. Shapes: N held-out targets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines import sensitivity
from engines.api import CorpusError, Figure
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.runtime.failures import first_line
from engines.runtime.finished import Finished, FinishedError, load_finished
from engines.runtime.heldout import EVALUATION_BATCH
from engines.runtime.plan import PlanError, device_holding, threads_of
from engines.sensitivity import FLOAT_BITS, KIND, VERSION, Choice, Mode, SensitivityError
from engines.statistics import student_interval
from engines.store import commands, queries
from engines.store.database import Store, StoreError
from engines.telling import end_with_input, tell
from engines.toolbox.packed import KINDS, matrices_of
from engines.toolbox.pruning import TYPES, smallest, weights_of, zero
from engines.toolbox.quantisers import Scheme, quantise

SPLIT = "valid"
PIECES = 20
"""Of the held-out text, over which the interval of a difference is taken: neighbouring targets are no independent ones."""

Tell = Callable[..., None]
_REQUEST_IS_WRONG = (CorpusError, PlanError, UnknownPlugin, BrokenPlugin, FinishedError, SensitivityError, StoreError)


@dataclass(frozen=True)
class Judged:
    """The task's first figure, and what each target lost (N,), in nats; under a head without a distribution 1 minus its reciprocal rank."""

    figure: Figure
    loss_N: Tensor

    def against(self, dense: Judged) -> dict[str, Any]:
        """The figure, and the mean difference from the dense model on the same targets with its 95% interval over pieces of the text."""
        difference_N = self.loss_N - dense.loss_N
        facts: dict[str, Any] = {"figure": self.figure.value, "loss": float(difference_N.mean()), "low": None, "high": None}
        if len(difference_N) >= PIECES:
            found = student_interval([float(piece.mean()) for piece in torch.tensor_split(difference_N, PIECES)])
            facts |= {"low": found.low, "high": found.high}
        return facts


def judged(finished: Finished, tokens: int) -> Judged:
    """Judge the model as the engine does; the head is listened to meanwhile."""
    model: Any = finished.model
    normalised = bool(getattr(model.head, "normalised", True))
    heard: list[Tensor] = []
    name = "nll" if normalised else "rank"
    answer = getattr(model.head, name)

    def listen(hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        found: Tensor = answer(hidden_ND, target_N)
        heard.append(found.detach().double().cpu() if normalised else 1 - 1 / found.detach().double().cpu())
        return found

    setattr(model.head, name, listen)
    try:
        device = device_holding(model)
        figures = finished.task.evaluate(model, finished.text, SPLIT, tokens, EVALUATION_BATCH, device)
    finally:
        delattr(model.head, name)
    return Judged(figures[0], torch.cat(heard))


# --- Layers -------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """One matrix. names: all that it goes by, tied ones too; kinds: of the modules that hold it under these names."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    weight: nn.Parameter

    @property
    def name(self) -> str:
        return self.names[0]


def layers_of(model: nn.Module, mode: Mode) -> list[Layer]:
    """The matrices that the technique of a mode can change, each once."""
    if mode == "bits":
        found, _ = matrices_of(model, tuple(KINDS), ("*",), ())  # type: ignore[arg-type]
        types: Mapping[str, type[nn.Module]] = KINDS
    else:
        found, types = weights_of(model, tuple(TYPES), ("*",), ()), TYPES  # type: ignore[arg-type]
    held: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if any(parameter is each for each in found.values()):
            held.setdefault(id(parameter), []).append(name)

    def kind(name: str) -> str:
        owner = model.get_submodule(name.rpartition(".")[0])
        return next((each for each, made in types.items() if isinstance(owner, made)), "")

    once = {id(parameter): parameter for parameter in found.values()}
    layers = [Layer(tuple(held[each]), tuple(map(kind, held[each])), parameter) for each, parameter in once.items()]
    return [layer for layer in layers if all(layer.kinds)]


def changed(weight: Tensor, mode: Mode, level: float) -> Tensor:
    """The matrix at a level: its round(s n) smallest numbers zero, or rounded as `quantization/weight_only` rounds by default."""
    if mode == "bits":
        return quantise(weight, Scheme(int(level))).dense().view_as(weight).to(weight.dtype)
    made = nn.Parameter(weight.detach().clone(), requires_grad=False)
    zero({"": made}, smallest({"": made.abs()}, level, "layer"))
    return made.detach()


@contextmanager
def exchanged(values: Mapping[str, tuple[nn.Parameter, Tensor]]) -> Iterator[None]:
    """These weights inside, the old ones outside, bit for bit."""
    before = {name: weight.detach().clone() for name, (weight, _) in values.items()}
    with torch.no_grad():
        for weight, new in values.values():
            weight.copy_(new)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, (weight, _) in values.items():
                weight.copy_(before[name])


# --- Measuring ----------------------------------------------------------------------------------------------------------------------------


def measure(finished: Finished, mode: Mode, levels: Sequence[float], allowed: float, tokens: int, tell: Tell) -> dict[str, Any]:
    """What the file holds. Raises SensitivityError where no layer can be changed so."""
    started = time.perf_counter()
    layers = layers_of(finished.model, mode)
    if not layers:
        raise SensitivityError(
            f"No matrix of this model can be {'rounded' if mode == 'bits' else 'pruned'}: its layers are packed already, or none holds a float "
            "matrix. Measure the run of the variant that it was made from, before it was packed."
        )
    of = len(layers) * len(levels) + 3
    tell(doing="judging the model as it is", done=0, of=of)
    dense = judged(finished, tokens)
    rows, done = [], 1
    for place, layer in enumerate(layers):
        found = []
        for level in levels:
            tell(doing=f"{layer.name} at {level:g} {'bits' if mode == 'bits' else 'sparsity'}", done=done, of=of)
            new = changed(layer.weight, mode, level)
            error = float((new - layer.weight).double().norm() / layer.weight.double().norm().clamp(min=1e-300))
            with exchanged({layer.name: (layer.weight, new)}):
                found.append({"level": level, "error": error, **judged(finished, tokens).against(dense)})
            done += 1
        shape = list(layer.weight.shape)
        rows.append({"name": layer.name, "names": list(layer.names), "kinds": list(layer.kinds), "shape": shape, "place": place,
                     "weights": layer.weight.numel(), "levels": found})  # fmt: skip
    tell(doing="judging the suggested mix", done=done, of=of)
    suggestion = _suggested(finished, mode, layers, rows, allowed, tokens, dense)
    tell(doing="judging the model as it is again", done=done + 1, of=of)
    again = judged(finished, tokens).against(dense)
    unit = "nats" if getattr(getattr(finished.model, "head", None), "normalised", True) else "reciprocal rank"
    return {
        "version": VERSION, "mode": mode, "levels": list(levels), "split": SPLIT, "targets": len(dense.loss_N),
        "figure": {"key": dense.figure.key, "value": dense.figure.value, "unit": dense.figure.unit, "better": dense.figure.better},
        "loss": {"value": float(dense.loss_N.mean()), "unit": unit}, "again": again["loss"], "pieces": PIECES, "layers": rows,
        "suggestion": suggestion, "cost": {"seconds": time.perf_counter() - started}, "torch": torch.__version__,
    }  # fmt: skip


def _suggested(
    finished: Finished, mode: Mode, layers: Sequence[Layer], rows: Sequence[Mapping[str, Any]], allowed: float, tokens: int, dense: Judged
) -> dict[str, Any]:
    """The mix that saves most within what may be lost, as a recipe, what it was foretold to lose, and what it did lose when it was measured."""
    by_name = {layer.name: layer for layer in layers}
    saved_by = (lambda level: FLOAT_BITS - level) if mode == "bits" else (lambda level: level)
    choices = [Choice(row["name"], each["level"], row["weights"] * saved_by(each["level"]), each["loss"]) for row in rows for each in row["levels"]]
    level = sensitivity.mix(choices, allowed)
    if mode == "bits":
        recipe = sensitivity.recipe_of_bits(rows, level)
        level = {name: bits for name, bits in (recipe or {"layer_bits": {}})["layer_bits"].items() if name in by_name}
    else:
        recipe = sensitivity.recipe_of_sparsity(rows, level)
    foretold = sum(_loss(row, level[row["name"]]) for row in rows if row["name"] in level)
    weights, untouched = sum(row["weights"] for row in rows), FLOAT_BITS if mode == "bits" else 0.0
    saved = sum(row["weights"] * level.get(row["name"], untouched) for row in rows) / weights
    with exchanged({name: (by_name[name].weight, changed(by_name[name].weight, mode, each)) for name, each in level.items()}):
        together = judged(finished, tokens).against(dense)
    return {"allowed": allowed, "levels": level, "recipe": recipe, "foretold": foretold, "mean": saved, **together}


def _loss(row: Mapping[str, Any], level: float) -> float:
    return float(next(each["loss"] for each in row["levels"] if each["level"] == level))


# --- The run ------------------------------------------------------------------------------------------------------------------------------


def measure_run(store: Store, run_id: int, mode: Mode, levels: Sequence[float], allowed: float, tokens: int | None, tell: Tell) -> Path:
    """Measure the finished model of a run; the file is an artifact of it. Raises errors whose text is a sentence."""
    if reason := sensitivity.refusal(queries.run(store, run_id)):
        raise SensitivityError(reason)
    tell(doing="loading the finished model", done=0, of=0)
    folder = store.run_folder(run_id)
    finished = load_finished(folder / "model", "cpu")
    torch.set_num_threads(threads_of(finished.plan.get("threads")))
    if tokens is None:
        tokens = int(finished.plan["measure"]["held_out_tokens"])
    found = measure(finished, mode, levels, allowed, tokens, tell)
    path = folder / f"sensitivity-{mode}.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(found), encoding="utf-8")
    os.replace(fresh, path)
    commands.add_artifact(store, run_id, KIND, mode, path, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.sensitivity")
    parser.add_argument("--store", required=True)
    parser.add_argument("--run", type=int, required=True)
    parser.add_argument("--mode", choices=("bits", "sparsity"), required=True)
    parser.add_argument("--levels", required=True)
    parser.add_argument("--allow", type=float, default=sensitivity.ALLOWED)
    parser.add_argument("--tokens", type=int)
    arguments = parser.parse_args(argv)
    end_with_input()
    try:
        with Store.open(arguments.store) as store:
            levels = sensitivity.levels_of(arguments.mode, arguments.levels)
            tell(sensitivity=str(measure_run(store, arguments.run, arguments.mode, levels, arguments.allow, arguments.tokens, tell)))
    except _REQUEST_IS_WRONG as error:
        tell(error=str(error))
        return 2
    except RuntimeError as error:
        # What torch raises where memory runs out or a kernel does not exist on a device.
        tell(error=f"Run r{arguments.run} could not be judged: {first_line(error)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
