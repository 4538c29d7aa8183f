"""One row tells all: the cells are the comparison's savings, simulated ones are never coloured as gains."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from engines import savings
from workbench.comparing import savings_table, verdicts
from workbench.comparing.savings import Savings
from workbench.comparing.savings_table import SavingsTable
from workbench.comparing.subject import Subject
from workbench.comparing.verdict_table import CELL


@pytest.fixture
def part(qtbot: QtBot, subject: Subject, comparison: dict[str, Any]) -> Savings:
    made = Savings(subject)
    qtbot.addWidget(made)
    made.resize(1000, 700)
    made.draw(comparison)
    subject.selected.connect(made.mark)
    made.show()
    return made


def cell(model: SavingsTable, name: str, group: str, key: str, role: int = CELL) -> Any:
    return model.data(model.index(model.names.index(name), 1 + model.columns.index((group, key))), role)


def test_a_simulated_saving_is_named_so_and_not_shown_as_a_gain(part: Savings) -> None:
    first, second, verdict, _colour, _dimmed = cell(part.model, "pruned 80%", "nominal", "size/nonzero_parameters")
    assert (first, second, verdict) == ("0.20x", "simulated", "simulated")
    said = cell(part.model, "pruned 80%", "nominal", "size/nonzero_parameters", Qt.ItemDataRole.DisplayRole)
    assert "simulated" in said
    assert "better" not in said
    theme = part.subject.theme
    assert verdicts.ink(theme, verdict) not in (theme.ok, theme.danger)


def test_cells_are_the_figures_of_the_comparison(part: Savings, comparison: dict[str, Any]) -> None:
    assert comparison["baseline"] not in part.model.names
    compact = len(part.model.columns)
    part.all_keys.setChecked(True)
    assert len(part.model.columns) > compact
    for name in part.model.names:
        for group, key in part.model.columns:
            row = savings.cell(comparison["variants"][name], group, key)
            first, second, verdict, *_ = cell(part.model, name, group, key)
            if row is None:
                assert (first, second) == ("–", "not measured")
            elif not row["simulated"]:
                assert (first, verdict) == (f"{row['ratio']:.2f}x", row["verdict"])


def test_a_variant_in_full_holds_every_ratio(part: Savings, subject: Subject, comparison: dict[str, Any]) -> None:
    assert part.lines.isHidden()
    subject.select("int8")
    every = [row for rows in comparison["variants"]["int8"]["savings"].values() for row in rows if row["ratio"] is not None]
    assert [line.ratio for line in part.lines.lines] == [row["ratio"] for row in every]
    assert part.model.names[part.table.selected_row()] == "int8"
    part.table.show_row(0)
    assert subject.variant == part.model.names[0]


def test_a_variant_over_a_limit_is_dimmed(part: Savings) -> None:
    assert cell(part.model, "int8", "stored", "size/model_mib")[4]
    assert not cell(part.model, "adaptive", "stored", "size/model_mib")[4]


def test_only_what_the_baseline_does_not_have_counts_as_a_variants_technique(comparison: dict[str, Any]) -> None:
    assert savings_table.new_techniques(comparison, "int8") == ["quantization/dynamic_int8"]
    assert savings_table.new_techniques(comparison, "adaptive") == []
