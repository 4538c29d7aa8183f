"""A finished model on disk: its plan, the records of what finished it, its weights. Immutable once written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from engines.api import Task, Technique, Text
from engines.runtime.plan import block, plugin, text_of
from engines.store.address import is_laid_out


class FinishedError(ValueError):
    """A finished model that cannot be written or read; the message says which and why."""


@dataclass(frozen=True)
class Finished:
    """A finished model with what is needed to use it."""

    model: nn.Module
    plan: Mapping[str, Any]
    task: Task
    text: Text


def save_finished(model: nn.Module, plan: Mapping[str, Any], records: list[dict[str, Any]], folder: Path, text: str) -> int:
    """Write the model; returns the bytes of its weights file. Tensors that share storage (tied weights) are written once.

    text: fingerprint of the text that it was trained on.
    """
    tensors: dict[str, torch.Tensor] = {}
    first: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor):
            raise FinishedError(f"{name} of the finished model is a {type(tensor).__name__}, not a tensor: its technique must keep plain tensors.")
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in first:
            aliases[name] = first[key]
        else:
            first[key] = name
            tensors[name] = tensor.detach().cpu().contiguous()
    fresh = folder.with_name(folder.name + ".new")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(parents=True)
    save_file(tensors, fresh / "weights.safetensors", metadata={"aliases": json.dumps(aliases)})
    (fresh / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    (fresh / "records.json").write_text(json.dumps(records), encoding="utf-8")
    (fresh / "facts.json").write_text(json.dumps({"text": text}), encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(fresh, folder)
    return (folder / "weights.safetensors").stat().st_size


def load_finished(folder: Path, device: torch.device | str = "cpu", text: Text | None = None) -> Finished:
    """Rebuild the structure (assemble, then each technique's `restore`), then load the weights. In evaluation mode, frozen.

    text: the prepared corpus, where the caller has it; else it is prepared from the plan. Raises FinishedError with a sentence.
    """
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        records = json.loads((folder / "records.json").read_text(encoding="utf-8"))
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        weights, aliases = _read_weights(folder / "weights.safetensors", device)
    except (OSError, ValueError, SafetensorError) as error:
        raise FinishedError(f"There is no finished model in {folder}: {error}. Did its run end as 'done'?") from error
    if "factory" in plan["model"] and is_laid_out(folder):
        raise FinishedError(
            f"The model of this run is made by {plan['model']['factory']}, code of its author, and nothing that a bundle holds or names is run: "
            "ask for a program of it (workbench export --format torch-export or onnx), or load its exported file with the module that you were given."
        )
    task = cast(Task, plugin(plan["task"]))
    if text is None:
        text = text_of(cast(Any, plugin(plan["corpus"])), lambda _: None)
    if facts["text"] != text.fingerprint:
        raise FinishedError(
            f"The model in {folder} was trained on another text or vocabulary than the one it is now asked to read (its ids mean other words). "
            "Use the corpus it was trained on; a teacher and its student need the same one."
        )
    return rebuilt(plan, records, task, text, weights | {alias: weights[name] for alias, name in aliases.items()}, device)


def rebuilt(
    plan: Mapping[str, Any], records: list[dict[str, Any]], task: Task, text: Text, weights: Mapping[str, torch.Tensor],
    device: torch.device | str,
) -> Finished:  # fmt: skip
    """The structure that a plan and the records of its techniques describe, with these weights. In evaluation mode, frozen."""
    model = task.assemble(plan["model"], block, text, plan["training"]["sequence"])
    for entry in records:
        technique = cast(Technique, plugin({"id": entry["id"], **entry["parameters"]}))
        if hasattr(technique, "restore"):
            model = technique.restore(model, entry["record"])
    model.to(device)
    model.load_state_dict(weights)
    return Finished(model.eval().requires_grad_(False), plan, task, text)


def _read_weights(path: Path, device: torch.device | str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, framework="pt", device=str(device)) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads((file.metadata() or {}).get("aliases", "{}"))  # noqa: SIM118
