"""The comparison as a table for a terminal; plain text where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from engines import savings
from engines.report import labels

_STYLES = {"better": "green", "worse": "red", "no practical difference": "", "not enough data": "dim"}
_PLAIN_WIDTH = 120


def table(comparison: Mapping[str, Any], console: Console | None = None) -> None:
    """Print variants as rows and the judging figures as columns, each the value above "ratio sign", then what each variant saves, side by
    side, then warnings, failures, explanations and the legend."""
    if console is None:
        # A pipe has no width: rich would cut at 80 columns.
        console = Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH, color_system=None, legacy_windows=False)
    title = comparison["experiment"]
    _print(console, labels.columns(comparison), lambda keys, first: _figures(comparison, keys, title if first else ""))
    columns = savings.shown(comparison)
    if columns and len(comparison["variants"]) > 1:
        _print(console, columns, lambda some, first: _savings(comparison, some, titled=first))
    console.print(Text(f'{labels.LEGEND}   (ratio to the baseline "{comparison["baseline"]}")', style="dim"), soft_wrap=True)
    for line in lines(comparison):
        console.print(Text(line), soft_wrap=True)


def lines(comparison: Mapping[str, Any]) -> list[str]:
    """What the table cannot say: warnings, failures, notes, and what is missing for the open verdicts."""
    found = [f"Note: {sentence}" for sentence in comparison["warnings"]]
    for name, variant in comparison["variants"].items():
        found += [f"{name}: {sentence}" for sentence in (*labels.over_limits(variant), *variant["notes"])]
        found += [f"{name}: {each['sentence']}" for each in variant["explanations"]]
        found += [f"{name}: run {f['run']} (seed {f['seed']}) {f['status']}. {f['reason']} {f['advice']}".rstrip() for f in variant["failures"]]
    open_: dict[str, set[str]] = {}
    for name, variant in comparison["variants"].items():
        for key in labels.columns(comparison):
            result = variant["results"].get(key)
            if name != comparison["baseline"] and result and result["verdict"] == "not enough data":
                open_.setdefault(result["reason"], set()).add(labels.name(key))
    # Intervals differ from cell to cell and are in the report; what is missing everywhere is worth a line here.
    found += [f"? {', '.join(sorted(names))}: {reason}" for reason, names in open_.items() if not reason.startswith("The interval")]
    return found


def _figures(comparison: Mapping[str, Any], keys: Sequence[str], title: str) -> Table:
    """Variants as rows, some of the judging figures as columns."""
    grid = Table(box=box.SIMPLE_HEAD, title=Text(title, style="bold") if title else None, title_justify="left", pad_edge=False)
    grid.add_column("variant", overflow="fold", min_width=12)
    for key in keys:
        grid.add_column(labels.short(key), justify="right")
    for name, variant in comparison["variants"].items():
        is_baseline, over = name == comparison["baseline"], bool(labels.over_limits(variant))
        shown = Text(f"{name}\n{labels.OVER}" if over else name, style="bold" if is_baseline else "")
        grid.add_row(shown, *(_cell(variant["results"].get(key), is_baseline) for key in keys), style="dim" if over else None)
    return grid


def _print(console: Console, columns: Sequence[Any], grid: Callable[[Sequence[Any], bool], Table]) -> None:
    """As many columns as fit; what is left goes below, since a console cuts what is wider. grid: of some columns, and whether it is the first."""
    first = True
    while columns or first:
        fitting = next((n for n in range(len(columns), 1, -1) if _fits(grid(columns[:n], first), console)), 1)
        console.print(grid(columns[:fitting], first))
        columns, first = columns[fitting:], False


def _fits(grid: Table, console: Console) -> bool:
    """Whether the console shows all of a table. Drawn rather than measured: rich draws narrow tables wider than it says."""
    return all(sum(part.cell_length for part in line) <= console.width for line in Segment.split_lines(console.render(grid)))


def _savings(comparison: Mapping[str, Any], columns: Sequence[tuple[str, str]], *, titled: bool) -> Table:
    """Claimed, stored, executed and measured side by side, all as ratios to the baseline."""
    title = Text("What it saves and what it costs, as ratios to the baseline") if titled else None
    grid = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("\nvariant", overflow="fold", min_width=12)
    for group, key in columns:
        grid.add_column("\n".join(savings.head(group, key)), justify="right", overflow="fold")
    for name, variant in comparison["variants"].items():
        if name != comparison["baseline"]:
            grid.add_row(Text(name), *(_ratio(savings.cell(variant, *column)) for column in columns))
    return grid


def _ratio(row: Mapping[str, Any] | None) -> Text:
    if row is None or row["ratio"] is None:
        return Text("-", style="dim")
    found = Text(f"{labels.times(row['ratio'])} {labels.SIGNS[row['verdict']]}", style=_STYLES[row["verdict"]])
    return Text(f"{labels.times(row['ratio'])}\nsimulated", style="dim") if row["simulated"] else found


def _cell(result: Mapping[str, Any] | None, is_baseline: bool) -> Text:
    if result is None:
        return Text("-", style="dim")
    value = labels.figure(result["value"])
    if is_baseline:
        return Text(f"{value}\nbaseline", style="bold")
    verdict = result["verdict"]
    ratio = labels.ratio(result)
    return Text(f"{value}\n{ratio} {labels.SIGNS[verdict]}" if ratio else f"{value}\n{labels.SIGNS[verdict]}", style=_STYLES[verdict])
