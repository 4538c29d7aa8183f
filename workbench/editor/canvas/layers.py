"""Edits of a list of layers as the canvas makes them. Pure functions on plain tables; each returns the new list and what is chosen then."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from copy import deepcopy
from typing import Any

from engines.merging import list_of, table_of

Tree = dict[str, Any]
Layers = list[Tree]
Chosen = list[int]


def inserted(layers: Sequence[Tree], at: int, slot: str, plugin_id: str, mixer: str) -> tuple[Layers, Chosen]:
    """A new layer in front of layer `at`. A feed-forward needs a mixer beside it: that of the layer in front of it, else `mixer`."""
    before = layers[at - 1] if at > 0 else layers[0] if layers else {"mixer": {"id": mixer}}
    new: Tree = {"mixer": {"id": plugin_id}} if slot == "mixer" else {"mixer": deepcopy(before["mixer"]), "feedforward": {"id": plugin_id}}
    return [*deepcopy(list(layers[:at])), new, *deepcopy(list(layers[at:]))], [at]


def replaced(layers: Sequence[Tree], number: int, slot: str, plugin_id: str) -> tuple[Layers, Chosen]:
    """Another mixer or feed-forward in layer `number`."""
    made = deepcopy(list(layers))
    made[number][slot] = {"id": plugin_id}
    return made, [number]


def moved(layers: Sequence[Tree], numbers: Collection[int], to: int) -> tuple[Layers, Chosen]:
    """The layers `numbers`, in their order, in front of what is layer `to` now (len(layers): at the end)."""
    going = [deepcopy(layers[number]) for number in sorted(numbers)]
    staying = [(number, deepcopy(layer)) for number, layer in enumerate(layers) if number not in numbers]
    place = sum(number < to for number, _ in staying)
    kept = [layer for _, layer in staying]
    return [*kept[:place], *going, *kept[place:]], list(range(place, place + len(going)))


def duplicated(layers: Sequence[Tree], numbers: Collection[int]) -> tuple[Layers, Chosen]:
    """Copies of the layers `numbers` behind the last of them."""
    return pasted(layers, [layers[number] for number in sorted(numbers)], max(numbers) + 1)


def pasted(layers: Sequence[Tree], new: Sequence[Tree], at: int) -> tuple[Layers, Chosen]:
    return [*deepcopy(list(layers[:at])), *deepcopy(list(new)), *deepcopy(list(layers[at:]))], list(range(at, at + len(new)))


def removed(layers: Sequence[Tree], numbers: Collection[int]) -> tuple[Layers, Chosen]:
    left = [deepcopy(layer) for number, layer in enumerate(layers) if number not in numbers]
    return left, [min(min(numbers), len(left) - 1)] if left else []


def without_feedforward(layers: Sequence[Tree], number: int) -> tuple[Layers, Chosen]:
    made = deepcopy(list(layers))
    made[number].pop("feedforward", None)
    return made, [number]


def repeated(layers: Sequence[Tree], numbers: Collection[int], by: int) -> tuple[Layers, Chosen]:
    """The layers `numbers` stand so many times more often, once at least."""
    made = deepcopy(list(layers))
    for number in numbers:
        times = made[number].pop("repeat", 1)
        times = max(1, (times if isinstance(times, int) else 1) + by)
        if times > 1:
            made[number]["repeat"] = times
    return made, sorted(numbers)


def as_text(layers: Sequence[Tree]) -> str:
    """Layers as they are copied: JSON, which can be read and written elsewhere too."""
    return json.dumps({"layers": list(layers)}, indent=1)


def from_text(text: str) -> Layers:
    """Layers from the clipboard; empty where the text holds something else."""
    try:
        found = list_of(table_of(json.loads(text)).get("layers"))
    except ValueError:
        return []
    return found if all(isinstance(layer, dict) and table_of(layer.get("mixer")).get("id") for layer in found) else []
