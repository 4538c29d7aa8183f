"""Let a module compute with other weights than those it holds: masked, dropped, quantised. Names and state_dict stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

Change = Callable[[nn.Module, torch.Tensor], torch.Tensor]
"""(module, raw weight) -> the weight that this call computes with."""


def substitute(module: nn.Module, names: Sequence[str], change: Change) -> None:
    """Around each call of `module`, its own parameters `names` are exchanged for change(module, parameter).

    Gradients flow through `change` to the parameter, which stays the leaf that the optimiser moves. Several substitutions on one weight
    nest: a later one gets what an earlier one made. `change` must be copyable, since copying the module copies it.
    """
    exchange = _Exchange(tuple(names), change)
    module.register_forward_pre_hook(exchange.enter)
    # always_call: an exception inside the call must not leave the exchanged weight behind.
    module.register_forward_hook(exchange.leave, always_call=True, prepend=True)


class _Exchange:
    """The two hooks of one substitution. They get the module at each call, so a copied module exchanges its own weights."""

    def __init__(self, names: tuple[str, ...], change: Change) -> None:
        self.names, self.change = names, change
        self.held: list[dict[str, Any]] = []

    def enter(self, module: nn.Module, args: Any) -> None:
        raw = {name: module._parameters[name] for name in self.names}
        self.held.append(raw)
        self._put(module, {name: self.change(module, weight) for name, weight in raw.items() if weight is not None})

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.held:
            self._put(module, self.held.pop())

    def _put(self, module: nn.Module, weights: dict[str, Any]) -> None:
        # The dictionary itself, since nn.Module.__setattr__ takes only Parameters for the name of one.
        module._parameters.update(weights)
        if isinstance(module, nn.RNNBase):
            # Recurrent modules compute with this list, which they fill when a weight is assigned.
            module._flat_weights = [module._parameters.get(name) for name in module._flat_weights_names]


def substitutions(module: nn.Module) -> list[Change]:
    """The changes through which the module's own weights pass at each call, in the order in which they were made."""
    return [exchange.change for exchange in map(_exchange_of, module._forward_pre_hooks.values()) if exchange]


def release(module: nn.Module, change: Change) -> None:
    """The module computes without this change again. Found by its hooks, so that it works in a copy too."""
    for hooks in (module._forward_pre_hooks, module._forward_hooks):
        for key, hook in list(hooks.items()):
            exchange = _exchange_of(hook)
            if exchange is not None and exchange.change is change:
                del hooks[key]
                module._forward_hooks_always_called.pop(key, None)


def _exchange_of(hook: Any) -> _Exchange | None:
    owner = getattr(hook, "__self__", None)
    return owner if isinstance(owner, _Exchange) else None
