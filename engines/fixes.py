"""One-click fixes: small edits of an experiment that make one problem vanish and bring no other.

    for problem in experiment.problems(catalogue):
        for fix in fixes_of(problem, experiment, catalogue):
            fix.sentence                                    # "Put pruning/magnitude before quantization/gptq in the shared base"
            mended = experiment.with_tables(fix.data)       # comments stay

What might mend a problem follows from what the checker knows (names that resemble, bounds, requirements, conflicts, order). What is offered has
been tried: the edited experiment was checked as a whole.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engines.experiment import Experiment
from engines.keypaths import KeyPathError, Keys, drop, look, put, split
from engines.merging import Index, Part, Tree, list_of, table_of
from engines.problems import Problem, names_in, shorten
from engines.recipefixes import Candidate, of_recipe, without_technique
from engines.recipes import effective

MOST = 3
"""Fixes offered for one problem."""


@dataclass(frozen=True)
class Fix:
    """sentence: what the edit does, as a command. data: the tables of the experiment after it."""

    sentence: str
    data: Tree


def fixes_of(problem: Problem, experiment: Experiment, catalogue: Mapping[str, Any], known: Sequence[Problem] | None = None) -> list[Fix]:
    """Up to three edits that mend a problem, the likeliest first; none where only a person can tell.

    known: the problems of the experiment, where they have been found already.
    """
    before = _count(experiment.problems(catalogue) if known is None else known)
    wrong = _key(problem)
    found: list[Fix] = []
    for sentence, data in _candidates(problem, experiment.data, Index(catalogue)):
        if _same(data, experiment.data) or any(sentence == fix.sentence or _same(data, fix.data) for fix in found):
            continue
        after = _count(replace(experiment, data=data, text="").problems(catalogue))
        if after[wrong] < before[wrong] and not after - before:
            found.append(Fix(sentence, data))
            if len(found) == MOST:
                break
    return found


def _same(one: Tree, other: Tree) -> bool:
    """Equal as a file says it, where 2e6 is not 2_000_000."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _count(problems: Iterable[Problem]) -> Counter[tuple[str, str]]:
    return Counter(map(_key, problems))


def _key(problem: Problem) -> tuple[str, str]:
    """A problem without its place in lists, which an edit may move, and whether its id stands alone or in a table."""
    return re.sub(r"\[\d+\]", "[]", f"{problem.path.removesuffix('.id')}: {problem.rule}"), json.dumps(problem.value, default=str)


def _candidates(problem: Problem, data: Tree, index: Index) -> Iterator[Candidate]:
    try:
        keys = split(problem.path)
    except KeyPathError:
        return
    yield from _meant(problem, data, keys, index)
    yield from _values(problem, data, keys)
    yield from of_recipe(problem, data, index)
    yield from _taken_away(problem, data, keys, index)
    yield from without_technique(problem, data, index)


# --- Names and values -------------------------------------------------------------------------------------------------------------------------


def _meant(problem: Problem, data: Tree, keys: Keys, index: Index) -> Iterator[Candidate]:
    """The names that were probably meant, in place of a key or of a value."""
    wrong_key = problem.rule.startswith(("is an unknown key", "is no parameter of", "is not a key of"))
    for name in names_in(problem.hint):
        if wrong_key:
            yield f"Write {name} in place of {keys[-1]}", _renamed(data, keys, name)
        else:
            ending = problem.value.partition("@")[1:] if isinstance(problem.value, str) else ()
            value = name + "".join(ending)
            sentence, replaced = f"Replace {_plain(problem.value)} by {value}", put(data, keys, value)
            yield sentence, replaced
            table = table_of(look(replaced, keys[:-1])) if keys[-1] == "id" else {}
            foreign = [key for key in table if key != "id" and key not in index.properties(value)]
            if foreign:
                fitting = {key: given for key, given in table.items() if key not in foreign}
                yield f"{sentence}, without {', '.join(foreign)}", put(data, keys[:-1], fitting)


def _renamed(data: Tree, keys: Keys, name: str) -> Tree:
    table = look(data, keys[:-1])
    if not isinstance(table, dict) or name in table:
        return data
    renamed = {name if key == keys[-1] else key: value for key, value in table.items()}
    return dict(put(data, keys[:-1], renamed))


