"""The parameters that a file gives a plugin against the JSON Schema of that plugin, in sentences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from engines.merging import Part
from engines.problems import Problem, did_you_mean, join

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text in quotes",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
}


def check_parameters(part: Part, entry: Mapping[str, Any]) -> list[Problem]:
    """The parameters of a part against the JSON Schema of its plugin."""
    from jsonschema import Draft202012Validator  # 0.1 s that the window does not wait for

    schema = entry.get("parameters") or {"type": "object"}
    values = {key: value for key, value in part.table.items() if key != "id"}
    known = schema.get("properties", {})
    problems = [
        Problem(part.place(key), value, f"is no parameter of {part.id}", did_you_mean(key, known))
        for key, value in values.items()
        if key not in known
    ]
    for key in schema.get("required", ()):
        if key not in values:
            meaning = known[key].get("description", "")
            problems.append(Problem(join(part.path, key), None, f"is required by {part.id}", meaning))
    for key, value in values.items():
        if key in known:
            # Each parameter is validated alone (with the shared definitions), so that the path of an error starts at its own place.
            alone = {**known[key], "$defs": schema.get("$defs", {})}
            for error in Draft202012Validator(alone).iter_errors(value):
                problems += [_schema_problem(found, part.place(key)) for found in _leaves(error)]
    return problems


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """The errors that say most: of a union the branches of the value's own type, or the union itself where none is."""
    if error.validator not in ("anyOf", "oneOf"):
        yield error
        return
    by_branch: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        by_branch.setdefault(inner.schema_path[0], []).append(inner)
    fitting = [errors for errors in by_branch.values() if not any(e.validator == "type" and not e.path for e in errors)]
    if len(fitting) == 1:
        for inner in fitting[0]:
            inner.parent = error
            yield from _leaves(inner)
    else:
        yield error


def _schema_problem(error: ValidationError, place: str) -> Problem:
    path = join(place, *error.absolute_path)
    value: Any = error.instance
    wanted: Any = error.validator_value
    hint = ""
    rules: dict[str, Callable[[], str]] = {
        "type": lambda: f"must be {_type_words(wanted)}",
        "minimum": lambda: f"must be at least {wanted}",
        "maximum": lambda: f"must be at most {wanted}",
        "exclusiveMinimum": lambda: f"must be greater than {wanted}",
        "exclusiveMaximum": lambda: f"must be less than {wanted}",
        "enum": lambda: f"must be one of {', '.join(map(_plain, wanted))}",
        "const": lambda: f"must be {_plain(wanted)}",
        "minItems": lambda: f"must hold at least {wanted} values",
        "maxItems": lambda: f"must hold at most {wanted} values",
        "minLength": lambda: f"must be at least {wanted} characters long" if wanted > 1 else "must not be empty",
        "maxLength": lambda: f"must be at most {wanted} characters long",
        "pattern": lambda: f"must match the pattern {wanted}",
        "additionalProperties": lambda: "has an unknown key",
        "anyOf": lambda: f"must be {' or '.join(_branch_words(branch) for branch in wanted)}",
        "oneOf": lambda: f"must be {' or '.join(_branch_words(branch) for branch in wanted)}",
    }
    kind = str(error.validator)
    if kind == "enum" and isinstance(value, str):
        hint = did_you_mean(value, [word for word in wanted if isinstance(word, str)], listed=False)
    if kind == "type" and isinstance(value, str) and wanted in ("integer", "number", "boolean"):
        hint = "leave the quotes away"
    return Problem(path, value, rules[kind]() if kind in rules else error.message, hint)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _type_words(wanted: Any) -> str:
    return " or ".join(_TYPES.get(name, str(name)) for name in (wanted if isinstance(wanted, list) else [wanted]))


def _branch_words(branch: Mapping[str, Any]) -> str:
    if "enum" in branch:
        return f"one of {', '.join(map(_plain, branch['enum']))}"
    if "const" in branch:
        return _plain(branch["const"])
    if branch.get("type") == "null":
        return "left out"
    return str(_type_words(branch["type"])) if "type" in branch else "a table"
