"""Which fields of the plans go with a quantity: one field at a time, over the finished variants of a comparison.

The share of the variance of the quantity's ranks that a field accounts for: for numbers the square of Spearman's rank correlation rho
(Spearman 1904), for everything else the correlation ratio eta^2 = between groups / in all (Kruskal and Wallis 1952, who test the same ratio).
Beside it stands what chance gives: the share that one in twenty random assignments of the values reaches, and p, the part of them that reaches the
share found. For numbers the interval of rho comes from resampling variants. Fields that always change together share their credit and say so; what
acts only through another field, or first up and then down, is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.differences import text

FEWEST = 8
"""Variants below which nothing is said: a rank correlation of five can hardly be told from chance."""
DRAWS = 2000
RESAMPLES = 500
LEVEL = 0.95


@dataclass(frozen=True)
class Field:
    """A key of the plans that variants set to different values. numeric: they are numbers, where the variant has the field at all."""

    key: str
    values: Mapping[str, Any]
    numeric: bool


@dataclass(frozen=True)
class Importance:
    """What goes with one field. share: 0 to 1; rho, low, high: where it is a number; chance, p: see the module; n: variants.

    together: fields that cut the variants into the same groups.
    """

    key: str
    share: float
    rho: float | None
    low: float | None
    high: float | None
    chance: float
    p: float
    n: int
    together: tuple[str, ...] = ()

    @property
    def told(self) -> bool:
        """Whether the share is beyond what one in twenty random assignments reaches."""
        return self.share > self.chance


def fields(comparison: Mapping[str, Any]) -> list[Field]:
    """The fields in which variants differ, in the order of the plans; parts that are exchanged as a whole come with their own fields."""
    changes = {name: variant.get("differences") or () for name, variant in comparison["variants"].items()}
    plain: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {}
    for name, found in changes.items():
        own[name] = {}
        for each in found:
            plain.update(_leaves(each["key"], each["old"]))
            own[name].update(_leaves(each["key"], each["new"]))
    made = []
    for key in dict.fromkeys([*plain, *(key for leaves in own.values() for key in leaves)]):
        values = {
            name: own[name][key] if key in own[name] else None if _replaced(key, changes[name]) else plain.get(key) for name in comparison["variants"]
        }
        there = [value for value in values.values() if value is not None]
        if len({text(value) for value in values.values()}) > 1:
            made.append(Field(key, values, bool(there) and all(_is_number(value) for value in there) and len(set(there)) > 1))
    return made


def missing(comparison: Mapping[str, Any], quantity: str) -> int:
    """How many more variants with this quantity are needed before anything is said."""
    return max(0, FEWEST - len(_measured(comparison, quantity)))


def importance(comparison: Mapping[str, Any], quantity: str, *, seed: int = 0) -> list[Importance]:
    """How much of a quantity goes with each field, most first; nothing where variants are `missing`."""
    measured = _measured(comparison, quantity)
    if len(measured) < FEWEST:
        return []
    order = np.random.default_rng(seed)
    known = fields(comparison)
    found = []
    for field in known:
        names = [name for name in measured if not field.numeric or field.values[name] is not None]
        if len(names) >= FEWEST and len({text(field.values[name]) for name in names}) > 1:
            alike = tuple(other.key for other in known if other is not field and _alike(field, other, names))
            found.append(_importance(field, names, np.array([measured[name] for name in names]), order, alike))
    return sorted(found, key=lambda each: (-each.told, -each.share))


def _importance(field: Field, names: Sequence[str], figures: np.ndarray, order: np.random.Generator, together: tuple[str, ...]) -> Importance:
    """figures: (n,) of these variants."""
    y = ranks(figures)
    n = len(names)
    drawn = np.argsort(order.random((DRAWS, n)), axis=1)
    rho = low = high = None
    if field.numeric:
        x = ranks(np.array([float(field.values[name]) for name in names]))
        rho = float(_correlation(x[None], y[None])[0])
        share, random = rho**2, _correlation(x[None], y[drawn]) ** 2
        again = order.integers(0, n, (RESAMPLES, n))
        low, high = (float(each) for each in np.nanquantile(_correlation(_ranked(x[again]), _ranked(y[again])), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    else:
        groups = np.unique([text(field.values[name]) for name in names], return_inverse=True)[1]
        share, random = float(_ratio(groups, y[None])[0]), _ratio(groups, y[drawn])
    reached = int(np.sum(random >= share - 1e-12))
    return Importance(field.key, share, rho, low, high, float(np.quantile(random, LEVEL)), (1 + reached) / (1 + DRAWS), n, together)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties share the mean of theirs. values: (n,)."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place].astype(float)


def _ranked(values: np.ndarray) -> np.ndarray:
    return np.stack([ranks(row) for row in values])


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each row; NaN where a resample holds one value alone. x, y: (draws or 1, n)."""
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    below = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    return np.divide((x * y).sum(1), below, out=np.full(below.shape, np.nan), where=below > 0)


def _ratio(groups: np.ndarray, y: np.ndarray) -> np.ndarray:
    """eta^2 of each row. groups: (n,) from 0; y: (draws, n)."""
    y = y - y.mean(1, keepdims=True)
    whole = (y**2).sum(1)
    between = sum((y[:, groups == group].sum(1) ** 2 / np.sum(groups == group) for group in range(groups.max() + 1)), np.zeros(len(y)))
    return np.divide(between, whole, out=np.zeros(len(y)), where=whole > 0)


def _measured(comparison: Mapping[str, Any], quantity: str) -> dict[str, float]:
    results = {name: variant["results"].get(quantity) for name, variant in comparison["variants"].items()}
    found = {name: float(result["value"]) for name, result in results.items() if result is not None and result["value"] is not None}
    return found if len(set(found.values())) > 1 else {}


def _alike(field: Field, other: Field, names: Sequence[str]) -> bool:
    """Whether two fields cut these variants into the same groups."""
    pairs = {(text(field.values[name]), text(other.values[name])) for name in names}
    return len({one for one, _ in pairs}) == len(pairs) == len({two for _, two in pairs})


def _replaced(key: str, changes: Sequence[Mapping[str, Any]]) -> bool:
    return any(key.startswith(f"{each['key']}.") for each in changes)


def _leaves(key: str, value: Any) -> dict[str, Any]:
    """A part by its id and its fields; everything else as it is."""
    return dict(_fields(key, value))


def _fields(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield key, value
        return
    if "id" in value:
        yield key, value["id"]
    for name, each in value.items():
        if name != "id":
            yield from _fields(f"{key}.{name}", each)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
