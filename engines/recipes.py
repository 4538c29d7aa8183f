"""Recipes while they are edited: the whole recipe of the base or of a variant, the shortest way to write another, what in it does not go together.

A *scope* says whose recipe: None is that of the base (`[training]`), a number is a variant, whose tables hold only what differs from the base.
Functions change the tables they get.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engines.merging import Index, Merged, Part, list_of, merge, table_of

Tree = dict[str, Any]
Scope = int | None


@dataclass(frozen=True)
class Conflict:
    """Two techniques of one recipe that exclude each other.

    seat, foe: their places in the recipe, first that of the one which says so. against: what it names, an id or a group. sentence: why.
    """

    seat: int
    foe: int
    against: str
    sentence: str


def conflicts(recipe: Sequence[Part], index: Index) -> Iterator[Conflict]:
    """Each pair once for each of the two that says so."""
    for seat, part in enumerate(recipe):
        for name, sentence in ((index.entry(part.id) or {}).get("conflicts") or {}).items():
            against = index.canonical(name)
            for foe, other in enumerate(recipe):
                if foe != seat and (other.id == against or index.group(other.id) == name):
                    yield Conflict(seat, foe, against, str(sentence))


def effective(data: Tree, index: Index, scope: Scope) -> Merged:
    """The base, or a variant merged over it; every part knows where in the file it stands."""
    variants = list_of(data.get("variant"))
    if scope is None or scope >= len(variants):
        return merge({**data, "variant": [{"name": "base"}]}, index)[0]
    # A variant without a usable name is merged all the same, so that it can be mended.
    named = [{**table_of(variant), "name": str(table_of(variant).get("name", ""))} for variant in variants]
    return merge({**data, "variant": named}, index)[scope]


def set_recipe(data: Tree, index: Index, scope: Scope, recipe: Sequence[Tree]) -> None:
    """Replace the list of techniques. In a variant: the shortest `techniques` and `without` that merge to this list."""
    wanted = [dict(table) for table in recipe]
    if scope is None:
        data.setdefault("training", {})["techniques"] = wanted
        return
    base = [part.table for part in effective(data, index, None).recipe]
    variant = data["variant"][scope]
    assert isinstance(variant, dict)
    here = {index.canonical(str(table.get("id"))) for table in wanted}
    taken = {index.group(str(table.get("id"))) for table in wanted} - {""}
    own = [table for table in wanted if table not in base]
    dropped = [str(table["id"]) for table in base if table.get("id") not in here and index.group(str(table.get("id"))) not in taken]
    everything = [str(table["id"]) for table in base]
    for techniques, without in ((own, dropped), (wanted, everything)):
        for key, value in (("techniques", techniques), ("without", without)):
            if value:
                variant[key] = list(value)
            else:
                variant.pop(key, None)
        if [part.table for part in effective(data, index, scope).recipe] == wanted:
            return
