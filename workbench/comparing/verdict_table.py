"""The comparison as a table: one row a variant, one column a judging metric; figure above, ratio and verdict below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

from engines.report import labels
from workbench.comparing import verdicts

Index = QModelIndex | QPersistentModelIndex
CELL = Qt.ItemDataRole.UserRole + 10
"""Role of what the delegate paints: (first line, second line, verdict or "baseline" or "name" or "broken", curve colour, dimmed)."""
Cell = tuple[str, str, str, str, bool]
By = Literal["value", "ratio"]


class VerdictTable(QAbstractTableModel):
    """The baseline and its A/A control stay on top; the other rows follow the experiment until a column sorts them.

    names: the variant of each row, "" for the control. by: whether columns sort by figure or by ratio.
    """

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.comparison: Mapping[str, Any] = {"variants": {}, "baseline": "", "control": {}}
        self.names: list[str] = []
        self.keys: list[str] = []
        self.colours: Mapping[str, str] = {}
        self.by: By = "value"
        self._sorted: tuple[str, Qt.SortOrder] | None = None

    def show_comparison(self, comparison: Mapping[str, Any], keys: Sequence[str], colours: Mapping[str, str]) -> None:
        self.beginResetModel()
        self.comparison, self.keys, self.colours = comparison, list(keys), colours
        self._arrange()
        self.endResetModel()

    @property
    def sorting(self) -> tuple[int, Qt.SortOrder] | None:
        """The column the rows are sorted by and how; None in the order of the experiment."""
        if self._sorted is None:
            return None
        key, order = self._sorted
        return (0 if key == "" else 1 + self.keys.index(key), order) if key == "" or key in self.keys else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column: 0 by name, others by figure or ratio; -1 goes back to the order of the experiment. Missing figures come last."""
        self.layoutAboutToBeChanged.emit()
        self._sorted = None if column < 0 else ("" if column == 0 else self.keys[column - 1], order)
        before, names = self.persistentIndexList(), self.names
        self._arrange()
        self.changePersistentIndexList(before, [self.index(self.names.index(names[each.row()]), each.column()) for each in before])
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        variants, baseline = self.comparison["variants"], self.comparison["baseline"]
        rest = [name for name in variants if name != baseline]
        if self._sorted is not None:
            key, order = self._sorted
            downwards = order == Qt.SortOrder.DescendingOrder
            if key == "":
                rest.sort(key=str.casefold, reverse=downwards)
            else:
                known = {name: self._number(name, key) for name in rest}
                having = [name for name in rest if known[name] is not None]
                rest = sorted(having, key=lambda name: known[name] or 0.0, reverse=downwards) + [name for name in rest if known[name] is None]
        shown_control = any(key in self.comparison["control"] for key in self.keys)
        self.names = ([baseline] if baseline in variants else []) + ([""] if shown_control else []) + rest

    def _number(self, name: str, key: str) -> float | None:
        result = self.comparison["variants"][name]["results"].get(key)
        return None if result is None else result["value" if self.by == "value" else "ratio"]

    # --- What Qt asks ---------------------------------------------------------------------------------------------------------------------

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.names)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 1 + len(self.keys)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return "Variant" if section == 0 else labels.short(self.keys[section - 1])
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{labels.name(self.keys[section - 1])}\n{self.keys[section - 1]}\nClick to sort" if section else "Click to sort by name"
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignVCenter | (Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        name, column = self.names[index.row()], index.column()
        key = self.keys[column - 1] if column else ""
        if role == CELL:
            return self._cell(name, key)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            first, second, verdict, _colour, dimmed = self._cell(name, key)
            if not column:
                return f"{first}, {second}"
            return f"{first} {second} {verdict}".strip() + (", over a limit" if dimmed else "")
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(name, key)
        return None

    def _cell(self, name: str, key: str) -> Cell:
        if not name:
            return self._control(key)
        variant = self.comparison["variants"][name]
        broken = labels.over_limits(variant)
        baseline = name == self.comparison["baseline"]
        if not key:
            below = broken[0] if broken else "the baseline" if baseline else labels.state(variant)
            return name, below, "broken" if broken else "name", self.colours.get(name, ""), bool(broken)
        result = variant["results"].get(key)
        if result is None:
            return "–", "not measured", "", "", bool(broken)
        figure = labels.figure(result["value"])
        if baseline:
            spread = f"{labels.figure(result['low'])}–{labels.figure(result['high'])}" if result.get("low") not in (None, result["value"]) else ""
            return figure, spread, "baseline", "", bool(broken)
        verdict = result["verdict"] if result["better"] != "none" else "baseline"
        return figure, f"{verdicts.SIGNS.get(verdict, '')} {verdicts.ratio(result)}".strip(), verdict, "", bool(broken)

    def _control(self, key: str) -> Cell:
        if not key:
            return verdicts.CONTROL, "baseline again", "name", "", True
        same = self.comparison["control"].get(key)
        if same is None:
            return "", "", "", "", True
        return "", verdicts.ratio(same), "control", "", True

    def _tip(self, name: str, key: str) -> str | None:
        if not name:
            same = self.comparison["control"].get(key)
            return verdicts.CONTROL_TIP + (f"\n{same['n']} rounds" if same else "")
        variant = self.comparison["variants"][name]
        if not key:
            return "\n".join([f"{name}: {labels.state(variant)}", *labels.over_limits(variant)])
        result = variant["results"].get(key)
        if result is None:
            return None
        n = result["n"]
        lines = [f"{result['value']:,.6g} {result['unit']}, {n} value{'s' if n != 1 else ''}; {result['better']} is better"]
        if name != self.comparison["baseline"]:
            lines.append(f"{result['verdict']}: {result.get('reason', '')}".rstrip(": "))
            lines.append("timed in interleaved rounds" if result.get("interleaved") else "from separate runs")
        return "\n".join([*lines, *labels.over_limits(variant)])
