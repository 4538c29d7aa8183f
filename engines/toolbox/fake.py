"""Fake quantisation: rounding that training sees, with gradients that pass straight through it.

Symbols: s scale, z zero, codes 0 ... top. Shapes: E outputs, D inputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from engines.toolbox.inputs import first_input
from engines.toolbox.quantisers import Scheme, grid, scales_of, spread


class _StraightThrough(torch.autograd.Function):
    """x^ = s (clamp(round(x / s) + z, 0, top) - z); backward: the gradient where the code was not clamped, else 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
        code = torch.round(x * (1 / scale)) + zero
        ctx.save_for_backward((code >= 0) & (code <= top))
        return ((code.clamp(0, top) - zero) * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor | None, None, None, None]:
        (inside,) = ctx.saved_tensors
        return grad[0] * inside, None, None, None


def fake_quantise(x: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    """x rounded to its grid; scale and zero broadcast to x."""
    found: Tensor = _StraightThrough.apply(x, scale, zero, top)
    return found


class FakeWeight:
    """Change for `engines.toolbox.substitution`: the weight on the grid that it would be stored on now, while memory["rounding"] is set.

    memory: a technique's state; a plain dict, so that a module that carries this can be copied.
    """

    def __init__(self, scheme: Scheme, memory: dict[str, Any]) -> None:
        self.scheme, self.memory = scheme, memory

    def __call__(self, module: nn.Module, weight: Tensor) -> Tensor:
        if not self.memory.get("rounding"):
            return weight
        rows_ED = weight.flatten(1)
        scale, zero = (spread(part, rows_ED.shape[1], self.scheme) for part in scales_of(rows_ED, self.scheme))
        return fake_quantise(rows_ED, scale, zero, self.scheme.top).view_as(weight)


class FakeInput:
    """Forward pre-hook, with keywords: the input on a grid whose range is an average over training, until memory["frozen"] is set.

    Ranges are two numbers each, by name in memory["ranges"], so that a resumed run goes on with them.
    """

    def __init__(self, name: str, scheme: Scheme, momentum: float, memory: dict[str, Any]) -> None:
        self.name, self.scheme, self.momentum, self.memory = name, scheme, momentum, memory

    def __call__(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        x = first_input(args, named)
        if x is None:
            return args, named
        ranges: dict[str, Any] = self.memory.setdefault("ranges", {})
        if module.training and not self.memory.get("frozen"):
            fresh = torch.stack([x.detach().amin(), x.detach().amax()]).float()
            old = ranges.get(self.name)
            ranges[self.name] = fresh if old is None else old.to(fresh.device).lerp(fresh, self.momentum)
        if self.name not in ranges or not self.memory.get("rounding"):
            return args, named
        low, high = ranges[self.name].to(x.device)
        scale, zero = grid(low, high, self.scheme)
        rounded = fake_quantise(x, scale, zero, self.scheme.top)
        return ((rounded, *args[1:]), named) if args else (args, {**named, "input": rounded})
