"""The list of variants of an experiment file: who is the baseline; adding, removing, renaming. One home for the experiment object and the window.

Works on tables with holes (a file that is being edited), so variants are meant by their number. Functions change the tables they get.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from engines.checking import references
from engines.keypaths import locate, look
from engines.merging import Index, Tree, list_of, merge, table_of


def variant_names(data: Tree) -> list[str]:
    """In the order of the file; an empty text where a variant has no name."""
    return [str(table_of(variant).get("name", "")) for variant in list_of(data.get("variant"))]


def baseline(data: Tree) -> str:
    """The name of the baseline: the stated one, else the first variant; an empty text where there is none."""
    names = variant_names(data)
    return str(table_of(data.get("experiment")).get("baseline") or (names[0] if names else ""))


def free_name(data: Tree, wish: str) -> str:
    """A variant name that is not taken yet."""
    names = variant_names(data)
    number, name = 2, wish
    while name in names:
        name, number = f"{wish} {number}", number + 1
    return name


def add_variant(data: Tree, name: str, *, like: int | None = None, position: int | None = None) -> int:
    """Add a variant, the base as it is or a copy of another, behind the others or at a place among them; returns its number."""
    variants = data.setdefault("variant", [])
    number = len(variants) if position is None else position
    variants.insert(number, {**({} if like is None else deepcopy(table_of(variants[like]))), "name": name})
    return number


def remove_variant(data: Tree, number: int) -> None:
    """Remove a variant; where it was the stated baseline, the first one left is stated."""
    name = variant_names(data)[number]
    data["variant"].pop(number)
    left = variant_names(data)
    if left and name not in left and table_of(data.get("experiment")).get("baseline") == name:
        data["experiment"]["baseline"] = left[0]


def rename_variant(data: Tree, index: Index, number: int, name: str) -> None:
    """Rename a variant; the baseline and every parameter that names it follow, but where another variant has the old name too."""
    names = variant_names(data)
    old = names[number]
    data["variant"][number]["name"] = name
    if names.count(old) > 1 or not old:
        return
    if table_of(data.get("experiment")).get("baseline") == old:
        data["experiment"]["baseline"] = name
    named = [{**table_of(variant), "name": other} for variant, other in zip(data["variant"], names, strict=True)]
    merged = merge({**data, "variant": named}, index)
    for path in {path for variant in merged for path, other in references(variant, index, names) if other == old}:
        *way, key = locate(data, path)
        table: Any = look(data, tuple(way))
        if isinstance(table, dict) and key in table:  # Else the name is the default of the parameter.
            value = table[str(key)]
            table[str(key)] = [name if each == old else each for each in value] if isinstance(value, list) else name
