"""Parts of a module of one's own that nothing but its calls tells: two layers, called one after the other, of which the second alone reads what the
first gives, each unit by itself.

That is tried, not read from code: on a copy, half of the units are masked where they are read, then cut out of both layers. Only where that
gives what the masked copy gives, to rounding, is it a part.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from engines.toolbox.assembly import LanguageModel
from engines.toolbox.folding import equal, exactly, outputs
from engines.toolbox.parts import between, cuttable
from engines.toolbox.slicing import NORMS, Found, Part, mask, narrow

LARGEST = 20_000_000
"""Parameters of a model that copies are made of for each try."""
NEAREST = 3
"""Layers before the one that reads which are tried."""


def tried(model: nn.Module, text: Sequence[Any], found: Found) -> list[Part]:
    """Further parts of a model that is not assembled from blocks, on a batch of text; `found` are those known already."""
    if not text or not triable(model):
        return []
    trial, batch = exactly(model, text[0]), text[0]  # the model itself may be training, and its norms would take notice
    order = [name for name in _called(trial, batch) if name]
    cut = {(slab.module, slab.reads) for part in found.parts for slab in part.slabs}
    parts: list[Part] = []
    for place, reader in enumerate(order):
        if isinstance(model.get_submodule(reader), NORMS) or (reader, True) in cut:
            continue
        before = [name for name in reversed(order[:place]) if not isinstance(model.get_submodule(name), NORMS) and (name, False) not in cut]
        candidates = (_part(model, writer, reader, order) for writer in before)
        for part in [each for each in candidates if each is not None][:NEAREST]:
            if _holds(trial, part, batch):
                parts.append(part)
                cut |= {(slab.module, slab.reads) for slab in part.slabs}
                break
    return parts


def triable(model: nn.Module) -> bool:
    """Whether anything is tried: the parts of assembled models are known, and copies of large ones cost too much."""
    return not isinstance(model, LanguageModel) and sum(p.numel() for p in model.parameters()) <= LARGEST


def described(part: Part) -> dict[str, Any]:
    """What `rebuilt` needs, as JSON."""
    norms = list(dict.fromkeys(slab.module for slab in part.slabs if slab.module not in (part.name, part.tap[0])))
    return {"writer": part.name, "reader": part.tap[0], "norms": norms}


def rebuilt(model: nn.Module, description: dict[str, Any]) -> Part:
    """The part of a fresh model."""
    norms = {name: model.get_submodule(name) for name in description["norms"]}
    writer, reader = description["writer"], description["reader"]
    part = between((writer, model.get_submodule(writer)), norms, reader, model.get_submodule(reader), flat=True)
    assert part is not None
    return part


def _called(model: nn.Module, batch: Any) -> list[str]:
    """Layers and norms in the order of their calls; those that are called once in a pass, with weights that no other module holds."""
    calls: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, module in model.named_modules()
        if type(module) is nn.Linear or cuttable(module) or isinstance(module, NORMS)
    ]
    try:
        outputs(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    holders: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        holders[id(parameter)] = holders.get(id(parameter), 0) + 1
    return [name for name in calls if calls.count(name) == 1 and all(holders[id(p)] == 1 for p in model.get_submodule(name).parameters())]


def _part(model: nn.Module, writer: str, reader: str, order: list[str]) -> Part | None:
    first = model.get_submodule(writer)
    width = first.out_features if isinstance(first, nn.Linear) else first.out_channels
    inner = order[order.index(writer) + 1 : order.index(reader)]
    norms = {name: module for name in inner if isinstance(module := model.get_submodule(name), NORMS) and module.num_features == width}
    return between((writer, first), norms, reader, model.get_submodule(reader), flat=True)


def _holds(trial: nn.Module, part: Part, batch: Any) -> bool:
    """Whether half of the units, masked, can be cut out of a copy."""
    if part.units < 2:
        return False
    places = torch.randperm(part.units, generator=torch.Generator().manual_seed(0))
    gone, kept = places[: part.units // 2], places[part.units // 2 :].sort().values
    masked = copy.deepcopy(trial)
    mask(masked, part, gone)
    sliced = copy.deepcopy(masked)
    try:
        narrow(sliced, part, kept)
        return equal(outputs(sliced, batch), outputs(masked, batch))
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False  # the module's own code wants the width that was there
