"""What a recipe may name where it reads a finished model (a teacher): a variant of the experiment, `run:12`, or a path. Imports no torch.

A path is that of a file that `workbench export` wrote, or of the folder of a finished model. The name of a variant goes before all else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

MODEL = "model"
REFERENCES = ("variant", MODEL)
"""Marks of parameters (`reference` of engines.api.param): of those that name a variant, and of those that may name any finished model."""
HOOK = "teachers"
"""Hook of the engine's own record of what a run read: {"teachers": [{"reference", "what", "sha256", "run" or "price"}]}."""
COSTS = ("cost/train_s", "cost/train_tokens", "cost/train_flops")
"""What a teacher cost; a file says it where it was written with it."""
_RUN = re.compile(r"run:(\d+)")


def run_of(reference: str) -> int | None:
    """The run that `run:12` names; None where the reference names none."""
    found = _RUN.fullmatch(reference)
    return int(found.group(1)) if found else None


def is_path(reference: str) -> bool:
    """Whether it is written as a path: it has a slash, or ends as exported files do."""
    return "/" in reference or "\\" in reference or reference.endswith(".safetensors")


def outside(reference: str, variants: Collection[str]) -> bool:
    """Whether it names a model from outside the experiment."""
    return reference not in variants and (run_of(reference) is not None or is_path(reference))


def model_folder(runs: Path, run: int) -> Path:
    """Where the finished model of a run lies. runs: the folder of all runs of the store."""
    return runs / str(run) / "model"


def of_unknown_price(facts: Mapping[str, Any]) -> list[str]:
    """The teachers, of the facts of a run, whose price nobody knows."""
    return [str(each["reference"]) for each in facts.get("teachers", ()) if "price" in each and not each["price"]]
