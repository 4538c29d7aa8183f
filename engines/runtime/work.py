"""Work of a model, module by module, while it scores text: operations and bytes moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engines.runtime.flops import NOTHING, Work, counting
from engines.toolbox.heads import judge


@dataclass
class ModuleWork:
    """What one module was given, gave and did, the modules inside it included. Shapes are those of the last call."""

    name: str
    type: str
    parameters: int
    work: Work = NOTHING
    calls: int = 0
    shape_in: list[int] | None = None
    shape_out: list[int] | None = None


def of_scoring(model: Any, inputs_BT: torch.Tensor, targets_BT: torch.Tensor) -> tuple[list[ModuleWork], Work]:
    """Score a batch exactly, as evaluation does; the modules in the order of the model with "head" last, and the work of the whole.

    Raises NotImplementedError where the model is on the meta device and what it does depends on values.
    """
    rows = {name: module_row(name, module) for name, module in shown(model)}
    with torch.no_grad(), counting() as so_far:
        hooks = [hook for name, module in shown(model) for hook in _watch(module, rows[name], so_far)]
        try:
            x_BTD, _, _ = model.hidden(inputs_BT, None)
        finally:
            for hook in hooks:
                hook.remove()
        before = so_far()
        judge(model.head, x_BTD.flatten(0, 1), targets_BT.flatten())
        whole = so_far()
    head = module_row("head", model.head)
    head.work, head.calls, head.shape_in = whole - before, 1, list(x_BTD.shape)
    return [*(row for row in rows.values() if row.calls), head], whole


def shown(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules worth a row: those with parameters, but the whole, the head (which is not called) and plain lists."""
    return [
        (name, module)
        for name, module in model.named_modules()
        if name and name.split(".")[0] != "head" and not isinstance(module, nn.ModuleList) and any(True for _ in module.parameters())
    ]


def module_row(name: str, module: nn.Module) -> ModuleWork:
    """A module that has done nothing yet."""
    return ModuleWork(name, type(module).__name__, sum(p.numel() for p in module.parameters()))


def facts(rows: list[ModuleWork], tokens: int) -> list[dict[str, Any]]:
    """[{"name", "type", "parameters", "forward_flops", "forward_bytes"}] per token; "forward_executed_flops" where it differs."""
    found = []
    for row in rows:
        fact: dict[str, Any] = {"name": row.name, "type": row.type, "parameters": row.parameters} | per_token(row.work, tokens, "forward_")
        found.append(fact)
    return found


def per_token(work: Work, tokens: int, prefix: str) -> dict[str, float]:
    """{prefix + "flops", prefix + "bytes"}, and prefix + "executed_flops" where kernels skip some."""
    found = {f"{prefix}flops": work.flops / tokens, f"{prefix}bytes": work.bytes / tokens}
    return found | ({f"{prefix}executed_flops": work.executed_flops / tokens} if work.executed_flops != work.flops else {})


def _watch(module: nn.Module, row: ModuleWork, so_far: Callable[[], Work]) -> list[Any]:
    """Hooks that add the work of each call to the row."""
    begun: list[Work] = []

    def enter(module: nn.Module, args: Any) -> None:
        begun.append(so_far())

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        row.work += so_far() - begun.pop()
        row.calls += 1
        row.shape_in, row.shape_out = _shape(args), _shape(output)

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]


def _shape(value: Any) -> list[int] | None:
    """Shape of the first tensor in nested inputs or outputs."""
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return next((shape for item in inner if (shape := _shape(item)) is not None), None)
