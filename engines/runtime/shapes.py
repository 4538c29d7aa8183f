"""The table of a model as it is edited: every module with its shapes, parameters and operations, without building its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch

from engines.api import Technique
from engines.catalogue import BrokenPlugin, UnknownPlugin
from engines.runtime import work
from engines.runtime.flops import Work
from engines.runtime.plan import PlanError, plugin
from engines.runtime.sketch import Sketch, assemble, sketch
from engines.toolbox.batches import Batch

LARGEST_REAL = 50_000_000
"""Parameters of a model that is built with weights where the shapes alone do not tell what it does."""


def shapes(plan: Mapping[str, Any]) -> dict[str, Any]:
    """{"rows": [{name, type, shape_in, shape_out, parameters, flops_per_token, bytes_per_token, executed_flops_per_token}], "parameters",
    "trainable", "weights_mib", "flops_per_token", "bytes_per_token", "executed_flops_per_token", "uncounted", "vocabulary",
    "vocabulary_assumed", "matches", "fitted"} of the model of a plan before any technique.

    Shapes are those of one row of the training length. flops_per_token: scoring one token (one multiply-add is two operations).
    executed_flops_per_token: without what kernels skip, where that is less. bytes_per_token: moved by scoring one token in the training batch,
    by the model of `traffic`. All are absent where not known. uncounted: operators without a formula, which are in no count of operations.
    fitted: the model takes in the training text at once, and what it is made of is known only then.
    Parameters that modules share are counted once in the totals and with every module that holds them.
    """
    built = sketch(plan)
    length, batch = int(plan["training"]["sequence"]), int(plan["training"]["batch"])
    done: Work | None
    try:
        rows, done, targets = _trace(built, batch, length)
    except NotImplementedError:
        # A part whose operations depend on values (an adaptive softmax on how frequent the words are): it is run for real if it is not huge.
        if _size(built.model.parameters()) <= LARGEST_REAL:
            rows, done, targets = _trace(assemble(plan, "cpu"), batch, length)
        else:
            rows, done, targets = _bare_rows(built.model), None, length
    parameters = list(built.model.parameters())
    answer: dict[str, Any] = {
        "rows": rows,
        "parameters": _size(parameters),
        "trainable": _size(p for p in parameters if p.requires_grad),
        "weights_mib": sum(p.numel() * p.element_size() for p in parameters) / 2**20,
        "uncounted": sorted(done.uncounted) if done else ["the whole model: its operations depend on values"],
        "vocabulary": built.text.vocabulary.size,
        "vocabulary_assumed": built.assumed,
        "matches": matches(plan, built),
        "fitted": callable(getattr(built.model, "fit", None)),
    }
    return answer | (_per_token(done, targets) if done else {})


def matches(plan: Mapping[str, Any], built: Sketch | None = None) -> list[dict[str, Any]]:
    """[{"technique": its place in the recipe, "id", "names", "weights", "left"}] of the techniques that go by types and patterns: what each finds
    in the model as it is built, before any technique has changed it. weights: numbers in what is found; left: sentences about what is left
    alone. built: that of the plan, where the caller has it."""
    built = sketch(plan) if built is None else built
    held = dict(built.model.named_parameters(remove_duplicate=False))
    text = [] if any(p.is_meta for p in held.values()) else [Batch(*_drawn(built, 2, int(plan["training"]["sequence"])))]
    answer = []
    for place, choice in enumerate(plan["techniques"]):
        try:
            technique = cast(Technique, plugin(choice))
        except (PlanError, UnknownPlugin, BrokenPlugin):
            continue  # what is wrong with a choice is told by `validate`
        try:
            found = technique.matches(built.model, text)
        except (RuntimeError, ValueError, TypeError, IndexError):
            found = technique.matches(built.model)  # a model that drawn text does not suit
        if found is not None:
            inside = {id(p): p for name in found.names for full, p in held.items() if full == name or full.startswith(f"{name}.")}
            left = [*found.left, *([found.refusal] if found.refusal else [])]
            answer.append({"technique": place, "id": choice["id"], "names": list(found.names), "weights": _size(inside.values()), "left": left})
    return answer


def _trace(built: Sketch, batch: int, length: int) -> tuple[list[dict[str, Any]], Work, int]:
    """Score one row of text; what each module was given, gave and did, and the targets in the row. Bytes are those of a row among
    `batch` rows, which share the weights: what a second row adds is measured."""
    built.model.eval()
    one, whole, targets = _scored(built, 1, length)
    two, whole_of_two, _ = _scored(built, 2, length) if batch > 1 else (one, whole, targets)
    more = {row.name: row.work for row in two}
    table, head = [], built.model.head
    for row in one:
        shape_in, shape_out = row.shape_in, row.shape_out
        if row.name == "head":
            shape_in, shape_out = [targets, *(shape_in or [])[2:]], [targets, getattr(head, "vocabulary_size", built.text.vocabulary.size)]
        own = _among(batch, row.work, more.get(row.name, row.work))
        table.append(
            {"name": row.name, "type": row.type, "parameters": row.parameters, "shape_in": shape_in, "shape_out": shape_out}
            | _per_token(own, targets)
        )
    return table, _among(batch, whole, whole_of_two), targets


def _scored(built: Sketch, rows: int, length: int) -> tuple[list[work.ModuleWork], Work, int]:
    inputs, targets = _drawn(built, rows, length)
    return *work.of_scoring(built.model, inputs, targets), targets.numel()


def _drawn(built: Sketch, rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(inputs, targets) as the task reads them, of words as frequent as in the text, for parts whose work depends on it."""
    share_V = torch.as_tensor(built.text.vocabulary.counts, dtype=torch.float64)
    draw = torch.Generator().manual_seed(0)
    device = next((parameter.device for parameter in built.model.parameters()), torch.device("cpu"))
    ids = torch.multinomial(share_V, rows * length + 1, replacement=True, generator=draw).numpy()
    inputs, targets = built.task.held_out(replace(built.text, splits=dict.fromkeys(built.text.splits, ids)), rows, length)
    return inputs.to(device), targets.to(device)


def _among(batch: int, one: Work, two: Work) -> Work:
    """The work of one row, its bytes shared with the rows of its batch: bytes grow linearly with the rows."""
    return replace(one, bytes=round((one.bytes + (batch - 1) * (two.bytes - one.bytes)) / batch))


def _per_token(done: Work, targets: int) -> dict[str, float]:
    found = {"flops_per_token": done.flops / targets, "bytes_per_token": done.bytes / targets}
    return found | ({"executed_flops_per_token": done.executed_flops / targets} if done.executed_flops != done.flops else {})


def _bare_rows(model: Any) -> list[dict[str, Any]]:
    """Without shapes and operations, where the model can neither be traced nor be built."""
    bare = [work.module_row(name, module) for name, module in (*work.shown(model), ("head", model.head))]
    return [{"name": row.name, "type": row.type, "parameters": row.parameters, "shape_in": None, "shape_out": None} for row in bare]


def _size(parameters: Any) -> int:
    return sum(p.numel() for p in parameters)
