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


def unfit(
    reference: str, plan: Mapping[str, Any], theirs: Mapping[str, Any], own_plan: Mapping[str, Any], own: Mapping[str, Any]
) -> str:  # fmt: skip
    """Why a model cannot teach a plan, a sentence; empty where it can. theirs, own: their texts, as `described`; what is not known is left out."""
    who = f'The teacher "{reference}"'
    if plan["task"]["id"] != own_plan["task"]["id"]:
        return f"{who} was made for {plan['task']['id']} and this variant is for {own_plan['task']['id']}: choose one of the same task."
    if "level" in theirs and "level" in own and theirs["level"] != own["level"]:
        cuts = f"{who} cuts text at the level {theirs['level']} and this variant at the level {own['level']}"
        return f"{cuts}: give both the same corpus.level."
    if "size" in theirs and "size" in own and theirs["size"] != own["size"]:
        return (
            f"{who} knows {theirs['size']:,} tokens and this variant {own['size']:,}: both need one vocabulary. Use the corpus settings that the "
            "teacher was trained with, or another teacher."
        )
    if "tokens" in theirs and "tokens" in own and tuple(theirs["tokens"]) != tuple(own["tokens"]):
        place = next(i for i, (one, other) in enumerate(zip(theirs["tokens"], own["tokens"], strict=True)) if one != other)
        return (
            f"{who} has as many tokens as this variant but other ones: id {place} is {theirs['tokens'][place]!r} there and {own['tokens'][place]!r} "
            "here. Use the corpus settings and the text that the teacher was trained with, or another teacher."
        )
    if "classes" in theirs and "classes" in own and tuple(theirs["classes"]) != tuple(own["classes"]):
        names = [", ".join(each["classes"]) or "no classes" for each in (theirs, own)]
        return f"{who} tells apart {names[0]}, and this variant {names[1]} (the most frequent first): both need the same classes in the same order."
    return ""


def of_unknown_price(facts: Mapping[str, Any]) -> list[str]:
    """The teachers, of the facts of a run, whose price nobody knows."""
    return [str(each["reference"]) for each in facts.get("teachers", ()) if "price" in each and not each["price"]]
