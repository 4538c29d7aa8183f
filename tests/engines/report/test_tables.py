"""Markdown, CSV and LaTeX carry the same figures, and hostile names do nothing in any of them."""

from __future__ import annotations

import csv
import io

from engines.report import tables


def test_markdown(comparison):
    text = tables.markdown(comparison)
    rows = [line for line in text.split("## What each")[0].splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(comparison["variants"])
    assert len({row.count("|") for row in rows}) == 1
    assert "| **full** | **179.8** |" in text
    assert "(0.55x [0.548 to 0.554]) better" in text
    assert "<script>" not in text
    assert "14 verdicts" in text


def test_a_variant_over_a_limit_is_marked_in_every_format(comparison):
    comparison["variants"]["adaptive"]["violations"] = ['Target "one core": too much.']
    assert "| adaptive (over a limit) |" in tables.markdown(comparison)
    assert '- adaptive: Target "one core": too much.' in tables.markdown(comparison)
    assert "adaptive (over a limit) &" in tables.latex(comparison)
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(comparison))))
    assert {row["violations"] for row in rows if row["variant"] == "adaptive"} == {'Target "one core": too much.'}
    assert {row["violations"] for row in rows if row["variant"] == "full"} == {""}


def test_a_pipe_in_a_name_does_not_break_the_markdown_table(comparison):
    comparison["variants"]["a|b\nc"] = comparison["variants"].pop("adaptive")
    rows = [line for line in tables.markdown(comparison).split("## What each")[0].splitlines() if line.startswith("|")]
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert any("a\\|b c" in row for row in rows)


def test_markdown_and_csv_label_what_is_simulated(comparison):
    table = tables.markdown(comparison).split("## What each variant saves and what it costs")[1].split("## How")[0]
    assert "| nominal non-zero | stored MiB | executed FLOPs |" in table
    assert "0.20x *simulated* | 1.00x = | 1.00x = |" in table
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(comparison))))
    (row,) = (row for row in rows if row["variant"].startswith("<script>") and row["key"] == "size/nonzero_parameters")
    assert (row["group"], row["simulated"]) == ("nominal", "True")
    assert {row["group"] for row in rows if row["key"] == "latency/p50_ms"} == {"measured"}


def test_csv_has_every_figure_at_full_precision(comparison):
    comparison["variants"]["=cmd|'/c calc'!A1"] = comparison["variants"].pop("broken")
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(comparison))))
    assert len(rows) == sum(len(variant["results"]) for variant in comparison["variants"].values())
    row = next(row for row in rows if row["variant"] == "adaptive" and row["key"] == "quality/test_perplexity")
    assert float(row["value"]) == comparison["variants"]["adaptive"]["results"]["quality/test_perplexity"]["value"]
    assert row["verdict"] == "worse"
    speed = next(row for row in rows if row["variant"] == "adaptive" and row["key"] == "speed/train_tokens_per_s")
    assert (speed["ratio_low"], speed["verdict"]) == ("", "not enough data")


def test_a_name_that_a_spreadsheet_would_calculate_is_text(comparison):
    comparison["variants"]["=1+1"] = comparison["variants"].pop("adaptive")
    comparison["experiment"] = "@SUM(A1)"
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(comparison))))
    assert {row["experiment"] for row in rows} == {"'@SUM(A1)"}
    assert "'=1+1" in {row["variant"] for row in rows}


def test_latex_is_booktabs_and_escaped(comparison):
    text = tables.latex(comparison)
    for rule in ("\\toprule", "\\midrule", "\\bottomrule", "\\begin{tabular}{lrrrrrr}"):
        assert rule in text
    for figure in ("95\\% intervals", "\\textbf{1.83$\\times$}", "\\textit{1.05$\\times$}"):
        assert figure in text
    assert "\\textless{}script\\textgreater{}" in text
    assert "\\$50\\_\\%" in text
    assert text.count("\\\\") == 1 + len(comparison["variants"])
    comparison["experiment"] = "\\input{/etc/passwd} 100% #1 ^~"
    assert "\\textbackslash{}input\\{/etc/passwd\\} 100\\% \\#1 \\textasciicircum{}\\textasciitilde{}" in tables.latex(comparison)
