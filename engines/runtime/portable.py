"""A finished model as one safetensors file that says itself how the model is built: no store, no corpus, and nothing in it is executed, nor, unless
its reader says so, anything that it names outside of the plugins.

    from engines.runtime.portable import load_exported

    found = load_exported("model.safetensors")          # .model, .plan, .task, .text (vocabulary, encode, decode)

The format: eight bytes with the length of a JSON header, the header, the tensors at offsets counted from the header's end. The header's metadata
holds, as JSON, `plan`, `records` of the techniques that finished the model, `aliases` (tied tensors, written once) and `text` (vocabulary);
`price` where it is known.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open

from engines.api import Task, Text
from engines.runtime.finished import Finished, FinishedError, rebuilt
from engines.runtime.plan import plugin
from engines.toolbox import vocabularies


def write_exported(folder: Path, text: Text, out: Path, price: Mapping[str, float] | None = None) -> None:
    """The finished model in `folder` as one file. Its tensors are copied as they lie: packed ones stay packed. price: what it cost to make."""
    with (folder / "weights.safetensors").open("rb") as source:
        (length,) = struct.unpack("<Q", source.read(8))
        header = json.loads(source.read(length))
        texts = {name: (folder / f"{name}.json").read_text(encoding="utf-8") for name in ("plan", "records")}
        texts["text"] = json.dumps(vocabularies.described(text))
        if price:
            texts["price"] = json.dumps(price)
        header["__metadata__"] = header.get("__metadata__", {}) | texts
        written = json.dumps(header, separators=(",", ":")).encode()
        written += b" " * (-len(written) % 8)
        with out.open("wb") as target:
            target.write(struct.pack("<Q", len(written)) + written)
            shutil.copyfileobj(source, target)


def load_exported(path: str | Path, device: torch.device | str = "cpu", folder: str | None = None) -> Finished:
    """The model of an exported file, in evaluation mode, frozen. Its text has a vocabulary and no splits.

    folder: where the module of a model of your own lies. Such a model is made by a function that the file names, of that folder or of an installed
    package, so it is loaded only where the folder is named: by who trusts the file. Raises FinishedError with a sentence, UnknownPlugin where a
    plugin of it is not installed here.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            told: dict[str, Any] = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise FinishedError(f"{path} is no safetensors file that can be read: {error}.") from error
    if missing := [name for name in ("plan", "records", "text") if name not in told]:
        raise FinishedError(f"{path} holds tensors but no {missing[0]} to rebuild a model from: was it written by `workbench export`?")
    plan = told["plan"]
    if folder is not None:
        if "folder" not in plan["model"]:
            raise FinishedError(f"folder = {folder!r}, but the model in {path} comes from no module of your own.")
        plan["model"]["folder"] = folder
    elif "factory" in plan["model"]:
        raise FinishedError(
            f"The model in {path} is made by {plan['model']['factory']}, which would be imported and called: if you trust the file, say where that "
            "module lies (folder)."
        )
    weights |= {alias: weights[name] for alias, name in told.get("aliases", {}).items()}
    return rebuilt(plan, told["records"], cast(Task, plugin(plan["task"])), vocabularies.without_splits(told["text"]), weights, device)
