"""Operations on the tables of an experiment file while it is being edited. Pure functions on plain data: no Qt, no torch.

A *scope* says where an edit lands: None is the base that every variant starts from (`[model]`, `[training]`), a number is a variant, whose
tables then hold only what differs from the base. Functions change the tree they get; the document keeps the history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from engines import variants as edits
from engines.merging import BLOCKS, Index, Merged, Part, is_whole, list_of, model_table, table_of
from engines.recipes import Scope as Scope
from engines.recipes import effective as effective
from engines.recipes import set_recipe as set_recipe
from engines.teachers import REFERENCES
from engines.variants import baseline as baseline
from engines.variants import remove_variant as remove_variant
from engines.variants import rename_variant as rename_variant
from engines.variants import variant_names as variant_names

Tree = dict[str, Any]
SLOTS = ("embedding", "head")
MOST_LAYERS_IN_WORDS = 4


def starting_point() -> Tree:
    """A new experiment: one variant on the embedded corpus, small enough to finish within a minute on one core."""
    return {
        "experiment": {
            "name": "New experiment",
            "task": "language_model",
            "corpus": {"id": "corpora/python_stdlib"},
            "budget": {"tokens": 200_000},
            "seeds": [0],
            "baseline": "baseline",
        },
        "model": {
            "embedding": {"id": "embeddings/lookup", "width": 128},
            "layers": [{"mixer": {"id": "recurrent/lstm", "width": 128}}],
            "head": {"id": "softmax/full"},
        },
        "training": {"batch": 20, "sequence": 35, "techniques": [{"id": "optimization/adam"}]},
        "variant": [{"name": "baseline"}],
    }


# --- What a scope looks like --------------------------------------------------------------------------------------------------------------


def trial(data: Tree, index: Index, merged: Merged) -> Tree:
    """Sizes and device of a variant as certificates take them (batch, length, width, device); a width only where the embedding states one."""
    width = (merged.embedding.table if merged.embedding else {}).get("width")
    if width is None and merged.embedding is not None:
        width = index.properties(merged.embedding.id).get("width", {}).get("default")
    found = {"batch": merged.training.get("batch") or 20, "length": merged.training.get("sequence") or 35, "width": width}
    sizes = {key: value for key, value in found.items() if isinstance(value, int) and value > 0}
    return {**sizes, "device": str(table_of(data.get("experiment")).get("device", "auto"))}


def raw_layers(merged: Merged) -> list[Tree]:
    """The layers of a merged variant as tables for the file."""
    layers = []
    for layer in merged.layers or []:
        table: Tree = {"mixer": deepcopy(layer.mixer.table) if layer.mixer else {"id": ""}}
        if layer.feedforward is not None:
            table["feedforward"] = deepcopy(layer.feedforward.table)
        table.update({key: value for key, value in layer.table.items() if value is not None})
        layers.append(table)
    return layers


# --- Edits of the model and the recipe ----------------------------------------------------------------------------------------------------


def set_whole(data: Tree, index: Index, scope: Scope, table: Tree | None) -> None:
    """Choose or change a whole model; None: blocks again, those of the base where it has some."""
    base = effective(data, index, None).whole
    if scope is None:
        data["model"] = table or starting_point()["model"]
        return
    variant = _variant(data, scope)
    change = (None if base is None else starting_point()["model"]) if table is None else _change(base, table)
    if change is None:
        variant.pop("model", None)
    else:
        variant["model"] = change


def _with_blocks(data: Tree, index: Index, scope: Scope) -> None:
    """Who chooses a block wants no whole model in its place."""
    if effective(data, index, scope).whole is not None:
        set_whole(data, index, scope, None)


def set_block(data: Tree, index: Index, scope: Scope, slot: str, table: Tree) -> None:
    """Choose or change the embedding or the head ("embedding", "head")."""
    _with_blocks(data, index, scope)
    if scope is None:
        data.setdefault("model", {})[slot] = table
        return
    base = getattr(effective(data, index, None), slot)
    _set_or_drop(_variant(data, scope), "model", slot, _change(base, table))


def set_corpus(data: Tree, index: Index, scope: Scope, table: Tree) -> None:
    if scope is None:
        data.setdefault("experiment", {})["corpus"] = table
        return
    change = _change(effective(data, index, None).corpus, table)
    variant = _variant(data, scope)
    if change is None:
        variant.pop("corpus", None)
    else:
        variant["corpus"] = change


def set_layers(data: Tree, index: Index, scope: Scope, layers: Sequence[Tree]) -> None:
    """Replace the list of layers."""
    _with_blocks(data, index, scope)
    if scope is None:
        data.setdefault("model", {})["layers"] = list(layers)
        return
    same = list(layers) == raw_layers(effective(data, index, None))
    _set_or_drop(_variant(data, scope), "model", "layers", None if same else list(layers))


def put_in(data: Tree, index: Index, scope: Scope, entry: Mapping[str, Any]) -> None:
    """Put a corpus or a block of the catalogue where it belongs: a mixer is a new layer, a feed-forward goes into the last one."""
    table, slot = {"id": entry["id"]}, entry["slot"]
    if entry["kind"] == "corpus":
        set_corpus(data, index, scope, table)
    elif slot == "model":
        set_whole(data, index, scope, table)
    elif slot in SLOTS:
        set_block(data, index, scope, slot, table)
    else:
        layers = raw_layers(effective(data, index, scope))
        if slot == "mixer":
            layers.append({"mixer": table})
        elif layers:
            layers[-1]["feedforward"] = table
        else:
            layers.append({"mixer": {"id": "recurrent/lstm"}, "feedforward": table})
        set_layers(data, index, scope, layers)


def set_training(data: Tree, scope: Scope, key: str, value: Any) -> None:
    """Set `batch` or `sequence`."""
    base = data.setdefault("training", {})
    if scope is None:
        base[key] = value
        return
    default = {"batch": 20, "sequence": 35}.get(key)
    _set_or_drop(_variant(data, scope), "training", key, None if value == base.get(key, default) else value)


def revert(data: Tree, scope: int, key: str) -> None:
    """Give up what a variant changes: "model" (all of it), "embedding", "head", "layers", "corpus", "batch", "sequence" or "recipe"."""
    variant = _variant(data, scope)
    if key == "recipe":
        variant.pop("techniques", None)
        variant.pop("without", None)
    elif key in ("corpus", "model"):
        variant.pop(key, None)
    else:
        _set_or_drop(variant, "training" if key in ("batch", "sequence") else "model", key, None)


def _variant(data: Tree, scope: int) -> Tree:
    variant = data["variant"][scope]
    assert isinstance(variant, dict)
    return variant


def _change(base: Part | None, table: Tree) -> Tree | None:
    """The shortest table that turns the base's choice into this one; None where they are equal."""
    if base is None or base.id != table.get("id") or not set(base.table) <= set(table):
        return table
    differing = {key: value for key, value in table.items() if key not in base.table or base.table[key] != value}
    return differing or None


