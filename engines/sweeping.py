"""Sweeps and ablations: one variant of an experiment becomes many plain ones, which run, compare and are edited like any other.

    axes = [axis("pruning/magnitude.sparsity=0.5,0.7,0.9"), axis("training.batch=16,32")]
    swept = sweep(experiment, axes, catalogue)                  # 6 variants more
    ablated = ablate(experiment, catalogue, variant="all")      # "all without magnitude", ...

What a value names is a place of the file as the base writes it (`training.batch`, `model.head.id`, `model.layers[0].mixer.width`,
`corpus.max_vocabulary`); a technique is named by its id. Budget, seeds, device and measure are the same for all variants and cannot be swept.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from engines.experiment import Experiment
from engines.keypaths import KeyPathError, Keys, assignment, put, split
from engines.merging import Index, Merged, Part, Tree, list_of, merge, model_table
from engines.problems import ExperimentError, Problem, did_you_mean, join

MOST = 200
"""Variants that a sweep makes unless more are asked for: one digit too many shall not queue thousands of runs."""
MOST_OF_RANGE = 10_000
"""Values of one field, however many variants are asked for: they are made before anything can be counted."""
PER_VARIANT = ("corpus", "model", "training")
_EXAMPLE = "write it like pruning/magnitude.sparsity=0.5,0.7,0.9 or training.batch=8:64:4"


@dataclass(frozen=True)
class Axis:
    """One field and the values it takes."""

    path: str
    values: tuple[Any, ...]

    @property
    def label(self) -> str:
        """The field's own name, as variants are called by it."""
        steps = [str(step) for step in split(self.path)]
        return steps[-2] if steps[-1] == "id" and len(steps) > 1 else steps[-1]


def axis(text: str) -> Axis:
    """`KEY=V1,V2,...`, `KEY=[...]` or `KEY=FROM:TO:COUNT` (evenly, or by equal factors with `:log`). Raises KeyPathError with what is wrong."""
    path, sign, given = text.partition("=")
    if not sign or not given.strip():
        raise KeyPathError(f"{json.dumps(text)} names no values", _EXAMPLE)
    path, given = path.strip(), given.strip()
    split(path)
    values = _range(path, given) if ":" in given and not given.startswith(("[", "{", '"')) else _list(given)
    if not values:
        raise KeyPathError(f"{path} has no values", _EXAMPLE)
    twice = [value for place, value in enumerate(values) if value in values[:place]]
    if twice:
        raise KeyPathError(f"{path} has the value {json.dumps(twice[0], ensure_ascii=False)} twice", "give each value once")
    return Axis(path, tuple(values))


def _list(given: str) -> list[Any]:
    whole = assignment(f"x={given}")[1]
    if isinstance(whole, list):
        return whole
    # Commas within brackets, braces or quotes part no values: TOML itself knows where they do.
    listed = assignment(f"x=[{given}]")[1]
    return listed if isinstance(listed, list) else [assignment(f"x={each}")[1] for each in given.split(",") if each.strip()]


def _range(path: str, given: str) -> list[Any]:
    parts = given.split(":")
    logarithmic = parts[-1] == "log"
    try:
        low, high, counted = parts[:-1] if logarithmic else parts
        first, last, count = float(low), float(high), int(counted)
    except ValueError:
        raise KeyPathError(f"{path}={given} is no range", "write FROM:TO:COUNT, as in 0.1:0.9:5, or FROM:TO:COUNT:log") from None
    if count < 2 or first == last or not math.isfinite(last - first) or (logarithmic and min(first, last) <= 0):
        raise KeyPathError(f"{path}={given} is no range", "a range has two ends and at least two values; with :log both ends are above zero")
    if count > MOST_OF_RANGE:
        raise KeyPathError(f"{path}={given} has more than {MOST_OF_RANGE:,} values", "take fewer: each is a variant that is trained")
    shares = [place / (count - 1) for place in range(count)]
    values = [first * (last / first) ** share if logarithmic else first + (last - first) * share for share in shares]
    whole = all("." not in part and "e" not in part.lower() for part in (low, high))
    rounded: list[Any] = [round(value) if whole else float(f"{value:.6g}") for value in values]
    return list(dict.fromkeys(rounded))


def sweepable(merged: Merged, index: Index) -> list[str]:
    """The fields of a variant that hold one number, text or truth, as `sweep` names them."""
    parts = [("corpus", merged.corpus), ("model.embedding", merged.embedding), ("model.head", merged.head), ("model", merged.whole)]
    for number, layer in enumerate(merged.layers or []):
        parts += [(f"model.layers[{number}].mixer", layer.mixer), (f"model.layers[{number}].feedforward", layer.feedforward)]
    parts += [(part.id, part) for part in merged.recipe]
    plain = ("number", "integer", "string", "boolean")
    found = ["training.batch", "training.sequence"]
    for path, part in parts:
        if part is not None:
            properties = index.properties(part.id)
            found += [join(path, key) for key, schema in properties.items() if schema.get("type") in plain or "enum" in schema or "anyOf" in schema]
    return found


