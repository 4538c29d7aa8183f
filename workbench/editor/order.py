"""What the order of a recipe means: techniques on one hook act in it, one after the other; between hooks the engine's order is fixed. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engines.merging import Index

PLACES = {
    "data": "batches", "model": "building the model", "wrap": "wrapping the model", "optimizer": "the optimizer", "schedule": "the schedule",
    "loss": "the loss", "gradient": "gradients", "step": "each update", "validated": "validation", "weights": "the weights that are judged",
    "finish": "the trained model",
}  # fmt: skip
"""What a technique acts on by its hook, in the order in which the engine calls them."""
STAGES = {
    "Before": ("data", "model", "wrap"),
    "Training": ("optimizer", "schedule", "loss", "gradient", "step", "validated", "weights"),
    "After": ("finish",),
}


def stages(entry: Mapping[str, Any]) -> str:
    """When a technique acts, in a few words: "Training · After"."""
    return " · ".join(stage for stage, hooks in STAGES.items() if any(hook in hooks for hook in entry.get("hooks", ())))


def places(hooks: Sequence[str]) -> str:
    """What hooks act on: "the loss, each update and the trained model"."""
    return joined([PLACES.get(hook, hook) for hook in hooks])


def joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def moved(ids: Sequence[str], seat: int, to: int) -> list[str]:
    order = list(ids)
    order.insert(to, order.pop(seat))
    return order


def hindrance(ids: Sequence[str], index: Index, seat: int, to: int) -> str:
    """Why a technique cannot be moved from a seat to another: a sentence; empty where it can."""
    wrong = _wrong(moved(ids, seat, to), index) - _wrong(ids, index)
    return next((f"{_title(late, index)} must stand after {_title(early, index)}." for late, early in sorted(wrong)), "")


def _wrong(ids: Sequence[str], index: Index) -> set[tuple[str, str]]:
    """(technique, what it must stand after) of each pair that stands the other way round."""
    found = set()
    for seat, name in enumerate(ids):
        after = {index.canonical(other) for other in (index.entry(name) or {}).get("after", ())}
        found |= {(name, other) for other in map(index.canonical, ids[seat + 1 :]) if other in after}
    return found


def consequence(ids: Sequence[str], index: Index, seat: int, to: int) -> str:
    """What moving a technique from a seat to another changes, as a sentence."""
    own = _hooks(ids[seat], index)
    passed = ids[to:seat] if to < seat else ids[seat + 1 : to + 1]
    met = [name for name in passed if set(own) & set(_hooks(name, index))]
    title = _title(ids[seat], index)
    if not met:
        return f"{title} was moved. It acts elsewhere than what it passed, so nothing changes in training."
    shared = [hook for hook in own if any(hook in _hooks(name, index) for name in met)]
    return f"{title} now acts {'before' if to < seat else 'after'} {joined([_title(name, index) for name in met])} on {places(shared)}."


def _hooks(name: str, index: Index) -> list[str]:
    return list((index.entry(name) or {}).get("hooks", ()))


def _title(name: str, index: Index) -> str:
    return str((index.entry(name) or {}).get("title") or name)