def _set_or_drop(variant: Tree, table: str, key: str, value: Any) -> None:
    inner = variant.get(table)
    if not isinstance(inner, dict):
        inner = {}
    if value is None:
        inner.pop(key, None)
    else:
        inner[key] = value
    if inner:
        variant[table] = inner
    else:
        variant.pop(table, None)


# --- Edits of the list of variants ----------------------------------------------------------------------------------------------------------


def add_variant(data: Tree, wish: str = "variant", copy_of: int | None = None) -> int:
    """Append a variant under a free name, empty or a copy; returns its number."""
    if copy_of is not None:
        wish = f"{variant_names(data)[copy_of] or wish} copy"
    return edits.add_variant(data, edits.free_name(data, wish), like=copy_of)


def names_models(schema: Tree) -> bool:
    """Whether a plugin has a parameter that names a variant."""
    return any(each.get("reference") in REFERENCES for each in table_of(schema.get("properties")).values())


def set_baseline(data: Tree, name: str) -> None:
    data.setdefault("experiment", {})["baseline"] = name


# --- What a variant changes, in words -------------------------------------------------------------------------------------------------------


def differences(data: Tree, index: Index, number: int) -> list[str]:
    """What a variant changes of the base, a few words each: "head: adaptive (cutoffs 2000, 10000)", "+ magnitude (sparsity 0.8)"."""
    variant = table_of(list_of(data.get("variant"))[number])
    model, training = model_table(variant.get("model")), table_of(variant.get("training"))
    words = []
    if is_whole(model) or any(key not in BLOCKS for key in model):
        words.append(f"model: {_choice(model)}")
        model = {}
    if isinstance(variant.get("corpus"), dict):
        words.append(f"corpus: {_choice(variant['corpus'])}")
    words += [f"{slot}: {_choice(model[slot])}" for slot in SLOTS if model.get(slot)]
    if isinstance(model.get("layers"), list):
        words.append("layers: " + layers_words(model["layers"]))
    words += [f"{key} {training[key]}" for key in ("batch", "sequence") if key in training]
    words += [f"− {short_id(str(name))}" for name in list_of(variant.get("without"))]
    words += [f"+ {_choice(table)}" for table in list_of(variant.get("techniques"))]
    return words


def layers_words(layers: Sequence[Any]) -> str:
    """Layers in a few words, equal neighbours together: "2 × lstm, attention + dense"."""
    groups: list[tuple[str, int]] = []
    for layer in layers:
        table = table_of(layer)
        name, times = layer_words({**table, "repeat": 1}), table.get("repeat", 1)
        times = times if isinstance(times, int) else 1
        if groups and groups[-1][0] == name:
            times += groups.pop()[1]
        groups.append((name, times))
    if len(groups) > MOST_LAYERS_IN_WORDS:
        return f"{sum(times for _, times in groups)} of {len({name for name, _ in groups})} kinds"
    return ", ".join(f"{times} × {name}" if times != 1 else name for name, times in groups) or "none"


def layer_words(layer: Tree) -> str:
    """One layer in a few words: "2 × lstm", "attention + dense"."""
    names = [short_id(_id(layer[key])) for key in ("mixer", "feedforward") if layer.get(key)]
    repeat = layer.get("repeat", 1)
    return (f"{repeat} × " if repeat != 1 else "") + " + ".join(names)


def _id(choice: Any) -> str:
    return str(choice) if isinstance(choice, str) else str(table_of(choice).get("id", ""))


def _choice(choice: Any) -> str:
    inside = values_words(parameters(table_of(choice)))
    name = short_id(_id(choice))
    return f"{name} ({inside})" if name and inside else name or inside


def values_words(values: Mapping[str, Any]) -> str:
    """Parameters in few words: "heads 4, tied yes"."""
    return ", ".join(f"{key} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    return "yes" if value is True else "no" if value is False else str(value)


def short_id(name: str) -> str:
    """`softmax/adaptive` is `adaptive`."""
    return name.rpartition("/")[2].replace("_", " ")


def parameters(table: Mapping[str, Any]) -> Tree:
    """A choice without its id."""
    return {key: value for key, value in table.items() if key != "id"}