def _values(problem: Problem, data: Tree, keys: Keys) -> Iterator[Candidate]:
    """Another value at the same place."""
    value, rule, name = problem.value, problem.rule, keys[-1] if isinstance(keys[-1], str) else keys[-2] if len(keys) > 1 else ""
    if bound := re.match(r"must be (at least|at most) (-?[\d.]+(?:e[+-]?\d+)?)$", rule):
        limit = float(bound[2])
        allowed = int(limit) if limit.is_integer() and not isinstance(value, float) else limit
        yield f"Set {name} to {allowed}, the {'smallest' if bound[1] == 'at least' else 'largest'} that is allowed", put(data, keys, allowed)
    if rule.startswith("must be") and isinstance(value, str):
        try:
            plain = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            plain = value
        yield f"Write {shorten(plain)} without quotes", put(data, keys, plain)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        yield f"Write {int(value):_}, a whole number", put(data, keys, int(value))
    if rule.startswith("must not name") and isinstance(value, list):
        yield f"Name each of {name} once", put(data, keys, list(dict.fromkeys(value)))
    if rule.startswith("must hold exactly one of") and isinstance(value, dict):
        yield from ((f"Keep {unit} = {shorten(amount)} alone", put(data, keys, {unit: amount})) for unit, amount in value.items())
    if limit_of := re.match(r"must not exceed (\w+), which is (\d+)", rule):
        yield f"Set {name} to {limit_of[2]}, as many as {limit_of[1]}", put(data, keys, int(limit_of[2]))
    if rule.startswith("must be empty") and keys[-1] == "layers":
        yield "Take the layers out", put(data, keys, [])
    if keys[-1] == "runtime" and keys[0] == "target":
        yield "Time this target with torch", put(data, keys, "torch")
    if rule.startswith("must be cpu"):
        yield "Time this target on the cpu", put(data, keys, "cpu")
    if rule.startswith("is also the name of"):
        taken = {table_of(item).get("name") for item in list_of(data.get(str(keys[0])))}
        free = next(name for number in range(2, len(taken) + 3) if (name := f"{value} {number}") not in taken)
        yield f"Call the second one “{free}”", put(data, keys, free)
    if keys == ("experiment", "baseline"):
        names = [table_of(item).get("name") for item in list_of(data.get("variant"))]
        yield f"Compare with the first variant, “{names[0] if names else ''}”", drop(data, keys)


def _taken_away(problem: Problem, data: Tree, keys: Keys, index: Index) -> Iterator[Candidate]:
    """Without what stands there: an unknown key, an entry of a list, or a parameter that has a default."""
    if look(data, keys) is None:
        return
    if problem.rule.startswith(("is an unknown key", "is no parameter of", "is not a metric", "is not among", "is not a key of")):
        yield f"Take {_plain(problem.value) if isinstance(keys[-1], int) else keys[-1]} out", drop(data, keys)
    elif isinstance(keys[-1], str) and keys[-1] not in ("id", "name"):
        part = next((part for part in _parts(data, index) if part.places.get(keys[-1]) == problem.path), None)
        schema = index.properties(part.id).get(keys[-1], {}) if part is not None else {}
        if "default" in schema:
            yield f"Set {keys[-1]} to {shorten(schema['default'])}, its default", put(data, keys, schema["default"])
        yield f"Leave {keys[-1]} at its default", drop(data, keys)


def _parts(data: Tree, index: Index) -> Iterator[Part]:
    for scope in (None, *range(len(list_of(data.get("variant"))))):
        yield from (part for part, _ in effective(data, index, scope).parts())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else shorten(value)


def told(problems: Sequence[Problem], experiment: Experiment, catalogue: Mapping[str, Any]) -> str:
    """Each problem as a line, with what would mend it on lines below."""
    known = experiment.problems(catalogue)
    lines: list[str] = []
    for problem in problems:
        lines.append(problem.sentence())
        lines += [f"    {'or' if place else 'fix'}: {fix.sentence}" for place, fix in enumerate(fixes_of(problem, experiment, catalogue, known))]
    return "\n".join(lines)
