"""One row tells all: per variant what is claimed, stored, executed, moved and measured, with quality and price. Ratios to the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

from engines import savings
from engines.report import labels
from workbench.comparing import forest_lines, verdicts
from workbench.comparing.forest_lines import Line
from workbench.comparing.verdict_table import CELL

Index = QModelIndex | QPersistentModelIndex
MEANING = {
    "nominal": "claimed by the techniques",
    "stored": "in the file",
    "executed": "operations carried out",
    "moved": "bytes moved",
    "measured": "measured on the machine",
    "quality": "judged on held-out text",
    "price": "paid in training",
}
NOT_REAL = "simulated: claimed, but neither stored nor executed"


class SavingsTable(QAbstractTableModel):
    """columns: (group, key) of each column behind the first; names: the variant of each row, the baseline left out."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.comparison: Mapping[str, Any] = {"variants": {}, "baseline": ""}
        self.names: list[str] = []
        self.columns: list[tuple[str, str]] = []
        self.colours: Mapping[str, str] = {}

    def show_comparison(self, comparison: Mapping[str, Any], columns: Sequence[tuple[str, str]], colours: Mapping[str, str]) -> None:
        self.beginResetModel()
        self.comparison, self.columns, self.colours = comparison, list(columns), colours
        self.names = [name for name in comparison["variants"] if name != comparison["baseline"]]
        self.endResetModel()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.names)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 1 + len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignVCenter | (Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight)
        if section == 0:
            return "Variant" if role == Qt.ItemDataRole.DisplayRole else None
        group, key = self.columns[section - 1]
        if role == Qt.ItemDataRole.DisplayRole:
            return "\n".join(savings.head(group, key))
        return f"{labels.name(key)}: {MEANING.get(group, group)}" if role == Qt.ItemDataRole.ToolTipRole else None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        name = self.names[index.row()]
        variant = self.comparison["variants"][name]
        over = labels.over_limits(variant)
        if not index.column():
            if role == CELL:
                below = labels.OVER if over else ", ".join(new_techniques(self.comparison, name)) or "other blocks"
                return name, below, "broken" if over else "name", self.colours.get(name, ""), bool(over)
            if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
                return f"{name}, {labels.OVER}" if over else name
            return "\n".join([name, *over]) if role == Qt.ItemDataRole.ToolTipRole else None
        group, key = self.columns[index.column() - 1]
        row = savings.cell(variant, group, key)
        if row is None or row["ratio"] is None:
            absent = ("–", "not measured" if row is None else "no ratio", "", "", bool(over))
            return absent if role == CELL else "not measured" if role == Qt.ItemDataRole.DisplayRole else None
        verdict = verdicts.SIMULATED if row["simulated"] else row["verdict"]
        if role == CELL:
            limits = verdicts.bounds(row)
            sign = verdicts.SIGNS.get(verdict, "")
            below = verdict if row["simulated"] else f"{sign} {limits or ('exact' if row['low'] is not None else 'no interval')}"
            return labels.times(row["ratio"]), below, verdict, "", bool(over)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return f"{verdicts.ratio(row)}, {verdict}"
        return "\n".join([row["label"], *_facts(row, verdict)]) if role == Qt.ItemDataRole.ToolTipRole else None


def new_techniques(comparison: Mapping[str, Any], name: str) -> list[str]:
    """The techniques of a variant that the baseline does not have."""
    known = comparison["variants"][comparison["baseline"]]["techniques"]
    return [each for each in comparison["variants"][name]["techniques"] if each not in known]


def columns(comparison: Mapping[str, Any], *, everything: bool) -> list[tuple[str, str]]:
    """(group, key) of the columns: the compact ones, or all that was measured."""
    if not everything:
        return savings.shown(comparison)
    found: list[tuple[str, str]] = []
    for group in savings.GROUPS:
        for variant in comparison["variants"].values():
            found += [(group, row["key"]) for row in variant["savings"].get(group, ()) if (group, row["key"]) not in found]
    return found


def lines(comparison: Mapping[str, Any], name: str) -> list[Line]:
    """Every saving of one variant as a line of a forest plot, from what is claimed to what is paid."""
    found = []
    for group in savings.GROUPS:
        for row in comparison["variants"][name]["savings"].get(group, ()):
            if row["ratio"] is None:
                continue
            verdict = verdicts.SIMULATED if row["simulated"] else row["verdict"]
            label = row["label"][0].upper() + row["label"][1:]
            below = NOT_REAL if row["simulated"] else f"{group}: {MEANING[group]}"
            spread = {"ratio": row["ratio"], "ratio_low": row["low"], "ratio_high": row["high"]}
            found.append(
                Line(
                    name, label, below, row["ratio"], row["low"], row["high"], verdict, forest_lines.margin_of(comparison, row["key"]),
                    verdicts.ratio(spread), "\n".join([label, *_facts(row | spread, verdict)]),
                )
            )  # fmt: skip
    return found


def _facts(row: Mapping[str, Any], verdict: str) -> list[str]:
    return [f"{verdicts.ratio(row)} the baseline", NOT_REAL if row["simulated"] else verdict]
