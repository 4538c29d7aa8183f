"""From the tables of an experiment file to what each variant really is: merging, defaults, absolute paths, plans.

A table with `id` replaces, without `id` merges; lists replace; a `model` with `id` (or `factory`) is a whole model in place of the blocks,
and a variant that names blocks replaces a whole model of the base; a variant's technique of the same id or group replaces the base one in
place, others are appended, `without` drops. Every merged part remembers where each of its keys stands in the file, so that a problem can
name the place. Works on data with holes (None, missing keys), so that all problems can be found at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.problems import join
from engines.teachers import MODEL, is_path

Tree = dict[str, Any]


class Index:
    """Look-ups in a catalogue ({"digest", "plugins": {id: entry}}): entries, old ids, groups."""

    def __init__(self, catalogue: Mapping[str, Any]) -> None:
        self.entries: Mapping[str, Tree] = catalogue.get("plugins", {})
        self._was = {old: new for new, entry in self.entries.items() for old in entry.get("was", ())}

    def canonical(self, name: str) -> str:
        """The id that `name` has today."""
        return name if name in self.entries else self._was.get(name, name)

    def entry(self, name: str) -> Tree | None:
        return self.entries.get(self.canonical(name))

    def group(self, name: str) -> str:
        """Group of a technique; the empty string where it has none or is unknown."""
        return str((self.entry(name) or {}).get("group") or "")

    def properties(self, name: str) -> Mapping[str, Tree]:
        """JSON Schema of each parameter."""
        found: Mapping[str, Tree] = ((self.entry(name) or {}).get("parameters") or {}).get("properties", {})
        return found


@dataclass(frozen=True)
class Part:
    """One chosen plugin after merging. `places[key]` is the path in the file of that key, `path` that of the table itself."""

    table: Tree
    places: dict[str, str]
    path: str

    @property
    def id(self) -> str:
        name = self.table.get("id")
        return name if isinstance(name, str) else ""

    def place(self, key: str) -> str:
        return self.places.get(key, self.path)


@dataclass(frozen=True)
class LayerPart:
    """One entry of `layers`; `table` keeps repeat, residual and norm."""

    mixer: Part | None
    feedforward: Part | None
    table: Tree


@dataclass(frozen=True)
class Merged:
    """One variant after merging. A part is None where the file does not give it."""

    name: str
    path: str
    task: Part | None
    corpus: Part | None
    embedding: Part | None
    layers: list[LayerPart] | None
    head: Part | None
    whole: Part | None
    """A whole model in place of embedding, layers and head, which are then None."""
    training: Tree
    budget: Tree = field(default_factory=dict)
    """Its own in place of the experiment's; empty where it has none."""
    recipe: list[Part] = field(default_factory=list)
    recipe_path: str = "training.techniques"

    def parts(self) -> Iterator[tuple[Part, str]]:
        """Every part with what it must be: task, corpus, technique or the slot of a block."""
        named = [(self.task, "task"), (self.corpus, "corpus"), (self.embedding, "embedding"), (self.head, "head"), (self.whole, "model")]
        for layer in self.layers or []:
            named += [(layer.mixer, "mixer"), (layer.feedforward, "feedforward")]
        named += [(part, "technique") for part in self.recipe]
        yield from ((part, role) for part, role in named if part is not None)


def table_of(value: Any) -> Tree:
    """The value where it is a table, else an empty one: of data with holes."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one: of data with holes."""
    return value if isinstance(value, list) else []


BLOCKS = ("embedding", "layers", "head")
"""What a model is assembled from."""
OWN = "models/own"
"""What `factory` in a model without id stands for."""


def model_table(value: Any) -> Tree:
    """`model` as written, a text standing for its id."""
    return {"id": value} if isinstance(value, str) else table_of(value)


def is_whole(model: Tree) -> bool:
    """Whether a `model` table names a whole model instead of the blocks it is assembled from."""
    return "id" in model or "factory" in model


def part_of(index: Index, value: Any, path: str, family: str = "") -> Part | None:
    """A choice as written (a text or a table) as a Part with today's id; None where there is none."""
    if isinstance(value, str):
        table, places = {"id": value}, {"id": path}
    elif isinstance(value, dict):
        table, places = dict(value), {key: join(path, key) for key in value}
    else:
        return None
    name = table.get("id")
    if isinstance(name, str):
        known = index.canonical(name)
        table["id"] = f"{family}/{name}" if family and "/" not in name and known not in index.entries else known
    return Part(table, places, path)


def overlay(base: Part | None, change: Part | None) -> Part | None:
    """`change` over `base`: with an id it replaces, without one its keys are merged in."""
    if base is None or change is None or change.id:
        return change if change is not None else base
    return Part({**base.table, **change.table}, {**base.places, **change.places}, change.path)


def whole_of(index: Index, value: Any, path: str) -> Part | None:
    """The whole model that `model` as written names; None where it names none."""
    part = part_of(index, value, path) if is_whole(model_table(value)) else None
    return Part({"id": OWN, **part.table}, part.places, path) if part is not None else None


def _change_of_model(index: Index, base: Part | None, value: Any, path: str) -> Part | None:
    """The whole model of a variant: its own, or the base's with parameters merged in; None where the variant is assembled from blocks."""
    change = model_table(value)
    if base is not None and not any(key in change for key in BLOCKS) and "id" not in change and (base.id == OWN or "factory" not in change):
        return overlay(base, part_of(index, change, path)) if change else base
    return whole_of(index, value, path)


