"""The table of a model as it is edited: every module with its shapes, parameters and operations, without building its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from engines.runtime.flops import Work, counting
from engines.runtime.sketch import Sketch, assemble, sketch

LARGEST_REAL = 50_000_000
"""Parameters of a model that is built with weights where the shapes alone do not tell what it does."""


def shapes(plan: Mapping[str, Any]) -> dict[str, Any]:
    """{"rows": [{name, type, shape_in, shape_out, parameters, flops_per_token}], "parameters", "trainable", "weights_mib", "flops_per_token",
    "uncounted", "vocabulary", "vocabulary_assumed"} of the model of a plan before any technique.

    Shapes are those of one row of the training length. flops_per_token: scoring one token (one multiply-add is two operations), absent where
    it is not known. uncounted: operators without a formula, which are in no figure. Parameters that modules share are counted once in the
    totals and with every module that holds them.
    """
    built = sketch(plan)
    length = int(plan["training"]["sequence"])
    work: Work | None
    try:
        rows, work = _trace(built, length)
    except NotImplementedError:
        # A part whose operations depend on values (an adaptive softmax on how frequent the words are): it is run for real if it is not huge.
        rows, work = _trace(assemble(plan, "cpu"), length) if _size(built.model.parameters()) <= LARGEST_REAL else (_bare_rows(built.model), None)
    parameters = list(built.model.parameters())
    answer: dict[str, Any] = {
        "rows": rows,
        "parameters": _size(parameters),
        "trainable": _size(p for p in parameters if p.requires_grad),
        "weights_mib": sum(p.numel() * p.element_size() for p in parameters) / 2**20,
        "uncounted": sorted(work.uncounted) if work else ["the whole model: its operations depend on values"],
        "vocabulary": built.text.vocabulary.size,
        "vocabulary_assumed": built.assumed,
    }
    if work:
        answer["flops_per_token"] = work.flops / length
    return answer


def matches(plan: Mapping[str, Any], pattern: str = "*", type: str = "") -> dict[str, Any]:
    """{"names": full names of the parameters that `pattern` matches (* matches anything) in modules of `type` (none: all), "of": all}."""
    names, total = [], 0
    for prefix, module in sketch(plan).model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}".lstrip(".")
            total += 1
            if fnmatchcase(full, pattern) and (not type or type in {kind.__name__ for kind in module.__class__.__mro__}):
                names.append(full)
    return {"names": names, "of": total}


def _trace(built: Sketch, length: int) -> tuple[list[dict[str, Any]], Work]:
    """Score one row of text; what each module was given, gave and did."""
    model: Any = built.model.eval()
    device = next(model.parameters()).device
    share_V = torch.as_tensor(built.text.vocabulary.counts, dtype=torch.float64)
    # Words as frequent as in the text, for parts whose work depends on it.
    draw = torch.Generator().manual_seed(0)
    ids_1T = torch.multinomial(share_V, length + 1, replacement=True, generator=draw)[None].to(device)
    rows: list[dict[str, Any]] = []
    with torch.no_grad(), counting() as so_far:
        hooks = [hook for name, module in _shown(model) for hook in _watch(name, module, rows, so_far, length)]
        x_BTD, _, _ = model.hidden(ids_1T[:, :-1], None)
        for hook in hooks:
            hook.remove()
        before = so_far().flops
        model.head.nll(x_BTD.flatten(0, 1), ids_1T[:, 1:].flatten())
        work = so_far()
    head = _row("head", model.head)
    head |= {"shape_in": [length, x_BTD.shape[-1]], "shape_out": [length, built.text.vocabulary.size]}
    head["flops_per_token"] = (work.flops - before) / length
    order = {name: i for i, (name, _) in enumerate(_shown(model))}
    return [*sorted(rows, key=lambda row: order[row["name"]]), head], work


def _shown(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules worth a row: those with parameters, but the whole, the head (which is not called) and plain lists."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if name and name.split(".")[0] != "head" and not isinstance(module, nn.ModuleList) and any(True for _ in module.parameters())
    ]


def _watch(name: str, module: nn.Module, rows: list[dict[str, Any]], so_far: Callable[[], Work], length: int) -> list[Any]:
    begun: list[int] = []

    def enter(module: nn.Module, args: Any) -> None:
        begun.append(so_far().flops)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        own = so_far().flops - begun.pop()
        rows.append(_row(name, module) | {"shape_in": _shape(args), "shape_out": _shape(output), "flops_per_token": own / length})

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]


def _row(name: str, module: nn.Module) -> dict[str, Any]:
    return {"name": name, "type": type(module).__name__, "parameters": _size(module.parameters())}


def _bare_rows(model: Any) -> list[dict[str, Any]]:
    """Without shapes and operations, where the model can neither be traced nor be built."""
    return [_row(name, module) | {"shape_in": None, "shape_out": None} for name, module in (*_shown(model), ("head", model.head))]


def _shape(value: Any) -> list[int] | None:
    """Shape of the first tensor in nested inputs or outputs."""
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return next((shape for item in inner if (shape := _shape(item)) is not None), None)


def _size(parameters: Any) -> int:
    return sum(p.numel() for p in parameters)