# --- Sweeps -----------------------------------------------------------------------------------------------------------------------------------


def sweep(
    experiment: Experiment, axes: Sequence[Axis], catalogue: Mapping[str, Any], *, variant: str = "", together: bool = False, most: int = MOST
) -> Experiment:
    """With a variant for each combination of values, or, `together`, for the n-th values of all axes; each is `variant` (default: the baseline)
    with these values in place of its own.

    Raises ExperimentError where a field is none of a variant's, where a value is refused by the catalogue, and where there would be more than `most`.
    """
    name = variant or experiment.baseline
    if together and len({len(each.values) for each in axes}) > 1:
        counts = ", ".join(f"{each.path} {len(each.values)}" for each in axes)
        raise ExperimentError([Problem("", None, f"fields that move together need as many values each: {counts}")])
    count = len(axes[0].values) if together else math.prod(len(each.values) for each in axes)
    if count > most:
        raise ExperimentError([Problem("", None, f"the sweep would make {count:,} variants, more than {most:,}", "fewer values, or --most N")])
    combinations = zip(*(each.values for each in axes), strict=True) if together else itertools.product(*(each.values for each in axes))
    index = Index(catalogue)
    source, merged = _variant(experiment, name, index)
    made = []
    for values in combinations:
        table = deepcopy(source)
        try:
            for each, value in zip(axes, values, strict=True):
                _apply(table, merged, index, each.path, value)
        except KeyPathError as error:
            raise ExperimentError([Problem(each.path, None, error.rule, error.hint)]) from error
        told = ", ".join(f"{each.label} {_told(value)}" for each, value in zip(axes, values, strict=True))
        made.append(table | {"name": told if name == experiment.baseline else f"{name}, {told}"})
    return _checked(experiment, _joined(experiment, made), catalogue)


