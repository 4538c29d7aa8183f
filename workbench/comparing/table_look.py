"""What of a comparison the verdict table shows: which figures, which variants, which seeds; as a person chose it, remembered in the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from PySide6.QtCore import QSettings

from engines.report import labels

SETTING = "compare/verdicts"


@dataclass(frozen=True)
class TableLook:
    """Holds for any experiment: a figure that one of them has not is passed over there.

    everything: all figures, not only those that judge. chosen: figures shown (True) or left out (False) whatever else holds. pinned: figures that
    stay at the left beside the names, in this order. differences: only figures in which some variant differs from the baseline. seeds: variants
    are unfolded into their seeds.
    """

    everything: bool = False
    chosen: Mapping[str, bool] = field(default_factory=dict)
    pinned: Sequence[str] = ()
    differences: bool = False
    seeds: bool = False

    def shown(self, key: str, on: bool) -> TableLook:
        """With this figure shown, or left out (then it is pinned no longer)."""
        return replace(self, chosen={**self.chosen, key: on}, pinned=[each for each in self.pinned if on or each != key])

    def pin(self, key: str, on: bool) -> TableLook:
        """With this figure pinned behind the others that are, and shown; or not pinned."""
        others = [each for each in self.pinned if each != key]
        return replace(self, chosen={**self.chosen, key: True}, pinned=[*others, key]) if on else replace(self, pinned=others)

    def all_figures(self, everything: bool) -> TableLook:
        """All figures, or those that judge; single choices and pins are given up."""
        return replace(self, everything=everything, chosen={}, pinned=())

    def keys(self, comparison: Mapping[str, Any], names: Sequence[str]) -> list[str]:
        """The figures to show for these variants, the pinned ones first."""
        judging, all_of_them = labels.columns(comparison), every_key(comparison)
        standing = set(all_of_them if self.everything or not judging else judging)
        wanted = [key for key in all_of_them if self.chosen.get(key, key in standing)]
        pinned = [key for key in self.pinned if key in wanted]
        return pinned + [key for key in wanted if key not in pinned and (not self.differences or differs(comparison, key, names))]


def read(settings: QSettings) -> TableLook:
    """As it was left; as it is at first where nothing, or something else, is stored."""
    try:
        stored = json.loads(str(settings.value(SETTING, "{}")))
        found = TableLook(**stored)
        chosen = {str(key): bool(on) for key, on in dict(found.chosen).items()}
        return replace(found, chosen=chosen, pinned=[str(key) for key in found.pinned])
    except (ValueError, TypeError):
        return TableLook()


def write(look: TableLook, settings: QSettings) -> None:
    """Remember it."""
    settings.setValue(SETTING, json.dumps(asdict(look)))


# --- What a comparison holds ----------------------------------------------------------------------------------------------------------------


def every_key(comparison: Mapping[str, Any]) -> list[str]:
    """All figures that were measured: those that judge, in the order of the experiment, then the others by name."""
    judging = labels.columns(comparison)
    return judging + labels.other_keys(comparison, judging)


def differs(comparison: Mapping[str, Any], key: str, names: Sequence[str]) -> bool:
    """Whether one of these variants is not, in this figure, what the baseline is: exactly, or by the verdict.

    Where the data decide nothing and the figures are not equal, that is no proof of sameness: it differs.
    """
    reference = comparison["variants"][comparison["baseline"]]["results"].get(key)
    for name in names:
        result = comparison["variants"][name]["results"].get(key)
        if (result is None) != (reference is None):
            return True
        if result is not None and reference is not None and result["value"] != reference["value"] and result["verdict"] != "no practical difference":
            return True
    return False


def matching(comparison: Mapping[str, Any], text: str) -> list[str]:
    """The variants in whose name or techniques every word of a text occurs, in the order of the experiment."""
    words = text.casefold().split()
    found = []
    for name, variant in comparison["variants"].items():
        about = " ".join([name, *variant["techniques"]]).casefold()
        if all(word in about for word in words):
            found.append(name)
    return found


def seeds_of(variant: Mapping[str, Any]) -> list[str]:
    """The seeds that a variant has figures of, or that failed, in rising order."""
    having = {seed for result in variant["results"].values() for seed in result.get("points", {})}
    return sorted(having | {str(each["seed"]) for each in variant["failures"]}, key=int)
