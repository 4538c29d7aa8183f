"""One setting of one variant as a cell: which can be changed where they stand, how they are written, and what a change does to the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from engines.differences import ABSENT
from engines.keypaths import assignment, drop, look, put, split
from engines.merging import Index, Merged
from engines.problems import Problem
from workbench.editor import draft
from workbench.editor.draft import Tree
from workbench.editor.places import below, key_of, parts_of, sentence, trouble_of

LAYER_KEYS = ("repeat", "residual", "norm")
TRAINING = ("training.batch", "training.sequence")


def as_written(merged: Merged) -> Tree:
    """A variant as a plan of what the file says, defaults left out: it need not be without problems."""
    model: Tree = merged.whole.table if merged.whole else {"embedding": _table(merged.embedding), "layers": draft.raw_layers(merged)}
    model = model if merged.whole else {**model, "head": _table(merged.head)}
    training = {key: value for key, value in merged.training.items() if key in ("batch", "sequence")}
    return {
        "task": _table(merged.task), "corpus": _table(merged.corpus), "model": model, "training": training,
        "techniques": [part.table for part in merged.recipe],
    }  # fmt: skip


def _table(part: Any) -> Tree | None:
    return None if part is None else part.table


def leaves(plan: Mapping[str, Any]) -> list[str]:
    """The keys of every value that a plan states, as `engines.differences` names them, but for ids and the task, which all variants share."""

    def inside(path: str, value: Any) -> list[str]:
        if isinstance(value, Mapping):
            return [key for name, each in value.items() if name != "id" for key in inside(f"{path}.{name}" if path else name, each)]
        if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
            named = path == "techniques"
            return [
                key for place, each in enumerate(value) for key in inside(f"{path}.{each.get('id')}" if named else f"{path}[{place}]", each)
            ]  # fmt: skip
        return [path] if value is not None else []

    return [key for section, value in plan.items() if section != "task" for key in inside(section, value)]


def value_of(merged: Merged, key: str) -> Any:
    """What a variant says at a key; None where it says nothing."""
    return value_in(as_written(merged), key)


def value_in(plan: Mapping[str, Any], key: str) -> Any:
    """The same of its plan."""
    if key.endswith("(order)"):
        return None
    steps = split(key)
    if steps[0] != "techniques":
        return look(plan, steps)
    part = next((table for table in plan["techniques"] if table.get("id") == steps[1]), None)
    return look(part, steps[2:]) if part is not None else None


def editable(merged: Merged, index: Index, key: str) -> bool:
    """Whether a variant takes a value at a key: a parameter of a part that it has, a part, or a technique that it may get."""
    if key in TRAINING:
        return True
    if key.endswith("(order)") or below(key, "task"):
        return False
    steps = split(key)
    if steps[:2] == ("model", "layers") and len(steps) == 4 and steps[3] in LAYER_KEYS:
        return merged.whole is None and isinstance(steps[2], int) and steps[2] < len(merged.layers or [])
    if steps[0] == "techniques" and len(steps) == 2:
        return True
    for name, part in parts_of(merged).items():
        stem = key_of(name, part)
        if key == stem:
            return (name != "model" and merged.whole is None) or name == "corpus"
        if part is not None and below(key, stem):
            return key[len(stem) + 1 :] in index.properties(part.id)
    return False


def as_typed(value: Any) -> str:
    """A value as it is written into a cell: as in the file, texts without quotes, a part without parameters by its id alone."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return str(value["id"]) if set(value) == {"id"} else _inline(value)
    return _inline(value)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def typed(text: str, schema: Mapping[str, Any]) -> Any:
    """What was written into a cell: read as the file is, a text where it is nothing else; None where it is empty. schema: of the parameter."""
    text = text.strip()
    if text in ("", ABSENT):
        return None
    if schema.get("type") == "string" and not text.startswith('"'):
        return text
    return assignment(f"x={text}")[1]


def schema_of(merged: Merged, index: Index, key: str) -> Mapping[str, Any]:
    """The JSON Schema of the parameter at a key; empty where it is none of a plugin."""
    for name, part in parts_of(merged).items():
        stem = key_of(name, part)
        if part is not None and key != stem and below(key, stem):
            return index.properties(part.id).get(key[len(stem) + 1 :], {})
    return {}


def change(data: Tree, index: Index, number: int, key: str, value: Any) -> None:
    """Let a variant say `value` at a key. None: nothing, so that a parameter has its default, a technique is left out, and what every model needs
    is that of the base. A part given as a text is meant by its id."""
    merged, steps = draft.effective(data, index, number), split(key)
    plan = deepcopy(as_written(merged))
    is_part = (steps[0] == "techniques" and len(steps) == 2) or key in {key_of(name, part) for name, part in parts_of(merged).items()}
    if is_part and isinstance(value, str):
        value = {"id": value}
    if value is None and (key in TRAINING or (is_part and steps[0] != "techniques" and steps[-1] != "feedforward")):
        draft.revert(data, number, str(steps[1] if len(steps) > 1 else steps[0]))
    elif key in TRAINING:
        draft.set_training(data, number, str(steps[1]), value)
    elif steps[0] == "techniques":
        draft.set_recipe(data, index, number, _recipe(plan["techniques"], steps, value))
    else:
        plan = drop(plan, steps) if value is None else put(plan, steps, value)
        if steps[0] == "corpus":
            draft.set_corpus(data, index, number, plan["corpus"])
        elif steps[1] in draft.SLOTS:
            draft.set_block(data, index, number, str(steps[1]), plan["model"][steps[1]])
        elif steps[1] == "layers":
            draft.set_layers(data, index, number, plan["model"]["layers"])
        else:
            draft.set_whole(data, index, number, plan["model"])


def _recipe(recipe: Sequence[Tree], steps: Sequence[str | int], value: Any) -> list[Tree]:
    """The recipe with another value at techniques.ID, or at techniques.ID.PARAMETER."""
    at = next((place for place, table in enumerate(recipe) if table.get("id") == steps[1]), None)
    if len(steps) > 2:
        changed = [drop(table, tuple(steps[2:])) if value is None else put(table, tuple(steps[2:]), value) for table in recipe]
        return [changed[place] if place == at else table for place, table in enumerate(recipe)]
    new = [] if value is None else [value]
    return [*recipe, *new] if at is None else [*recipe[:at], *new, *recipe[at + 1 :]]


def wrong_in(merged: Merged, number: int, problems: Sequence[Problem]) -> dict[str, str]:
    """What is wrong with a variant, by the key of the cell that says so."""
    found: dict[str, str] = {}
    for name, part in parts_of(merged).items():
        trouble, stem = trouble_of(part, problems), key_of(name, part)
        found |= {stem: " ".join(trouble.whole)} if trouble.whole else {}
        found |= {f"{stem}.{parameter}": said for parameter, said in trouble.parameters.items()}
    for problem in problems:
        for key in TRAINING:
            if problem.path in (key, f"variant[{number}].{key}"):
                found[key] = sentence(problem)
    return found
