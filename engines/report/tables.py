"""The comparison as Markdown, CSV and LaTeX (booktabs): the same figures, each escaped for where it goes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Any

from engines import savings
from engines.report import labels, sentences
from engines.report.terminal import lines


def markdown(comparison: Mapping[str, Any]) -> str:
    keys = labels.columns(comparison)
    rows = [["variant", *(labels.short(key) for key in keys)], ["---", *("---:" for _ in keys)]]
    for name, variant in comparison["variants"].items():
        cells = [_markdown_cell(variant["results"].get(key), name == comparison["baseline"]) for key in keys]
        shown = f"**{_md(name)}**" if name == comparison["baseline"] else _md(name)
        rows.append([f"{shown} ({labels.OVER})" if labels.over_limits(variant) else shown, *cells])
    parts = [
        f"# {_md(comparison['experiment'])}",
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
        f"Ratio to the baseline {_md(comparison['baseline'])}, then its verdict: better, worse, = no practical difference, ? not enough data.",
        "\n".join(f"- {_md(sentence)}" for sentence in sentences.headline(comparison)),
        _markdown_savings(comparison),
        "\n".join(f"- {_md(line)}" for line in lines(comparison)),
        "## How this was judged",
        "\n".join(f"- {_md(sentence)}" for sentence in sentences.method(comparison)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_savings(comparison: Mapping[str, Any]) -> str:
    """What each variant saves, from claimed to measured, and its price; empty where nothing is there to compare."""
    columns = savings.shown(comparison)
    others = [name for name in comparison["variants"] if name != comparison["baseline"]]
    if not columns or not others:
        return ""
    rows = [["variant", *(_md(" ".join(savings.head(group, key))) for group, key in columns)], ["---", *("---:" for _ in columns)]]
    for name in others:
        rows.append([_md(name), *(_markdown_ratio(savings.cell(comparison["variants"][name], *column)) for column in columns)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    meaning = "Ratios to the baseline. *simulated*: claimed, but neither stored nor executed."
    return f"## What each variant saves and what it costs\n\n{table}\n\n{meaning}"


def _markdown_ratio(row: Mapping[str, Any] | None) -> str:
    if row is None or row["ratio"] is None:
        return "-"
    word = "*simulated*" if row["simulated"] else {"no practical difference": "=", "not enough data": "?"}.get(row["verdict"], row["verdict"])
    return f"{labels.times(row['ratio'])} {word}"


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


def latex(comparison: Mapping[str, Any]) -> str:
    keys = labels.columns(comparison)
    caption = _tex(
        f"{comparison['experiment']} Ratios to the baseline ({comparison['baseline']}); {comparison['level']:.0%} intervals, "
        f"margin {comparison['margin']:.1%}."
    )
    lines_ = [
        "% Needs \\usepackage{booktabs}.",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{caption} Better in bold, worse in italics, undecided in parentheses.}}",
        f"  \\begin{{tabular}}{{l{'r' * len(keys)}}}",
        "    \\toprule",
        f"    variant & {' & '.join(_tex(labels.short(key)) for key in keys)} \\\\",
        "    \\midrule",
    ]
    for name, variant in comparison["variants"].items():
        cells = (_latex_cell(variant["results"].get(key), name == comparison["baseline"]) for key in keys)
        over = f" ({labels.OVER})" if labels.over_limits(variant) else ""
        lines_.append(f"    {_tex(name)}{over} & {' & '.join(cells)} \\\\")
    return "\n".join([*lines_, "    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""])


def _markdown_cell(result: Mapping[str, Any] | None, is_baseline: bool) -> str:
    if result is None:
        return "-"
    value = labels.figure(result["value"])
    if is_baseline:
        return f"**{value}**"
    word = {"no practical difference": "=", "not enough data": "?"}.get(result["verdict"], result["verdict"])
    bounds = labels.interval(result)
    beside = " ".join(part for part in (labels.ratio(result), f"[{bounds}]" if bounds else "") if part)
    return f"{value} ({beside}) {word}" if beside else f"{value} {word}"


def _latex_cell(result: Mapping[str, Any] | None, is_baseline: bool) -> str:
    if result is None:
        return "--"
    value = _tex(labels.figure(result["value"]))
    ratio = labels.ratio(result).replace("x", "$\\times$")
    if is_baseline or not ratio:
        return value
    shape = {"better": "\\textbf{%s}", "worse": "\\textit{%s}", "not enough data": "(%s)"}.get(result["verdict"], "%s")
    return f"{value} \\, {shape % ratio}"


def _md(text: str) -> str:
    """Inert in Markdown and in the HTML that Markdown lets through."""
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", " ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_TEX = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_",
    "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", '"': "''",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in " ".join(text.split()))


def _inert(text: str) -> str:
    """A cell that a spreadsheet would take for a formula is shown as text."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text

