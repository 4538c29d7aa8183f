"""What is wrong with the keys, types and bounds of an experiment file, in sentences with what was probably meant."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from engines.merging import BLOCKS, is_whole, list_of, model_table, table_of
from engines.problems import Problem, did_you_mean, join
from engines.schema import ExperimentFile, ModelTable, Table

_RULES = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a text in quotes",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "greater than"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _table_at(keys: tuple[int | str, ...]) -> type[BaseModel]:
    """The class that describes the table at a place of the file, found by walking down the annotations."""
    here: Any = ExperimentFile
    for key in keys:
        if isinstance(key, str):
            here = here.model_fields[key].annotation
        while not (isinstance(here, type) and issubclass(here, BaseModel)) and get_args(here):
            here = next((part for part in get_args(here) if part is not type(None)), None)
    return here if isinstance(here, type) and issubclass(here, BaseModel) else Table


def _problem(error: ErrorDetails) -> Problem:
    keys, kind, value, context = error["loc"], error["type"], error["input"], error.get("ctx", {})
    path = join("", *keys)
    if kind == "extra_forbidden":
        name = str(keys[-1])
        if name == "techniques" and keys[:1] == ("variant",):
            return Problem(path, value, "is not a key of a variant's training", "write `techniques` and `without` in the variant itself")
        return Problem(path, value, "is an unknown key", did_you_mean(name, _table_at(keys[:-1]).model_fields))
    if kind == "missing":
        return Problem(path, None, _RULES[kind], "add at least one [[variant]] with a name" if keys == ("variant",) else "")
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return Problem(path, value, f"must be {words} {context[bound]}")
    if kind == "string_pattern_mismatch":
        if keys[-1] == "device":
            return Problem(path, value, "must be one of auto, cpu, cuda, cuda:N, mps", _device_meant(str(value)))
        return Problem(path, value, "must be one line without blanks at its ends")
    if kind == "literal_error":
        known = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return Problem(path, value, f"must be one of {', '.join(known)}", did_you_mean(str(value), known) if isinstance(value, str) else "")
    if kind == "value_error":
        return Problem(path, value, str(context["error"]))
    hint = ""
    if kind in ("int_type", "int_from_float") and isinstance(value, float) and value.is_integer():
        hint = f"write {int(value):_}"
    elif kind in ("int_type", "float_type") and isinstance(value, str):
        hint = "leave the quotes away"
    return Problem(path, value, _RULES.get(kind, error["msg"]), hint)


def _device_meant(value: str) -> str:
    """The device somebody had in mind. torch calls every GPU of NVIDIA and AMD cuda, which no resemblance of names tells."""
    name, _, number = value.lower().partition(":")
    if name in ("gpu", "nvidia", "rocm", "hip"):
        return f'did you mean "cuda{":" + number if number.isdigit() else ""}"?'
    return did_you_mean(value, ["auto", "cpu", "cuda", "mps"])


def _infinite(value: Any, path: str) -> list[Problem]:
    """Numbers that JSON cannot carry, anywhere below a value."""
    if isinstance(value, float) and not math.isfinite(value):
        return [Problem(path, str(value), "must be a finite number")]
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _infinite(item, join(path, str(key)))]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _infinite(item, join(path, index))]
    return []


def check_structure(data: dict[str, Any]) -> tuple[list[Problem], dict[str, Any]]:
    """Problems of keys, types and bounds, and the data without the offending values (None in lists), so that the rest can be checked too."""
    problems = _infinite(data, "")
    sound = data
    try:
        ExperimentFile.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] != "finite_number":
                problems.append(_problem(detail))
            sound = _without(sound, detail["loc"])
    for keys, value in _strange_keys(data):
        problems.append(Problem(join("", *keys), value, "is an unknown key", did_you_mean(str(keys[-1]), ModelTable.model_fields)))
        sound = _without(sound, keys)
    return problems, sound


def _strange_keys(data: dict[str, Any]) -> Iterator[tuple[tuple[int | str, ...], Any]]:
    """(keys, value) of what stands in a model that is assembled from blocks and is none of them."""
    base = model_table(data.get("model"))
    tables: list[tuple[tuple[int | str, ...], dict[str, Any]]] = [] if is_whole(base) else [(("model",), base)]
    for number, variant in enumerate(list_of(data.get("variant"))):
        own = model_table(table_of(variant).get("model"))
        # Without an id, keys that are no blocks are parameters of a whole model of the base.
        if not is_whole(own) and (not is_whole(base) or any(key in own for key in BLOCKS)):
            tables.append((("variant", number, "model"), own))
    for place, table in tables:
        yield from (((*place, key), value) for key, value in table.items() if key not in ModelTable.model_fields)


def _without(data: Any, keys: tuple[int | str, ...]) -> Any:
    """A copy of nested data without the value at `keys`; the same data where nothing stands there."""
    if not keys:
        return None
    key, rest = keys[0], keys[1:]
    if isinstance(data, dict) and key in data:
        below = _without(data[key], rest)
        return {k: below if k == key else v for k, v in data.items() if k != key or below is not None}
    if isinstance(data, list) and isinstance(key, int) and key < len(data):
        return [_without(item, rest) if index == key else item for index, item in enumerate(data)]
    return data
