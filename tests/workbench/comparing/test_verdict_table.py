"""The verdict table: sorted by figure or ratio, baseline and control on top, what is over a limit dimmed."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QPoint, QSettings, Qt
from pytestqt.qtbot import QtBot

from engines.report import labels
from workbench.comparing import table_look
from workbench.comparing.overview import Overview
from workbench.comparing.subject import Subject
from workbench.comparing.verdict_card import VerdictCard
from workbench.comparing.verdict_table import CELL, Row, VerdictTable

SPEED, PERPLEXITY = "speed/infer_tokens_per_s", "quality/test_perplexity"
UP, DOWN = Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder


def column(model: VerdictTable, key: str) -> int:
    return 1 + model.keys.index(key)


def test_sorted_by_any_column_by_figure_or_ratio(part: Overview, comparison: dict[str, Any]) -> None:
    model = part.model
    baseline = comparison["baseline"]
    assert model.names[:2] == [baseline, ""]
    for key in model.keys:
        for by, field in (("value", "value"), ("ratio", "ratio")):
            for order in (UP, DOWN):
                model.by = by  # type: ignore[assignment]
                model.sort(column(model, key), order)
                assert model.names[:2] == [baseline, ""]
                numbers = [comparison["variants"][name]["results"][key][field] for name in model.names[2:]]
                assert numbers == sorted(numbers, reverse=order == DOWN), (key, by)
    model.sort(0, UP)
    assert model.names[2:] == sorted(model.names[2:])
    model.sort(-1)
    assert model.names[2:] == [name for name in comparison["variants"] if name != baseline]


def test_what_was_not_measured_comes_last_both_ways(part: Overview, comparison: dict[str, Any]) -> None:
    del comparison["variants"]["adaptive"]["results"][SPEED]
    part.draw(comparison)
    for order in (UP, DOWN):
        part.model.sort(column(part.model, SPEED), order)
        assert part.model.names[-1] == "adaptive"
    index = part.model.index(len(part.model.names) - 1, column(part.model, SPEED))
    assert "not measured" in part.model.data(index)


def test_selection_stays_with_its_variant_while_rows_move(part: Overview, subject: Subject) -> None:
    subject.select("int8")
    for key in (PERPLEXITY, SPEED):
        part.table.sort_by(column(part.model, key), DOWN)
        assert part.model.names[part.table.selected_row()] == "int8"
        assert part.verdicts.sorting.currentIndex() == column(part.model, key) + 1
    part.verdicts.sorting.setCurrentIndex(0)
    part.verdicts.sorting.activated.emit(0)
    assert part.model.sorting is None
    assert subject.variant == "int8"


def test_the_control_is_a_row_of_ratios(part: Overview, comparison: dict[str, Any]) -> None:
    first, second, *_ = part.model.data(part.model.index(1, column(part.model, SPEED)), CELL)
    assert first == ""
    assert second.startswith(f"{comparison['control'][SPEED]['ratio']:.2f}x [")
    assert part.model.data(part.model.index(1, column(part.model, PERPLEXITY)), CELL)[:2] == ("", "")
    comparison["control"] = {}
    part.draw(comparison)
    assert "" not in part.model.names


def test_a_variant_over_a_limit_is_dimmed_and_says_why(part: Overview, subject: Subject, comparison: dict[str, Any]) -> None:
    row = part.model.names.index("int8")
    assert all(part.model.data(part.model.index(row, n), CELL)[4] for n in range(part.model.columnCount()))
    (broken,) = comparison["variants"]["int8"]["violations"]
    assert broken in part.model.data(part.model.index(row, 0), Qt.ItemDataRole.ToolTipRole)
    assert not part.model.data(part.model.index(part.model.names.index("adaptive"), 1), CELL)[4]
    subject.select("int8")
    assert part.words.itemAt(0).widget().text() == broken


def test_headline_names_every_variant_and_is_short_at_first(part: Overview, comparison: dict[str, Any]) -> None:
    names = [part.lines.itemAtPosition(row, 0).widget().text() for row in range(part.lines.rowCount()) if part.lines.itemAtPosition(row, 0)]
    assert names == [name for name in comparison["variants"] if name != comparison["baseline"]]
    assert part.more.isHidden()
    told = part.lines.itemAtPosition(names.index("int8"), 1).widget().text()
    assert told.endswith(comparison["variants"]["int8"]["violations"][0])


# --- Which rows and columns --------------------------------------------------------------------------------------------------------------------


def test_variants_are_found_by_name_and_technique_and_the_baseline_stays(part: Overview, comparison: dict[str, Any], subject: Subject) -> None:
    card, baseline = part.verdicts, comparison["baseline"]
    subject.select("int8")
    for text, found in (("INT8", ["int8"]), ("pruning mag", ["pruned 80%"]), ("nothing like it", [])):
        card.wanted.setText(text)
        assert part.model.names == [baseline, "", *found]
        assert f"“{text}”" in card.told.text()
    assert subject.variant == "int8"  # Not shown here, and still the one that is looked at.
    card.wanted.clear()
    assert set(part.model.names) == {"", *comparison["variants"]}
    assert part.model.names[part.table.selected_row()] == "int8"


def test_columns_keep_their_widths_while_variants_are_found(part: Overview, comparison: dict[str, Any]) -> None:
    def widths() -> list[int]:
        return [half.columnWidth(n) for half in part.table.halves for n in range(part.model.columnCount()) if not half.isColumnHidden(n)]

    before = widths()
    part.verdicts.wanted.setText("pruned")
    assert widths() == before
    part.draw(comparison)  # Only what is found is measured here.
    part.verdicts.wanted.clear()
    assert widths() == before


def test_differences_only_leaves_out_what_is_the_same(part: Overview, comparison: dict[str, Any]) -> None:
    others = [name for name in comparison["variants"] if name != comparison["baseline"]]
    key = part.model.keys[0]
    for name in others:
        comparison["variants"][name]["results"][key] |= {"verdict": "no practical difference"}
    part.verdicts.differences.setChecked(True)
    assert key not in part.model.keys
    assert len(part.model.keys) > 2
    assert "left out: no difference" in part.verdicts.told.text()
    comparison["variants"][others[0]]["results"][key] |= {"verdict": "not enough data"}  # Undecided is not the same.
    part.draw(comparison)
    assert key in part.model.keys
    comparison["variants"][others[0]]["results"][key] |= {"value": comparison["variants"][comparison["baseline"]]["results"][key]["value"]}
    part.draw(comparison)
    assert key not in part.model.keys


def test_what_is_chosen_and_pinned_is_remembered(part: Overview, comparison: dict[str, Any], subject: Subject, settings: QSettings) -> None:
    card = part.verdicts
    first = list(part.model.keys)
    other = next(key for key in table_look.every_key(comparison) if key not in first)
    card.chooser.shown.emit(first[0], False)
    card.chooser.pinned.emit(other, True)
    expected = [other, *first[1:]]
    assert part.model.keys == expected
    card.differences.setChecked(False)
    again = VerdictCard(subject.theme, settings)
    again.draw(comparison, {})
    assert again.model.keys == expected
    assert again.table.pinned == 1
    card.chooser.judging.click()
    assert part.model.keys == first
    card.chooser.all.click()
    assert part.model.keys == table_look.every_key(comparison)
    settings.setValue(table_look.SETTING, "{broken")
    assert table_look.read(settings) == table_look.TableLook()


def test_the_chooser_is_worked_from_the_keyboard(qtbot: QtBot, part: Overview) -> None:
    card = part.verdicts
    card.columns.click()
    chooser = card.chooser
    assert chooser.isVisible()
    chooser.search.setText("inference speed")
    qtbot.keyClick(chooser.search, Qt.Key.Key_Down)
    assert SPEED in part.model.keys
    qtbot.keyClick(chooser.table, Qt.Key.Key_Space)
    assert SPEED not in part.model.keys
    qtbot.keyClick(chooser.table, Qt.Key.Key_Right)
    qtbot.keyClick(chooser.table, Qt.Key.Key_Space)
    assert part.model.keys[0] == SPEED
    qtbot.keyClick(chooser.table, Qt.Key.Key_Escape)
    assert not chooser.isVisible()


def test_a_columns_menu_pins_it_and_leaves_it_out(part: Overview) -> None:
    key = part.model.keys[2]
    acts = {action.text(): action for action in part.verdicts.menu_of(3).actions()}
    acts["Pin it beside the names"].trigger()
    assert part.model.keys[0] == key
    acts = {action.text(): action for action in part.verdicts.menu_of(1).actions()}
    acts["Leave it out"].trigger()
    assert key not in part.model.keys


# --- Seeds -------------------------------------------------------------------------------------------------------------------------------------


def test_a_variant_unfolds_into_its_seeds_by_keyboard(qtbot: QtBot, part: Overview, comparison: dict[str, Any], subject: Subject) -> None:
    subject.select("int8")
    model, table = part.model, part.table
    row = model.names.index("int8")
    table.go(model.index(row, 0))
    qtbot.keyClick(table.focusProxy(), Qt.Key.Key_Plus)
    assert model.rows[row : row + 6] == [Row("int8"), *(Row("int8", str(seed)) for seed in range(5))]
    result = comparison["variants"]["int8"]["results"][PERPLEXITY]
    reference = comparison["variants"][comparison["baseline"]]["results"][PERPLEXITY]
    for seed in range(5):
        first, second, *_ = model.data(model.index(row + 1 + seed, column(model, PERPLEXITY)), CELL)
        assert first == labels.figure(result["points"][str(seed)])
        assert second == f"{result['points'][str(seed)] / reference['points'][str(seed)]:.2f}x"
    qtbot.keyClick(table.focusProxy(), Qt.Key.Key_Down)
    assert subject.variant == "int8"
    assert model.rows[table.selected_row()] == Row("int8", "0")
    assert model.data(model.index(row + 1, 0), Qt.ItemDataRole.AccessibleTextRole) == "int8, seed 0"
    qtbot.keyClick(table.focusProxy(), Qt.Key.Key_Left)
    assert Row("int8", "0") not in model.rows
    assert model.rows[table.selected_row()] == Row("int8")
    assert "5 seeds folded" in model.data(model.index(row, 0), Qt.ItemDataRole.AccessibleTextRole)


def test_seeds_stay_below_their_variant_when_sorted_and_the_arrow_folds(qtbot: QtBot, part: Overview, comparison: dict[str, Any]) -> None:
    comparison["variants"]["int8"]["failures"].append({"run": 99, "seed": 7, "status": "failed", "reason": "Out of memory.", "advice": ""})
    part.draw(comparison)
    part.verdicts.seeds.setChecked(True)
    model = part.model
    for order in (UP, DOWN):
        model.sort(column(model, SPEED), order)
        for name in comparison["variants"]:
            at = model.rows.index(Row(name))
            seeds = table_look.seeds_of(comparison["variants"][name])
            assert [row.seed for row in model.rows[at : at + len(seeds) + 1]] == ["", *seeds]
    failed = model.rows.index(Row("int8", "7"))
    assert model.data(model.index(failed, 0), CELL)[:3] == ("seed 7", "failed", "broken")
    assert "Out of memory." in model.data(model.index(failed, 0), Qt.ItemDataRole.ToolTipRole)
    index = model.index(model.rows.index(Row(comparison["baseline"])), 0)
    place = part.table.staying.visualRect(index)
    qtbot.mouseClick(part.table.staying.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place.left() + 12, place.center().y()))
    assert comparison["baseline"] not in model.unfolded
    part.verdicts.seeds.setChecked(False)
    assert all(not row.seed for row in model.rows)
