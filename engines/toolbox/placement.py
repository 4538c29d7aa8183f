"""Parts of a model on devices of their own: what enters a part is carried to its weights, what leaves it is carried back, and all is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MethodType
from typing import Any

import torch
from torch import nn

from engines.toolbox.batches import map_tensors
from engines.toolbox.precise import at_least_float32

ENTRANCES = ("forward", "loss", "nll", "log_prob", "topk", "rank")
"""Methods through which a model's parts are called; heads have several."""


@dataclass
class Ledger:
    """Transfers of training since the last `clear`: tensors and bytes, those of gradients on their way back included."""

    transfers: int = 0
    bytes: int = 0

    def add(self, tensor: torch.Tensor) -> None:
        self.transfers += 1
        self.bytes += tensor.numel() * tensor.element_size()

    def clear(self) -> None:
        self.transfers = self.bytes = 0


@dataclass
class Border:
    """What a placed module carries with it."""

    ledger: Ledger
    kept: dict[str, MethodType] = field(default_factory=dict)
    """The methods as they were."""
    inside: bool = False
    """A method of the part calls another one of it: nothing crosses."""


def outermost(module: nn.Module, pattern: str) -> list[str]:
    """Names of children that match (* matches anything), without those that lie inside another match."""
    names: list[str] = []
    for name, _ in module.named_modules():
        if name and fnmatchcase(name, pattern) and not any(name.startswith(f"{found}.") for found in names):
            names.append(name)
    # A list of layers is never called itself: its members are the parts.
    return [own for name in names for own in _called(name, module.get_submodule(name))]


def _called(name: str, child: nn.Module) -> Iterator[str]:
    if isinstance(child, nn.ModuleList | nn.ModuleDict):
        for own, grandchild in child.named_children():
            yield from _called(f"{name}.{own}", grandchild)
    else:
        yield name


def torn(module: nn.Module, placed: Mapping[str, torch.device], home: torch.device) -> list[tuple[str, str]]:
    """Pairs of parameter names that are one tensor (tied) but would lie on two devices."""
    first: dict[int, tuple[str, torch.device]] = {}
    pairs = []
    for name, parameter in module.named_parameters(remove_duplicate=False):
        device = next((device for part, device in placed.items() if name.startswith(f"{part}.")), home)
        other, there = first.setdefault(id(parameter), (name, device))
        if there != device:
            pairs.append((other, name))
    return pairs


def place(part: nn.Module, ledger: Ledger) -> None:
    """From now on the part's entrances carry their arguments to wherever its weights are and its results to where the arguments came from.

    The weights are not moved here, and may be moved at any time. Methods are replaced on the instance by bound methods, so names of weights
    stay and a copied module carries to its own weights.
    """
    border = part._border = Border(ledger)  # type: ignore[assignment]
    for name in ENTRANCES:
        if callable(getattr(part, name, None)):
            border.kept[name] = getattr(part, name)
            setattr(part, name, MethodType(_entrance(name), part))


def _entrance(name: str) -> Any:
    def enter(part: Any, *args: Any, **kwargs: Any) -> Any:
        border: Border = part._border
        there, here = device_of(part), _device_among((args, kwargs))
        if border.inside or here is None or there is None or there == here:
            return border.kept[name](*args, **kwargs)
        carried, named = carry((args, kwargs), there, border.ledger)
        if there.type != here.type and torch.is_autocast_enabled(here.type):
            # Autocast is per kind of device: over there the weights are what they are, and so must the input be.
            carried, named = map_tensors(at_least_float32, (carried, named))
        border.inside = True
        try:
            result = border.kept[name](*carried, **named)
        finally:
            border.inside = False
        return carry(result, here, border.ledger)

    return enter


def device_of(part: nn.Module) -> torch.device | None:
    """Where a part's first parameter or buffer lies; None where it has none."""
    tensor = next(iter((*part.parameters(), *part.buffers())), None)
    return None if tensor is None else tensor.device


def ledger_of(module: nn.Module) -> Ledger | None:
    """The ledger of the parts that were placed in this model; None where none was."""
    borders = (getattr(child, "_border", None) for child in module.modules())
    return next((border.ledger for border in borders if isinstance(border, Border)), None)


def carry(nest: Any, device: torch.device, ledger: Ledger) -> Any:
    """The same nesting with every tensor on `device`; what moved, and the gradient that will move back, goes into the ledger."""

    def move(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.device == device:
            return tensor
        moved = tensor.to(device)
        if torch.is_grad_enabled():  # evaluation crosses too, but is not training
            ledger.add(tensor)
        if moved.requires_grad:
            moved.register_hook(ledger.add)
        return moved

    return map_tensors(move, nest)


def _device_among(nest: Any) -> torch.device | None:
    found: list[torch.device] = []
    map_tensors(lambda tensor: found.append(tensor.device), nest)
    return found[0] if found else None
