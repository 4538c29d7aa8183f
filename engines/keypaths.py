"""Key paths into an experiment file: `budget.tokens`, `model.layers[0].mixer.width`, `variant.pruned.training.batch`.

Parts of a list are named by index (`variant[1]`, `variant.1`), variants and targets also by name, techniques by id
(`training.techniques.optimization/adam.lr`). Names with dots or brackets stand in double quotes. Keys of `[experiment]` may be written
without that table's name.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from engines.problems import did_you_mean, join
from engines.schema import UNITS, ExperimentFile, ExperimentTable

Keys = tuple[str | int, ...]
_STEP = re.compile(r'\.?(?:"((?:[^"\\]|\\.)*)"|\[(\d+)\]|([^.\[\]"]+))')


class KeyPathError(ValueError):
    """A key path that leads nowhere; the message is a sentence, `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.rule, self.hint = message, hint
        super().__init__(f"{message}; {hint}" if hint else message)


def split(path: str) -> Keys:
    """The steps of a key path as written. Raises KeyPathError where it is not one."""
    steps: list[str | int] = []
    position = 0
    while position < len(path):
        found = _STEP.match(path, position)
        if found is None or (position == 0 and path[0] == "."):
            raise KeyPathError(f"{json.dumps(path)} is not a key path", "write it like variant.pruned.training.batch or model.layers[0].mixer.width")
        quoted, index, plain = found.groups()
        steps.append(json.loads(f'"{quoted}"') if quoted is not None else int(index) if index is not None else plain.strip())
        position = found.end()
    if not steps:
        raise KeyPathError("A key path must not be empty", "write it like budget.tokens")
    return tuple(steps)


def locate(data: dict[str, Any], path: str | Keys) -> Keys:
    """The keys and indices that a path stands for in `data`; its end may be missing there. Raises KeyPathError for a list part that is not there."""
    steps = split(path) if isinstance(path, str) else path
    if isinstance(steps[0], str) and steps[0] not in ExperimentFile.model_fields:
        if steps[0] not in ExperimentTable.model_fields:
            raise KeyPathError(f"{json.dumps(steps[0])} is an unknown key", _meant(steps))
        steps = ("experiment", *steps)
    here: Any = data
    keys: list[str | int] = []
    for step in steps:
        if isinstance(here, list):
            step = _position(here, step, join("", *keys))
            here = here[step]
        else:
            here = here.get(str(step)) if isinstance(here, dict) else None
        keys.append(step)
    return tuple(keys)


def _meant(steps: Keys) -> str:
    """What to write where the first step is no key of the top: the table that has such a key, else a name that resembles it."""
    for name in ("training", "measure", "model"):
        if steps[0] in ExperimentFile.model_fields[name].annotation.model_fields:  # type: ignore[union-attr]  # all three are tables
            return f"did you mean {json.dumps(join(name, *steps), ensure_ascii=False)}?"
    return did_you_mean(str(steps[0]), [*ExperimentFile.model_fields, *ExperimentTable.model_fields])


def _position(items: list[Any], step: str | int, path: str) -> int:
    """Index of a part of a list that is given by index, name or id."""
    if isinstance(step, str):
        names = [str(item.get("name", item.get("id", ""))) if isinstance(item, dict) else str(item) for item in items]
        if step in names:
            return names.index(step)
    if isinstance(step, str) and not step.isdigit():
        raise KeyPathError(f"{path} has nothing called {json.dumps(step, ensure_ascii=False)}", did_you_mean(step, names))
    if int(step) < len(items):
        return int(step)
    raise KeyPathError(f"{path}[{step}] does not exist", f"there are {len(items)}, counted from 0")


def look(data: Any, keys: Keys, default: Any = None) -> Any:
    """The value at located keys, or `default`."""
    for key in keys:
        inside = key in data if isinstance(data, dict) else isinstance(data, list) and isinstance(key, int) and key < len(data)
        if not inside:
            return default
        data = data[key]
    return data


def put(data: Any, keys: Keys, value: Any) -> Any:
    """A copy of nested data with `value` at located keys; tables on the way are made, a plugin given as a text becomes a table."""
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(data, list) and isinstance(key, int):
        return [put(item, rest, value) if index == key else item for index, item in enumerate(data)]
    table = {"id": data} if isinstance(data, str) else dict(data) if isinstance(data, dict) else {}
    if key in UNITS and keys[1:] == () and set(table) <= set(UNITS):
        # A budget holds one unit: a new one takes the place of the old one. Other tables have no such keys alone.
        table = {}
    table[str(key)] = put(table.get(str(key)), rest, value)
    return table


def drop(data: Any, keys: Keys) -> Any:
    """A copy of nested data without what stands at located keys; tables that become empty on the way go too, except at the top."""
    key, rest = keys[0], keys[1:]
    if isinstance(data, list) and isinstance(key, int):
        if not rest:
            return [item for index, item in enumerate(data) if index != key]
        return [drop(item, rest) if index == key else item for index, item in enumerate(data)]
    if not isinstance(data, dict) or key not in data:
        return data
    below = drop(data[key], rest) if rest else None
    gone = not rest or (below == {} and data[key] != {})
    return {k: below if k == key else v for k, v in data.items() if not (k == key and gone)}


def assignment(text: str) -> tuple[str, Any]:
    """`key=value` of the command line: the value is read as TOML, and as a plain text where it is not TOML. Raises KeyPathError without `=`."""
    path, sign, value = text.partition("=")
    if not sign:
        raise KeyPathError(f"{json.dumps(text)} is not of the form key=value", "write it like budget.tokens=20000")
    try:
        return path.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return path.strip(), value.strip()
