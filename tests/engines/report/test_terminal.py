"""The table fits, is plain in a pipe, and says what the cells cannot."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from engines.report import terminal


def printed(comparison, width):
    file = io.StringIO()
    terminal.table(comparison, Console(file=file, width=width))
    return file.getvalue()


@pytest.mark.parametrize("width", [100, 120])
def test_the_table_fits_and_cuts_no_figure(comparison, width):
    rows = printed(comparison, width).split("+ better")[0]
    assert max(map(len, rows.splitlines())) <= width
    assert "…" not in rows
    for text in ("179.8", "1.05x -", "27,265", "1.83x +", "0.55x +", "1.00x =", "1.82x ?", "baseline", "model", "broken"):
        assert text in rows


def test_savings_stand_side_by_side_and_simulated_ones_say_so(comparison):
    text = printed(comparison, 110)
    block = text.split("What it saves and what it costs")[1].split("+ better")[0]
    assert "…" not in block
    assert max(map(len, block.splitlines())) <= 110
    assert block.count("simulated") == 1
    for word in ("nominal", "stored", "executed", "measured", "quality", "price", "0.55x +", "1.05x -", "0.20x"):
        assert word in block
    assert "80% of the weights are zero, but dense kernels multiply zeros" in text


def test_a_pipe_gets_plain_text(comparison, capsys):
    terminal.table(comparison)
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert '(ratio to the baseline "full")' in text
    assert "broken: run 4 (seed 0) failed. Killed by the system: out of memory. Use a smaller batch." in text
    assert "Note: 1 of 4 runs is not finished yet." in text
    assert "training speed: Timed in separate runs, not in interleaved rounds." in text


@pytest.mark.parametrize("width", [60, 80, 101, 110, 111, 130])
def test_figures_on_many_targets_go_below_and_none_is_cut(comparison, width):
    for name in ("one core", "two cores", "onnx"):
        for variant in comparison["variants"].values():
            results = variant["results"]
            results |= {f"{key}@{name}": results[key] for key in ("speed/infer_tokens_per_s", "latency/p50_ms") if key in results}
    rows = printed(comparison, width).split("What it saves")[0]
    assert max(map(len, rows.splitlines())) <= width
    assert rows.count("27,265") == 4
    for figure in ("16.78", "30.5"):  # the last column
        assert figure in rows
    assert rows.count("adaptive") == rows.count("broken") >= 2


def test_a_variant_over_a_limit_is_marked(comparison):
    assert "over a limit" not in printed(comparison, 120)
    comparison["variants"]["adaptive"]["violations"] = ['Target "one core": too much.']
    text = printed(comparison, 120)
    assert text.count("over a limit") == 1
    assert 'adaptive: Target "one core": too much.' in text


def test_names_are_not_markup(comparison):
    comparison["variants"]["[red]x[/red] [link=file:///etc]y"] = comparison["variants"].pop("adaptive")
    comparison["warnings"] = ["[bold]careful[/bold]"]
    text = printed(comparison, 200)
    assert "[red]x[/red] [link=file:///etc]y" in text
    assert "Note: [bold]careful[/bold]" in text


def test_a_comparison_without_figures_prints(comparison):
    for variant in comparison["variants"].values():
        variant["results"] = {}
    assert "full" in printed(comparison, 100)
