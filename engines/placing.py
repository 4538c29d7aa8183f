"""From a place in a plan back to the place in the file: problems that only the built model shows, told where a person can mend them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engines.keypaths import KeyPathError, Keys, locate, look, split
from engines.merging import Merged, Part, Tree, table_of
from engines.problems import Problem, join


def placed(problems: Iterable[Problem], variants: Sequence[Merged], data: Tree) -> list[Problem]:
    """The same problems with paths of the file instead of `VARIANT.path of the plan`; one that several variants share is told once."""
    by_name = {variant.name: variant for variant in variants}
    found: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        try:
            name, *steps = split(problem.path)
        except KeyPathError:
            name, steps = "", []
        variant = by_name.get(str(name))
        path = problem.path if variant is None else _place(variant, tuple(steps), data)
        found.setdefault((path, problem.rule), replace(problem, path=path))
    return list(found.values())


def _place(variant: Merged, steps: Keys, data: Tree) -> str:
    part, rest = _part(variant, steps)
    if part is not None:
        if not rest:
            return part.path
        first = str(rest[0])
        return join(part.places.get(first, join(part.path, first)), *rest[1:])

    def own(table: str) -> Tree:
        return table_of(table_of(look(data, locate(data, variant.path))).get(table))

    match steps:
        case ("training", key) if key in ("batch", "sequence"):
            return join(variant.path if key in own("training") else "", "training", key)
        case ("budget", *_) if variant.budget:
            return join(variant.path, *steps)
        case ("device" | "threads" | "budget", *_):
            return join("experiment", *steps)
        case ("techniques", *_):
            return variant.recipe_path
        case ("model", "layers", *below):
            return join(variant.path if "layers" in own("model") else "", "model", "layers", *below)
    return variant.path


def _part(variant: Merged, steps: Keys) -> tuple[Part | None, Keys]:
    """The part that a path of the plan leads into, and what is left of the path."""
    match steps:
        case ("task", *rest):
            return variant.task, tuple(rest)
        case ("corpus", *rest):
            return variant.corpus, tuple(rest)
        case ("model", *rest) if variant.whole is not None:
            return variant.whole, tuple(rest)
        case ("model", "embedding", *rest):
            return variant.embedding, tuple(rest)
        case ("model", "head", *rest):
            return variant.head, tuple(rest)
        case ("model", "layers", int(number), ("mixer" | "feedforward") as slot, *rest) if number < len(variant.layers or []):
            layer = (variant.layers or [])[number]
            return (layer.mixer if slot == "mixer" else layer.feedforward), tuple(rest)
        case ("techniques", int(number), *rest) if number < len(variant.recipe):
            return variant.recipe[number], tuple(rest)
    return None, steps
