"""The comparison as CSV: every figure at full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from engines import savings
from engines.report import labels

CSV_COLUMNS = (
    "experiment", "variant", "baseline", "key", "target", "value", "unit", "better", "n", "low", "high", "ratio", "ratio_low", "ratio_high",
    "verdict", "reason", "violations", "group", "simulated",
)  # fmt: skip


def comma_separated(comparison: Mapping[str, Any]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for name, variant in comparison["variants"].items():
        saved = {row["key"]: (group, row) for group, rows in variant["savings"].items() for row in rows}
        for key in [*variant["results"], *(key for key in saved if key not in variant["results"])]:
            bare, _, target = key.partition("@")
            group, saving = saved.get(key, ("", None))
            result = variant["results"].get(key) or savings.cell(variant, group, key) or {}
            row = {column: result.get(column) for column in CSV_COLUMNS} | {"group": group, "simulated": saving and saving["simulated"]}
            names = {"experiment": _inert(comparison["experiment"]), "variant": _inert(name), "baseline": _inert(comparison["baseline"])}
            violations = _inert(" ".join(labels.over_limits(variant)))
            writer.writerow(row | names | {"key": bare, "target": _inert(target), "violations": violations})
    return file.getvalue()


def _inert(text: str) -> str:
    """A cell that a spreadsheet would take for a formula is shown as text."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text

