"""Edits of recipes that might mend a problem of a technique; `engines.fixes` tries them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from engines.checking import check_recipe, providers
from engines.merging import Index, Merged, Tree, list_of, table_of
from engines.problems import Problem
from engines.recipes import Scope, conflicts, effective, set_recipe

Candidate = tuple[str, Tree]
"""What an edit does, as a command, and the tables of the experiment after it."""
_OTHER_RECIPE = re.compile(r" in the recipe of .*")
Change = Callable[[list[Tree], int], None]


@dataclass(frozen=True)
class _Seat:
    """Where a technique that a problem speaks of acts: whose recipe, and its place there."""

    scope: Scope
    merged: Merged
    place: int


def _seats(problem: Problem, data: Tree, index: Index) -> list[_Seat]:
    """The recipes that a problem of a technique arises in: the base alone where it arises there already, else every variant that has it."""
    count = len(list_of(data.get("variant")))
    found = []
    for scope in (None, *range(count)):
        merged = effective(data, index, scope)
        for place, part in enumerate(merged.recipe):
            if problem.path not in part.places.values() and not problem.path.startswith((f"{part.path}.", f"{part.path}[")):
                continue
            if _has(problem, merged, index) if _arises_together(problem) else part.path.startswith("training.") == (scope is None):
                found.append(_Seat(scope, merged, place))
        if scope is None and found:
            return found
    return found


def _arises_together(problem: Problem) -> bool:
    """Whether it is the company of a technique that is wrong, not the technique itself."""
    return problem.rule.startswith(("stands twice", "is the second", "requires ", "conflicts with ", "must stand after "))


def _has(problem: Problem, merged: Merged, index: Index) -> bool:
    rule = _OTHER_RECIPE.sub("", problem.rule)
    return any(other.path == problem.path and _OTHER_RECIPE.sub("", other.rule) == rule for other in check_recipe(merged, index))


def of_recipe(problem: Problem, data: Tree, index: Index) -> Iterator[Candidate]:
    """What mends the company of a technique: another order, another technique, one more or one less."""
    seats = _seats(problem, data, index) if _arises_together(problem) else []
    if not seats:
        return
    merged, place = seats[0].merged, seats[0].place
    ids, own = [part.id for part in merged.recipe], merged.recipe[place].id
    word, _, name = problem.rule.removeprefix("must ").partition(" ")
    where = _where(seats, data)

    def edit(sentence: str, change: Change) -> Candidate:
        return sentence + where, _edited(data, index, seats, change)

    if word == "requires":
        for needed in providers(name.partition(" ")[0], index):
            for at_end in (False, True):
                yield edit(f"Add {needed} to", _adding(needed, at_end=at_end))
    elif word == "stand":
        before = name.removeprefix("after ")
        yield edit(f"Put {before} before {own} in", _moving(own, behind=before))
    elif word in ("is", "stands"):
        others = [other for other in ids if other == own or (index.group(other) and index.group(other) == index.group(own))]
        yield edit(f"Take {own} out of", _popping)
        yield edit(f"Take {others[0]} out of", lambda recipe, _seat: recipe.remove(next(t for t in recipe if t.get("id") == others[0])))
    elif word == "conflicts":
        foes = [ids[each.foe] for each in conflicts(merged.recipe, index) if each.seat == place and f"with {each.against}" == name]
        for one in foes:
            for other in _same_group(one, index):
                yield edit(f"Replace {one} by {other} in", _replacing(one, other))
        for other in _same_group(own, index):
            yield edit(f"Replace {own} by {other} in", _replacing(own, other))
        yield edit(f"Take {own} out of", _popping)
        if foes:
            yield edit(f"Take {' and '.join(dict.fromkeys(foes))} out of", _dropping(set(foes)))


def without_technique(problem: Problem, data: Tree, index: Index) -> Iterator[Candidate]:
    """Without the technique that the problem speaks of."""
    if seats := _seats(problem, data, index):
        name = seats[0].merged.recipe[seats[0].place].id
        yield f"Take {name or 'the technique'} out of{_where(seats, data)}", _edited(data, index, seats, _popping)


def _where(seats: Sequence[_Seat], data: Tree) -> str:
    if seats[0].scope is None:
        return " the shared base"
    names = list(dict.fromkeys(seat.merged.name for seat in seats))
    return f" “{names[0]}”" if len(names) == 1 else f" {len(names)} variants"


def _edited(data: Tree, index: Index, seats: Sequence[_Seat], change: Change) -> Tree:
    """The tables with each of the recipes changed; variants no longer leave out what the base has lost."""
    edited = deepcopy(data)
    for seat in {seat.scope: seat for seat in reversed(seats)}.values():
        recipe = [dict(part.table) for part in seat.merged.recipe]
        change(recipe, seat.place)
        set_recipe(edited, index, seat.scope, recipe)
    left = {part.id for part in effective(edited, index, None).recipe}
    gone = {part.id for part in effective(data, index, None).recipe} - left
    for variant in list_of(edited.get("variant")):
        without = list_of(table_of(variant).get("without"))
        kept = [name for name in without if not (isinstance(name, str) and index.canonical(name) in gone)]
        if kept:
            variant["without"] = kept
        elif without:
            del variant["without"]
    return edited


def _popping(recipe: list[Tree], place: int) -> None:
    del recipe[place]


def _dropping(names: set[str]) -> Change:
    def change(recipe: list[Tree], _place: int) -> None:
        recipe[:] = [table for table in recipe if table.get("id") not in names]

    return change


def _adding(name: str, *, at_end: bool) -> Change:
    """Before the technique that the problem speaks of, or at the end."""

    def change(recipe: list[Tree], place: int) -> None:
        recipe.insert(len(recipe) if at_end else place, {"id": name})

    return change


def _replacing(old: str, new: str) -> Change:
    def change(recipe: list[Tree], _place: int) -> None:
        recipe[:] = [{"id": new} if table.get("id") == old else table for table in recipe]

    return change


def _moving(name: str, behind: str) -> Change:
    def change(recipe: list[Tree], place: int) -> None:
        moved = recipe.pop(place)
        last = max((number for number, table in enumerate(recipe) if table.get("id") == behind), default=place - 1)
        recipe.insert(last + 1, moved)

    return change


def _same_group(name: str, index: Index) -> list[str]:
    """Other techniques that do the same job and run here."""
    group = index.group(name)
    return [
        other
        for other, entry in index.entries.items()
        if group and other != name and entry.get("group") == group and (entry.get("available") or {"ok": True})["ok"]
    ]
