"""The comparison as a table: one row a variant, one column a metric; figure above, ratio and verdict below. Variants unfold into their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

from engines.report import labels
from workbench.comparing import verdicts
from workbench.comparing.table_look import seeds_of

Index = QModelIndex | QPersistentModelIndex
CELL = Qt.ItemDataRole.UserRole + 10
"""Role of what the delegate paints: (first line, second line, verdict or "baseline" or "name" or "broken", curve colour, dimmed)."""
FOLD = Qt.ItemDataRole.UserRole + 11
"""Role of the first column: "folded" or "unfolded" where there are seeds below a row, "seed" for one of these; else None."""
Cell = tuple[str, str, str, str, bool]
By = Literal["value", "ratio"]


class Row(NamedTuple):
    """A variant, the A/A control (name ""), or one seed of a variant."""

    name: str
    seed: str = ""


class VerdictTable(QAbstractTableModel):
    """The baseline and its A/A control stay on top; the other variants follow the experiment until a column sorts them, seeds below each.

    names: the variant of each row, "" for the control. by: whether columns sort by figure or by ratio. unfolded: variants whose seeds are shown.
    """

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.comparison: Mapping[str, Any] = {"variants": {}, "baseline": "", "control": {}}
        self.rows: list[Row] = []
        self.keys: list[str] = []
        self.colours: Mapping[str, str] = {}
        self.by: By = "value"
        self.unfolded: set[str] = set()
        self._wanted: set[str] = set()
        self._seeds: Mapping[str, Sequence[str]] = {}
        self._sorted: tuple[str, Qt.SortOrder] | None = None

    @property
    def names(self) -> list[str]:
        return [row.name for row in self.rows]

    def show_comparison(
        self, comparison: Mapping[str, Any], keys: Sequence[str], colours: Mapping[str, str], wanted: Sequence[str] | None = None
    ) -> None:  # fmt: skip
        """wanted: the variants to show (default: all); the baseline is shown beside any."""
        self.beginResetModel()
        self.comparison, self.keys, self.colours = comparison, list(keys), colours
        self._wanted = set(comparison["variants"] if wanted is None else wanted)
        self._seeds = {name: seeds_of(variant) for name, variant in comparison["variants"].items()}
        self._arrange()
        self.endResetModel()

    # --- Order and folding ------------------------------------------------------------------------------------------------------------------

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
        before, rows = self.persistentIndexList(), self.rows
        self._arrange()
        self.changePersistentIndexList(before, [self.index(self.rows.index(rows[each.row()]), each.column()) for each in before])
        self.layoutChanged.emit()

    def _arrange(self) -> None:
        baseline = self.comparison["baseline"]
        rest = [name for name in self.comparison["variants"] if name != baseline and name in self._wanted]
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
        first = [baseline] if baseline in self.comparison["variants"] else []
        self.rows = [row for name in first for row in self._with_seeds(name)] + ([Row("")] if shown_control else [])
        self.rows += [row for name in rest for row in self._with_seeds(name)]

    def _with_seeds(self, name: str) -> list[Row]:
        return [Row(name), *(Row(name, seed) for seed in (self._seeds[name] if name in self.unfolded else ()))]

    def _number(self, name: str, key: str) -> float | None:
        result = self.comparison["variants"][name]["results"].get(key)
        return None if result is None else result["value" if self.by == "value" else "ratio"]

    def fold(self, name: str, unfolded: bool) -> None:
        """Show or hide the seeds of a variant; nothing happens where it has none."""
        seeds = self._seeds.get(name, ())
        if not seeds or unfolded == (name in self.unfolded):
            return
        at = self.rows.index(Row(name))
        if unfolded:
            self.beginInsertRows(QModelIndex(), at + 1, at + len(seeds))
            self.unfolded.add(name)
            self.rows[at + 1 : at + 1] = [Row(name, seed) for seed in seeds]
            self.endInsertRows()
        else:
            self.beginRemoveRows(QModelIndex(), at + 1, at + len(seeds))
            self.unfolded.discard(name)
            del self.rows[at + 1 : at + 1 + len(seeds)]
            self.endRemoveRows()
        self.dataChanged.emit(self.index(at, 0), self.index(at, 0))

    # --- What Qt asks ---------------------------------------------------------------------------------------------------------------------

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's signature
        return 1 + len(self.keys)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return "Variant" if section == 0 else labels.short(self.keys[section - 1])
        if role == Qt.ItemDataRole.ToolTipRole:
            if not section:
                return "Click to sort by name"
            return f"{labels.name(self.keys[section - 1])}\n{self.keys[section - 1]}\nClick to sort; the right button pins it or leaves it out"
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignVCenter | (Qt.AlignmentFlag.AlignLeft if section == 0 else Qt.AlignmentFlag.AlignRight)
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = self.rows[index.row()], index.column()
        key = self.keys[column - 1] if column else ""
        if role == CELL:
            return self._cell(row, key)
        if role == FOLD:
            return None if column else self._folding(row)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            first, second, verdict, _colour, dimmed = self._cell(row, key)
            if not column:
                count, folding = len(self._seeds.get(row.name, ())), self._folding(row)
                below = f", {count} seeds {'shown below' if folding == 'unfolded' else 'folded'}" if folding in ("folded", "unfolded") else ""
                return f"{row.name}, {first}" if row.seed else f"{first}, {second}{below}"
            return f"{first} {second} {verdict}".strip() + (", over a limit" if dimmed else "")
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(row, key)
        return None

    def _folding(self, row: Row) -> str | None:
        if row.seed:
            return "seed"
        return ("unfolded" if row.name in self.unfolded else "folded") if self._seeds.get(row.name) else None

    def _cell(self, row: Row, key: str) -> Cell:
        name = row.name
        if not name:
            return self._control(key)
        if row.seed:
            return self._of_seed(row, key)
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

    def _of_seed(self, row: Row, key: str) -> Cell:
        """The figure of one seed, below it the ratio to the baseline's of the same seed. One value carries no verdict."""
        variant = self.comparison["variants"][row.name]
        if not key:
            failed = next((each["status"] for each in variant["failures"] if str(each["seed"]) == row.seed), "")
            return f"seed {row.seed}", failed, "broken" if failed else "name", "", True
        own, reference = self._point(row.name, row.seed, key), self._point(self.comparison["baseline"], row.seed, key)
        if own is None:
            return "–", "", "", "", True
        ratio = labels.times(own / reference) if reference and row.name != self.comparison["baseline"] and own / reference > 0 else ""
        return labels.figure(own), ratio, "baseline", "", False

    def _point(self, name: str, seed: str, key: str) -> float | None:
        result = self.comparison["variants"].get(name, {}).get("results", {}).get(key)
        return None if result is None else result.get("points", {}).get(seed)

    def _control(self, key: str) -> Cell:
        if not key:
            return verdicts.CONTROL, "baseline again", "name", "", True
        same = self.comparison["control"].get(key)
        if same is None:
            return "", "", "", "", True
        return "", verdicts.ratio(same), "control", "", True

    def _tip(self, row: Row, key: str) -> str | None:
        name = row.name
        if not name:
            same = self.comparison["control"].get(key)
            return verdicts.CONTROL_TIP + (f"\n{same['n']} rounds" if same else "")
        variant = self.comparison["variants"][name]
        if row.seed:
            return self._tip_of_seed(row, key)
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

    def _tip_of_seed(self, row: Row, key: str) -> str:
        variant = self.comparison["variants"][row.name]
        if not key:
            failures = [f"{each['reason']} {each['advice']}".strip() for each in variant["failures"] if str(each["seed"]) == row.seed]
            return "\n".join([f"{row.name}, seed {row.seed}", *failures])
        point = self._point(row.name, row.seed, key)
        if point is None:
            return f"Not measured for each seed: {labels.name(key)}"
        result = variant["results"][key]
        lines = [f"{point:,.6g} {result['unit']}, the ratio is to the baseline's seed {row.seed}"]
        if result.get("interleaved"):
            lines.append("What this run measured by itself; the verdict above stands on interleaved rounds.")
        return "\n".join(lines)
