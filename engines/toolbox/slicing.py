"""Parts of a network whose units can be cut out: where each unit lies in the weights, masking it, and making the weights smaller.

A unit is written by some rows and read by some columns of matrices. With its reading columns at zero it is masked: it may still be computed,
nobody sees it. Cutting rows and columns out of the weights gives the same numbers with smaller products. Parameters stay the objects they are
(`parameter.data` becomes smaller), so that optimisers, clipping and hooks go on holding them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from engines.toolbox.assembly import LanguageModel, Layer
from engines.toolbox.inputs import Convolution

Kind = Literal["neurons", "channels", "heads", "recurrent"]

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Slab:
    """Where the units of a part lie in one parameter: its dimension `dim` is (blocks, units, width)."""

    module: str
    own: str
    dim: int
    reads: bool = False
    width: int = 1
    blocks: int = 1

    def of(self, model: nn.Module) -> Tensor:
        """A parameter, or a buffer (the statistics of a norm)."""
        found: Tensor = getattr(model.get_submodule(self.module), self.own)
        return found

    def index(self, units: int, chosen: Tensor) -> Tensor:
        """Places of the chosen units along `dim`."""
        every = torch.arange(self.blocks * units * self.width, device=chosen.device).view(self.blocks, units, self.width)
        return every[:, chosen].flatten()


@dataclass(frozen=True)
class Part:
    """Units of one kind that stand beside each other. tap: the module whose first input (or first output) holds the units' values, in order.

    fields: (module, attribute, numbers a unit) of what modules know of their own size. columns: numbers a unit in the largest product.
    """

    name: str
    kind: Kind
    units: int
    slabs: tuple[Slab, ...]
    tap: tuple[str, Literal["input", "output"]]
    fields: tuple[tuple[str, str, int], ...] = ()
    columns: int = 1


@dataclass
class Found:
    """The parts of a model, and why others are none: (kind, sentence)."""

    parts: list[Part] = field(default_factory=list)
    reasons: list[tuple[Kind, str]] = field(default_factory=list)


@torch.no_grad()
def mask(model: nn.Module, part: Part, removed: Tensor) -> None:
    """Nobody reads these units any more. removed: their numbers, int64."""
    for slab in part.slabs:
        if slab.reads:
            weight = slab.of(model)
            weight.index_fill_(slab.dim, slab.index(part.units, removed.to(weight.device)), 0.0)


@torch.no_grad()
def narrow(model: nn.Module, part: Part, kept: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Leave these units alone in the weights, in their order, and in what the optimiser remembers of each weight. kept: their numbers, int64."""
    for slab in part.slabs:
        weight = slab.of(model)
        index = slab.index(part.units, kept.to(weight.device))
        memory = {} if optimizer is None else optimizer.state.get(weight, {})
        for key, value in memory.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                memory[key] = value.index_select(slab.dim, index)
        weight.grad = None
        weight.data = weight.data.index_select(slab.dim, index)
    for name in {slab.module for slab in part.slabs}:
        _resize(model.get_submodule(name))
    for name, attribute, numbers in part.fields:
        setattr(model.get_submodule(name), attribute, numbers * len(kept))


def _resize(module: nn.Module) -> None:
    """Let a module know the shapes of its weights."""
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, Convolution):
        module.out_channels, module.in_channels = module.weight.shape[:2]
    elif isinstance(module, NORMS):
        module.num_features = len(module.weight) if module.running_mean is None else len(module.running_mean)
    elif isinstance(module, nn.LSTM):
        module.input_size, module.hidden_size = (module.get_parameter(f"weight_{own}_l0").shape[1] for own in ("ih", "hh"))
        module.flatten_parameters()


def removable_layers(model: nn.Module) -> list[int]:
    """Numbers of the layers without which x passes on as it is: those that add it back around all they do."""
    if not isinstance(model, LanguageModel):
        return []
    return [
        i
        for i, layer in enumerate(model.layers)
        if isinstance(layer, Layer) and layer.residual and (layer.feedforward is None or layer.feedforward_residual)
    ]


def remove_layers(model: Any, removed: Sequence[int], optimizer: torch.optim.Optimizer | None = None) -> None:
    """Take whole layers out; those that stay are numbered anew, and the optimiser forgets what is gone."""
    gone = {id(p) for i in removed for p in model.layers[i].parameters()}
    model.layers = nn.ModuleList(layer for i, layer in enumerate(model.layers) if i not in removed)
    gone -= {id(p) for p in model.parameters()}
    for group in [] if optimizer is None else optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) in gone:
                optimizer.state.pop(parameter, None)  # type: ignore[union-attr]
        group["params"] = [p for p in group["params"] if id(p) not in gone]
