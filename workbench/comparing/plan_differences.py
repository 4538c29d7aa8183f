"""What plans say otherwise, as rows to show: variants against the baseline, or one experiment against another. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.differences import differences, text

EVERY = "all variants"
ONLY_HERE = "the whole variant"


@dataclass(frozen=True)
class Row:
    """One difference: of which variant, at which key, old value and new as text."""

    variant: str
    key: str
    old: str
    new: str


def of_variants(comparison: Mapping[str, Any]) -> list[Row]:
    """What the plan of each variant says otherwise than the baseline's, in the order of the experiment."""
    return [
        Row(name, each["key"], text(each["old"]), text(each["new"]))
        for name, variant in comparison["variants"].items()
        for each in variant.get("differences") or ()
    ]


def between(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Two experiments as {variant: plan}: variants by name; what all common variants differ in stands once."""
    common = [name for name in old if name in new]
    found = [Row(name, each["key"], text(each["old"]), text(each["new"])) for name in common for each in differences(old[name], new[name])]
    shared = [row for row in found if len(common) > 1 and all(Row(name, row.key, row.old, row.new) in found for name in common)]
    alike = {(row.key, row.old, row.new): Row(EVERY, row.key, row.old, row.new) for row in shared}
    rows = list(alike.values()) + [row for row in found if (row.key, row.old, row.new) not in alike]
    rows += [Row(name, ONLY_HERE, "there", text(None)) for name in old if name not in new]
    return rows + [Row(name, ONLY_HERE, text(None), "there") for name in new if name not in old]
