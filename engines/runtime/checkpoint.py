"""A nested state on disk: tensors in safetensors, everything else in JSON. Nothing in it can execute code."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

_TENSOR, _TUPLE, _MAP = "__tensor__", "__tuple__", "__map__"


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read; the message names the file."""


def save(state: Any, folder: Path) -> None:
    """Write a tree of dicts, lists, tuples, tensors, numbers, texts and None; the folder is replaced in one rename."""
    tensors: dict[str, torch.Tensor] = {}
    tree = _pack(state, tensors, set(), "state")
    fresh = folder.with_name(folder.name + ".new")
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(parents=True)
    save_file(tensors, fresh / "tensors.safetensors")
    (fresh / "state.json").write_text(json.dumps(tree), encoding="utf-8")
    old = folder.with_name(folder.name + ".old")
    if old.exists():
        shutil.rmtree(old)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    if old.exists():
        shutil.rmtree(old)


def find(folder: Path) -> Path | None:
    """The newest complete checkpoint at this place, also after a crash between the two renames of `save`."""
    for candidate in (folder, folder.with_name(folder.name + ".old")):
        if (candidate / "state.json").exists():
            return candidate
    return None


def load(folder: Path, device: torch.device | str = "cpu") -> Any:
    """Read what `save` wrote; tensors land on `device`."""
    try:
        tensors = load_file(folder / "tensors.safetensors", device=str(device))
        return _unpack(json.loads((folder / "state.json").read_text(encoding="utf-8")), tensors)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"The checkpoint in {folder} cannot be read: {error}. Start the run anew.") from error


def _pack(node: Any, tensors: dict[str, torch.Tensor], storages: set[int], path: str) -> Any:
    """The tree with names in place of its tensors, which are put into `tensors`. storages: addresses of those that are there."""
    if isinstance(node, torch.Tensor):
        tensor = node.detach().cpu().contiguous()
        # A file holds each storage once; only where two entries share one (tied weights) is a copy made, since copies cost peak memory.
        address = tensor.untyped_storage().data_ptr()
        tensors[path] = tensor.clone() if tensor.numel() and address in storages else tensor
        storages.add(address)
        return {_TENSOR: path}
    if isinstance(node, dict):
        # Optimiser states have integer keys, which JSON objects cannot hold: pairs keep them.
        return {_MAP: [[key, _pack(value, tensors, storages, f"{path}.{key}")] for key, value in node.items()]}
    if isinstance(node, tuple):
        return {_TUPLE: [_pack(value, tensors, storages, f"{path}.{i}") for i, value in enumerate(node)]}
    if isinstance(node, list):
        return [_pack(value, tensors, storages, f"{path}.{i}") for i, value in enumerate(node)]
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise CheckpointError(f"A checkpoint cannot hold a {type(node).__name__} (at {path}): use tensors, numbers, texts, lists and dicts.")


def _unpack(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, list):
        return [_unpack(value, tensors) for value in node]
    if isinstance(node, dict):
        if _TENSOR in node:
            return tensors[node[_TENSOR]]
        if _TUPLE in node:
            return tuple(_unpack(value, tensors) for value in node[_TUPLE])
        return {key: _unpack(value, tensors) for key, value in node[_MAP]}
    return node


def discard(folder: Path) -> None:
    """Remove a checkpoint that is no longer needed."""
    for name in (folder.name, folder.name + ".old", folder.name + ".new"):
        shutil.rmtree(folder.with_name(name), ignore_errors=True)