def _layers(index: Index, value: Any, path: str) -> list[LayerPart] | None:
    if not isinstance(value, list):
        return None
    layers = []
    for number, item in enumerate(value):
        here, table = join(path, number), table_of(item)
        mixer = part_of(index, table.get("mixer"), join(here, "mixer"))
        feedforward = part_of(index, table.get("feedforward"), join(here, "feedforward"))
        layers.append(LayerPart(mixer, feedforward, {key: table.get(key) for key in ("repeat", "residual", "norm")}))
    return layers


def _recipe(index: Index, value: Any, path: str) -> list[Part]:
    parts = (part_of(index, item, join(path, number)) for number, item in enumerate(list_of(value)))
    return [part for part in parts if part is not None]


def merge_recipes(index: Index, base: list[Part], own: list[Part], without: set[str]) -> list[Part]:
    """Base techniques less `without`; own ones take the place of a base one of the same id or group, the others come last."""
    recipe = [part for part in base if part.id not in without]
    replaceable = {part.path for part in recipe}
    for part in own:
        group = index.group(part.id)
        seats = [n for n, old in enumerate(recipe) if old.path in replaceable]
        seat = next((n for n in seats if recipe[n].id == part.id), None)
        if seat is None and group:
            seat = next((n for n in seats if index.group(recipe[n].id) == group), None)
        if seat is None:
            recipe.append(part)
        else:
            recipe[seat] = part
    return recipe


def merge(data: Tree, index: Index) -> list[Merged]:
    """Every variant of an experiment file, merged over the base, in the order of the file."""
    experiment, training = (table_of(data.get(key)) for key in ("experiment", "training"))
    model = model_table(data.get("model"))
    base_whole = whole_of(index, data.get("model"), "model")
    model = {} if base_whole else model
    task = part_of(index, experiment.get("task"), "experiment.task", "tasks")
    corpus = part_of(index, experiment.get("corpus"), "experiment.corpus", "corpora")
    base = {slot: part_of(index, model.get(slot), f"model.{slot}") for slot in ("embedding", "head")}
    layers = _layers(index, model.get("layers"), "model.layers")
    recipe = _recipe(index, training.get("techniques"), "training.techniques")
    merged = []
    for number, value in enumerate(list_of(data.get("variant"))):
        variant, path = table_of(value), f"variant[{number}]"
        if not isinstance(variant.get("name"), str):
            continue
        change, own_training = model_table(variant.get("model")), table_of(variant.get("training"))
        whole = _change_of_model(index, base_whole, variant.get("model"), f"{path}.model")
        own = _recipe(index, variant.get("techniques"), f"{path}.techniques")
        without = {index.canonical(name) for name in list_of(variant.get("without")) if isinstance(name, str)}
        own_layers = _layers(index, change.get("layers"), f"{path}.model.layers")
        merged.append(
            Merged(
                name=variant["name"],
                path=path,
                task=task,
                corpus=overlay(corpus, part_of(index, variant.get("corpus"), f"{path}.corpus", "corpora")),
                embedding=None if whole else overlay(base["embedding"], part_of(index, change.get("embedding"), f"{path}.model.embedding")),
                layers=None if whole else layers if own_layers is None else own_layers,
                head=None if whole else overlay(base["head"], part_of(index, change.get("head"), f"{path}.model.head")),
                whole=whole,
                training={key: own_training.get(key, training.get(key)) for key in ("batch", "sequence")},
                budget=table_of(variant.get("budget")),
                recipe=merge_recipes(index, recipe, own, without),
                recipe_path=f"{path}.techniques" if own else f"{path}.without" if without else "training.techniques",
            )
        )
    return merged


def _filled(part: Part | None, index: Index, folder: Path, variants: Collection[str] = ()) -> Tree | None:
    """The table of a part with every default filled in and paths made absolute, so that a plan stands alone. variants: names that are no paths."""
    if part is None:
        return None
    properties = index.properties(part.id)
    defaults = {key: schema["default"] for key, schema in properties.items() if "default" in schema}
    table = {"id": part.id, **defaults, **part.table}

    def of_file(key: str, value: Any) -> bool:
        schema = properties.get(key, {})
        model = schema.get("reference") == MODEL and isinstance(value, str) and value not in variants and is_path(value)
        return model or bool(schema.get("path"))

    return {key: _absolute(value, folder) if of_file(key, value) else value for key, value in table.items()}


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    return str((folder / Path(value).expanduser()).resolve()) if isinstance(value, str) and value else value


def plan_of(variant: Merged, settings: Tree, index: Index, folder: Path) -> Tree:
    """What a worker gets for one variant, pure JSON.

    settings: name, budget, device, threads, training, measure and targets of the experiment, defaults filled in; names of its variants.
    """
    layers = [
        {
            "mixer": _filled(layer.mixer, index, folder),
            "feedforward": _filled(layer.feedforward, index, folder),
            "repeat": layer.table["repeat"] or 1,
            "residual": layer.table["residual"],
            "norm": layer.table["norm"],
        }
        for layer in variant.layers or []
    ]
    return {
        "experiment": settings["name"],
        "variant": variant.name,
        "task": _filled(variant.task, index, folder),
        "corpus": _filled(variant.corpus, index, folder),
        "budget": variant.budget or settings["budget"],
        "device": settings["device"],
        "threads": settings["threads"],
        "model": _filled(variant.whole, index, folder)
        or {"embedding": _filled(variant.embedding, index, folder), "layers": layers, "head": _filled(variant.head, index, folder)},
        "training": {key: value or settings["training"][key] for key, value in variant.training.items()},
        "techniques": [_filled(part, index, folder, settings["variants"]) for part in variant.recipe],
        "measure": settings["measure"],
        "targets": settings["targets"],
        "folder": str(folder),
    }
