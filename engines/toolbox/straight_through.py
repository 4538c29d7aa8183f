"""Masks that are learned: a module computes with its weight times a mask of scores, and gradients pass straight through the mask's steps.

The scores are a parameter of the module, named as the weight with "_score" behind it, as long as the weight is gated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engines.toolbox.substitution import release, substitute, substitutions

LEAST = 0.005
"""Share of a matrix that a soft threshold keeps at least."""


class Gated(torch.autograd.Function):
    """W' = W * M; dL/dW = dL/dW' * M; dL/dS = dL/dW' * W, as if M were S itself."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, score: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(weight, mask)
        return weight * mask

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        weight, mask = ctx.saved_tensors
        return gradients[0] * mask, gradients[0] * weight, None


class Gate:
    """One weight's mask. A class, not a closure, so that modules carrying it can be copied."""

    def __init__(self, threshold: Literal["hard", "soft"]) -> None:
        self.threshold, self.name = threshold, ""
        self.kept, self.tau = 1.0, 0.0

    def mask(self, score: Tensor) -> Tensor:
        """hard: the round(kept n) largest scores; soft: all with sigmoid(score) > tau, and LEAST of the matrix at least. Bool."""
        keep = torch.zeros_like(score, dtype=torch.bool)
        share = self.kept if self.threshold == "hard" else LEAST
        if share >= 1:
            return ~keep
        flat = score.detach().flatten()
        largest = keep.view(-1).scatter_(0, flat.topk(round(share * flat.numel()), sorted=False).indices, True).view_as(score)
        return largest if self.threshold == "hard" else largest | (score.detach().sigmoid() > self.tau)

    def __call__(self, module: nn.Module, weight: Tensor) -> Tensor:
        score = module.get_parameter(f"{self.name}_score")
        return Gated.apply(weight, score, self.mask(score).to(weight.dtype))


def gated(module: nn.Module, name: str, gate: Gate) -> None:
    """Let the child that holds the weight of this full name compute with it masked; its scores are zero."""
    path, _, gate.name = name.rpartition(".")
    child = module.get_submodule(path)
    child.register_parameter(f"{gate.name}_score", nn.Parameter(torch.zeros_like(child.get_parameter(gate.name))))
    substitute(child, [gate.name], gate)


def gates(module: nn.Module) -> Iterator[tuple[str, Gate, nn.Parameter]]:
    """(full name of the weight, its gate, its scores) of every gated weight."""
    for path, child in module.named_modules():
        for change in substitutions(child):
            if isinstance(change, Gate):
                yield f"{path}.{change.name}".lstrip("."), change, child.get_parameter(f"{change.name}_score")


@torch.no_grad()
def ungate(module: nn.Module) -> dict[str, Tensor]:
    """Apply each mask to its weight for good, drop the scores; which weights are gone, by full name."""
    removed = {}
    for name, gate, score in list(gates(module)):
        child = module.get_submodule(name.rpartition(".")[0])
        removed[name] = ~gate.mask(score)
        child.get_parameter(gate.name).masked_fill_(removed[name], 0.0)
        release(child, gate)
        delattr(child, f"{gate.name}_score")
    return removed
