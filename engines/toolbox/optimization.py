"""What optimisers share: which tensors they move, in which groups, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that training moves; a tied one stands here once, as `nn.Module.parameters` yields it."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Parameter groups for decoupled decay: matrices decay, vectors (biases, gains of norms) do not.

    Source: the usual split since Loshchilov and Hutter (2019); a bias has no scale that decay could keep small.
    """
    parameters = list(parameters)
    groups: list[dict[str, object]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def scope(name: str, parameters: Iterable[nn.Parameter], memory: int) -> str:
    """One sentence: how much an optimiser moves and what it keeps in memory (`memory` numbers a weight)."""
    parameters = list(parameters)
    numbers = sum(p.numel() for p in parameters)
    kept = sum(p.numel() * p.element_size() for p in parameters) * memory
    return f"{name} moves {numbers:,} parameters in {len(parameters)} tensors and keeps {kept / 2**20:.1f} MiB of its own."


def gradient_values(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    """The numbers of all gradients, as tensors that may be changed in place; of sparse ones those of the rows that are there.

    A sparse gradient is coalesced where it stands: a row that occurs twice in a batch is one row with the sum, as in a dense gradient.
    """
    values = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            values.append(parameter.grad.values())
        else:
            values.append(parameter.grad)
    return values


def dense_only(optimizer: torch.optim.Optimizer, module: nn.Module, why: str) -> torch.optim.Optimizer:
    """The optimiser, which refuses sparse row gradients at its first update with a sentence that begins with `why`. Raises ValueError there."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}

    def refuse(optimizer: torch.optim.Optimizer, *_: object) -> None:
        handle.remove()
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            if parameter.grad is not None and parameter.grad.is_sparse:
                name = names.get(id(parameter), "a parameter")
                raise ValueError(
                    f"{why}, and {name} hands out sparse ones: use optimization/sparse_adam or plain optimization/sgd (no momentum, no weight "
                    "decay), or set sparse = false on the embedding and the head."
                )

    handle = optimizer.register_step_pre_hook(refuse)
    return optimizer


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """max |a - b| as a Python number; 0 for empty tensors, infinite where the shapes differ or one is not a number."""
    if a.shape != b.shape:
        return float("inf")
    if not a.numel():
        return 0.0
    difference = float((a.detach().double() - b.detach().double()).abs().max())
    return difference if difference == difference else float("inf")