def _told(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        return str(value["id"]).rpartition("/")[2]
    if isinstance(value, str):
        return value.rpartition("/")[2]
    return json.dumps(value, ensure_ascii=False).replace('"', "").replace(", ", "-").strip("[]")


def _variant(experiment: Experiment, name: str, index: Index) -> tuple[Tree, Merged]:
    """The table of a variant and what it is when merged. Raises ExperimentError where there is none of this name."""
    merged = {each.name: each for each in merge(experiment.data, index)}
    tables = {str(each.get("name")): each for each in list_of(experiment.data.get("variant")) if isinstance(each, dict)}
    if name not in merged or name not in tables:
        raise ExperimentError([Problem("variant", name, "there is no such variant", did_you_mean(name, tables))])
    return tables[name], merged[name]


def _apply(table: Tree, merged: Merged, index: Index, path: str, value: Any) -> None:
    """Put a value of a swept field into the table of a variant; what a variant can only replace as a whole is copied into it first."""
    steps = split(path)
    if steps[0] == "experiment":
        steps = steps[1:]
    if steps[:2] == ("training", "techniques"):
        steps = steps[2:]
    elif steps[0] == "techniques":
        steps = steps[1:]
    elif steps and steps[0] in PER_VARIANT:
        _put_part(table, merged, steps, path, value)
        return
    if not steps or not (isinstance(steps[0], int) or "/" in str(steps[0])):
        hint = "what may differ: corpus, model, training.batch, training.sequence, and techniques by their id"
        raise KeyPathError(f"{path} is the same for all variants, or unknown", hint)
    _put_technique(table, merged, index, steps, path, value)


def _put_part(table: Tree, merged: Merged, steps: Keys, path: str, value: Any) -> None:
    if steps[0] == "training" and (len(steps) != 2 or steps[1] not in ("batch", "sequence")):
        raise KeyPathError(f"{path} is no field of a variant", "training.batch and training.sequence are; techniques are named by their id")
    if steps[:2] == ("model", "layers"):
        own = model_table(table.get("model"))
        layers = own.get("layers") or [_layer(layer) for layer in merged.layers or []]
        if len(steps) > 2 and (not isinstance(steps[2], int) or steps[2] >= len(layers)):
            raise KeyPathError(f"{path} leads nowhere", f"there are {len(layers)} layers, written model.layers[0] and on")
        table["model"] = own | {"layers": deepcopy(layers)}
    changed = put(table, steps, value)
    table.clear()
    table.update(changed)


def _layer(layer: Any) -> Tree:
    parts = {key: deepcopy(part.table) for key, part in (("mixer", layer.mixer), ("feedforward", layer.feedforward)) if part is not None}
    return parts | {key: value for key, value in layer.table.items() if value is not None}


def _put_technique(table: Tree, merged: Merged, index: Index, steps: Keys, path: str, value: Any) -> None:
    recipe = {part.id: part for part in merged.recipe}
    name = index.canonical(str(steps[0])) if isinstance(steps[0], str) else ""
    if isinstance(steps[0], int) and steps[0] < len(merged.recipe):
        name = merged.recipe[steps[0]].id
    part = recipe.get(name)
    if part is None:
        raise KeyPathError(f"The recipe of {json.dumps(merged.name, ensure_ascii=False)} has no {steps[0]}", did_you_mean(str(steps[0]), recipe))
    if len(steps) == 1:
        raise KeyPathError(f"{path} names a technique, no field of it", f"write it like {join('', name, 'field')}=1,2")
    own = [_id(index, each) for each in list_of(table.get("techniques"))]
    techniques = list_of(table.get("techniques")) if name in own else [*list_of(table.get("techniques")), deepcopy(part.table)]
    place = own.index(name) if name in own else len(techniques) - 1
    table["techniques"] = [put(each, steps[1:], value) if n == place else each for n, each in enumerate(techniques)]


def _id(index: Index, technique: Any) -> str:
    """Today's id of a technique as it is written."""
    return index.canonical(technique if isinstance(technique, str) else str(technique.get("id")))


# --- Ablations --------------------------------------------------------------------------------------------------------------------------------


def ablate(experiment: Experiment, catalogue: Mapping[str, Any], *, variant: str = "", add_one: bool = False) -> Experiment:
    """With a variant for each technique that `variant` has beyond the baseline: the same without it; with `add_one`: the baseline with it alone.

    variant: default: the last that is not the baseline; the baseline itself loses its own techniques, less those without which nothing trains.
    Techniques that need a left-out one make a variant that cannot run: these are left out. Raises ExperimentError where nothing is left.
    """
    index, baseline = Index(catalogue), experiment.baseline
    others = [each.name for each in experiment.variants if each.name != baseline]
    name = variant or (others[-1] if others else baseline)
    source, merged = _variant(experiment, name, index)
    _, base = _variant(experiment, baseline, index)
    known = {_key(part) for part in base.recipe} if name != baseline else set()
    parts = [part for part in merged.recipe if _key(part) not in known]
    if add_one and name == baseline:
        raise ExperimentError([Problem("variant", name, "the baseline has nothing that could be added to it", "name another variant")])
    made = []
    for part in parts:
        short = part.id.rpartition("/")[2]
        table = _with_alone(experiment, baseline, part) if add_one else _without(source, part, index)
        made.append(table | {"name": f"{baseline} with {short} alone" if add_one else f"{name} without {short}"})
    before = {problem.sentence() for problem in experiment.problems(catalogue)}
    sound = [table for table in made if not _new_problems(experiment, table, catalogue, before)]
    if len(parts) < 2 or not sound:
        raise ExperimentError([Problem("variant", name, _nothing(name, parts, made), "put at least two techniques into its recipe")])
    return _joined(experiment, sound)


def _nothing(name: str, parts: Sequence[Part], made: Sequence[Tree]) -> str:
    if len(parts) < 2:
        return f"has {'one technique' if parts else 'no technique'} beyond the baseline, so there is nothing to leave out"
    return f"cannot run without any of its {len(made)} techniques"


def _key(part: Part) -> str:
    return json.dumps(part.table, sort_keys=True)


def _without(source: Tree, part: Part, index: Index) -> Tree:
    """A variant's table less one technique, be it its own or the base's."""
    table = deepcopy(source)
    table["techniques"] = [each for each in list_of(table.get("techniques")) if _id(index, each) != part.id]
    table["without"] = [*list_of(table.get("without")), part.id]
    if not part.path.startswith("training."):
        # Its own: where it took the place of one of the base, that one shall not come back, and where it did not there is nothing to drop.
        table["without"] = list_of(source.get("without"))
    return {key: value for key, value in table.items() if value != []}


def _with_alone(experiment: Experiment, baseline: str, part: Part) -> Tree:
    source = experiment.get(join("variant", baseline), {})
    return {**source, "techniques": [*list_of(source.get("techniques")), deepcopy(part.table)]}


def _new_problems(experiment: Experiment, table: Tree, catalogue: Mapping[str, Any], before: set[str]) -> list[Problem]:
    return [problem for problem in _joined(experiment, [table]).problems(catalogue) if problem.sentence() not in before]


# --- What both end with -------------------------------------------------------------------------------------------------------------------------


def _joined(experiment: Experiment, made: Sequence[Tree]) -> Experiment:
    """The experiment with more variants; a name that is taken gets a number."""
    taken, named = {each.name for each in experiment.variants}, []
    for table in made:
        name, number = str(table["name"]), 2
        while name in taken:
            name, number = f"{table['name']} ({number})", number + 1
        taken.add(name)
        named.append({"name": name, **{key: value for key, value in table.items() if key != "name"}})
    return experiment.with_variants(named)


def _checked(before: Experiment, after: Experiment, catalogue: Mapping[str, Any]) -> Experiment:
    """`after`, where it has no problem that `before` had not. Raises ExperimentError with those it has, each told once."""
    known = {problem.sentence() for problem in before.problems(catalogue)}
    found: dict[str, Problem] = {}
    for problem in after.problems(catalogue):
        if problem.sentence() not in known:
            found.setdefault(f"{problem.path.partition('.')[2]} {problem.value} {problem.rule}", problem)
    if found:
        raise ExperimentError(list(found.values()))
    return after
