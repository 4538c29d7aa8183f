"""What one plan says otherwise than another: plain keys, old value and new, techniques by their id and blocks by their place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ABOUT_THE_FILE = ("experiment", "variant", "folder")
"""What names a plan and changes nothing that runs."""
ABSENT = "-"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{key, old, new}] in the order of the plans; a value that one side has not is None. A part with another id is one difference."""
    plain_old, plain_new = ({key: value for key, value in plan.items() if key not in _ABOUT_THE_FILE} for plan in (old, new))
    return [{"key": key, "old": before, "new": after} for key, before, after in _between("", plain_old, plain_new)]


def trials(plans: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Which variants are trials of the same settings: [{"variants": names, "keys": what differs among them}].

    They have the same parts and differ in numbers alone, as the variants of a sweep do, however they came to be. plans: by name of the variant.
    """
    found: list[dict[str, Any]] = []
    for name, plan in plans.items():
        for group in found:
            apart = differences(plans[group["variants"][0]], plan)
            if apart and all(_is_numeric(each["old"]) and _is_numeric(each["new"]) for each in apart):
                group["variants"].append(name)
                group["keys"] = list(dict.fromkeys((*group["keys"], *(each["key"] for each in apart))))
                break
        else:
            found.append({"variants": [name], "keys": []})
    return [group for group in found if len(group["variants"]) > 1]


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: Any) -> str:
    """A value of a difference on one line: "softmax/adaptive (cutoffs = [500, 2000])"; "-" for what is not there."""
    if value is None:
        return ABSENT
    if isinstance(value, Mapping):
        rest = ", ".join(f"{key} = {text(each)}" for key, each in value.items() if key != "id" and each is not None)
        return f"{value['id']} ({rest})" if "id" in value and rest else str(value.get("id") or rest or "{}")
    if isinstance(value, list | tuple):
        return f"[{', '.join(text(each) for each in value)}]"
    return value if isinstance(value, str) and value else json.dumps(value)


def _between(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("id") == new.get("id"):
        for key in dict.fromkeys((*old, *new)):
            yield from _between(f"{path}.{key}" if path else key, old.get(key), new.get(key))
    elif _named(old) and _named(new):
        yield from _between_recipes(path, old, new)
    elif isinstance(old, list) and isinstance(new, list) and all(isinstance(each, Mapping) for each in (*old, *new)):
        for index in range(max(len(old), len(new))):
            yield from _between(f"{path}[{index}]", *(side[index] if index < len(side) else None for side in (old, new)))
    else:
        yield path, old, new


def _named(value: Any) -> bool:
    """Whether it is a list of parts that are told apart by their id (or empty)."""
    if not isinstance(value, list) or not all(isinstance(each, Mapping) and "id" in each for each in value):
        return False
    return len({each["id"] for each in value}) == len(value)


def _between_recipes(path: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any, Any]]:
    """Parts by id, wherever they stand; the order where that alone changed between the ones that both have."""
    before, after = ({part["id"]: part for part in parts} for parts in (old, new))
    for id in dict.fromkeys((*before, *after)):
        yield from _between(f"{path}.{id}", before.get(id), after.get(id))
    shared = [[id for id in one if id in other] for one, other in ((before, after), (after, before))]
    if shared[0] != shared[1]:
        yield f"{path} (order)", list(before), list(after)
