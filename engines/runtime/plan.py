"""A plan (JSON, from the store) turned into plugins, text, device and threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import nn

from engines import catalogue, places, probes
from engines.api import Block, Corpus, Plugin, Task, Technique, Text


class PlanError(ValueError):
    """A plan that cannot run on this machine or with these plugins; the message is for the user."""


@dataclass(frozen=True)
class Parts:
    """The plugins that a plan names, with their parameters."""

    plan: Mapping[str, Any]
    task: Task
    corpus: Corpus
    techniques: list[tuple[str, Technique]]

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Parts:
        return cls(
            plan,
            cast(Task, plugin(plan["task"])),
            cast(Corpus, plugin(plan["corpus"])),
            [(choice["id"], cast(Technique, plugin(choice))) for choice in plan["techniques"]],
        )


def plugin(choice: Mapping[str, Any]) -> Plugin:
    """{"id": ..., **parameters} -> plugin. Raises PlanError naming the id and each wrong parameter."""
    parameters = {key: value for key, value in choice.items() if key != "id"}
    cls = catalogue.load(choice["id"])
    reason = cls.unavailable()
    if reason:
        raise PlanError(f"{choice['id']} cannot run here: {reason}")
    try:
        return cls(**parameters)
    except ValidationError as error:
        rules = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'parameters'}: {e['msg']} (got {e['input']!r})" for e in error.errors())
        raise PlanError(f"{choice['id']}: {rules}") from error


def block(choice: Mapping[str, Any]) -> Block:
    """As `plugin`, of what is known to be a block."""
    return cast(Block, plugin(choice))


def device_of(name: str) -> torch.device:
    """auto | cpu | cuda | cuda:1 | mps -> a device that is there. Raises PlanError where it is not."""
    if name == "auto":
        # mps only on request: it has no float64, and much of the catalogue was never tried on it.
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.get(device.type, False)
    if not present:
        raise PlanError(f'device = "{name}": torch finds no such device here. Use "auto" or "cpu".')
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise PlanError(f'device = "{name}": this machine has {torch.cuda.device_count()} CUDA devices, counted from 0.')
    return device


def device_holding(model: nn.Module) -> torch.device:
    """Where a model is; the CPU for one without tensors."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def threads_of(requested: int | None) -> int:
    """Torch threads: as requested, else the cores this process may use minus one, at least one."""
    return requested or max(1, probes.usable_cores() - 1)


def text_of(corpus: Corpus, announce: Callable[[str], None]) -> Text:
    """The prepared text of a corpus, from the cache where it is there. Raises CorpusError."""
    return corpus.prepare(corpus_folder(), announce)


def corpus_folder() -> Path:
    """Where prepared corpora lie; it is there."""
    folder = places.cache_folder() / "corpora"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
