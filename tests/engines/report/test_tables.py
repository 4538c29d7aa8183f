"""The CSV carries every figure, says what is simulated or over a limit, and no name in it is calculated."""

from __future__ import annotations

import csv
import io

from engines.report import tables


def test_a_variant_over_a_limit_is_marked(comparison):
    comparison["variants"]["adaptive"]["violations"] = ['Target "one core": too much.']
    rows = list(csv.DictReader(io.StringIO(tables.comma_separated(comparison))))
    assert {row["violations"] for row in rows if row["variant"] == "adaptive"} == {'Target "one core": too much.'}
    assert {row["violations"] for row in rows if row["variant"] == "full"} == {""}


def test_what_is_simulated_is_labelled(comparison):
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
