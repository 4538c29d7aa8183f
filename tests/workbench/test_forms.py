from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from engines.candidates import Candidate
from workbench.fields import ChoiceField, EntriesField, SwitchField, TextField
from workbench.forms import Form, Group, Row
from workbench.model_field import ModelField
from workbench.schemas import MISSING, default, shape, write


def _other(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """A valid value that is not the default; MISSING where none is obvious."""
    kind, given = shape(schema, definitions), default(schema, definitions)
    bounds = kind.schema or {}
    if kind.kind == "boolean":
        return given is not True
    if kind.kind == "enum":
        return next((option for option in kind.options if option != given), MISSING)
    if kind.kind in ("integer", "number"):
        for candidate in (1, 2, 3, 0.5, 0.25, 8, 64, 0):
            value = candidate if kind.kind == "number" or isinstance(candidate, int) else MISSING
            low, above = bounds.get("minimum", -1e9), bounds.get("exclusiveMinimum", -1e9)
            high, below = bounds.get("maximum", 1e9), bounds.get("exclusiveMaximum", 1e9)
            if value is not MISSING and value != given and low <= value <= high and above < value < below:
                return float(value) if kind.kind == "number" else value
    if kind.kind in ("string", "path", "model"):
        return "some text"
    if kind.kind == "list" and kind.items is not None:
        return [3, 5] if kind.items.kind == "integer" else [0.25] if kind.items.kind == "number" else ["x", "y"]
    return MISSING


def test_every_plugin_of_the_catalogue_has_a_form_that_keeps_values(qtbot: QtBot, catalogue: dict[str, Any]) -> None:
    assert len(catalogue["plugins"]) > 15
    for plugin_id, entry in catalogue["plugins"].items():
        schema = entry["parameters"]
        form = Form(schema, variants=["teacher"])
        qtbot.addWidget(form)
        form.set_values({})
        assert form.values() == {}, f"{plugin_id}: a form nobody touched must leave every default out"
        values = {key: _other(value, schema.get("$defs", {})) for key, value in schema.get("properties", {}).items()}
        values = {key: value for key, value in values.items() if value is not MISSING}
        form.set_values(values)
        assert form.values() == values, plugin_id


def test_typing_tells_the_values_and_leaves_defaults_out(qtbot: QtBot) -> None:
    form = Form({"properties": {"width": {"type": "integer", "minimum": 1, "default": 200}, "share": {"type": "number", "default": 0.5}}})
    qtbot.addWidget(form)
    form.set_values({})
    told: list[dict[str, Any]] = []
    form.edited.connect(told.append)
    field = form.rows["width"].field
    assert isinstance(field, TextField)
    field.line.selectAll()
    qtbot.keyClicks(field.line, "64")
    assert told[-1] == {"width": 64}
    field.line.selectAll()
    qtbot.keyClicks(field.line, "200")
    assert told[-1] == {}


def test_a_finished_model_is_a_variant_of_the_list_or_what_is_typed(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"type": "string", "reference": "model"}
    form = Form({"properties": {"teacher": schema}, "required": ["teacher"]}, variants=["big", "small"], folder=tmp_path)
    qtbot.addWidget(form)
    form.set_values({})
    assert form.problems() == {"teacher": "Name a variant, a run (run:12) or an exported file."}
    field = form.rows["teacher"].field
    assert isinstance(field, ModelField)
    told: list[dict[str, Any]] = []
    form.edited.connect(told.append)
    assert [field.choice.itemText(i) for i in range(field.choice.count())] == ["big", "small"]
    field.choice.setCurrentIndex(1)
    field.choice.activated.emit(1)
    assert told[-1] == {"teacher": "small"}
    line = field.choice.lineEdit()
    assert line is not None
    line.selectAll()
    qtbot.keyClicks(line, "run:12")
    assert told[-1] == {"teacher": "run:12"}
    assert form.problems() == {}
    for path, written in ((tmp_path / "big.safetensors", "./big.safetensors"), (Path("/else/b.safetensors"), "/else/b.safetensors")):
        monkeypatch.setattr("workbench.model_field.QFileDialog.getOpenFileName", lambda *_, path=path: (str(path), ""))
        field._browse()
        assert told[-1] == {"teacher": written}
    form.set_values({"teacher": "run:3"})
    assert form.values() == {"teacher": "run:3"}


def test_finished_runs_that_fit_are_listed_found_by_what_they_are_and_judged(qtbot: QtBot, tmp_path: Path) -> None:
    form = Form({"properties": {"teacher": {"type": "string", "reference": "model"}}, "required": ["teacher"]}, variants=["big"], folder=tmp_path)
    qtbot.addWidget(form)
    form.set_values({"teacher": "run:7"})
    assert form.problems() == {}  # What the store holds is not known yet.
    told: list[dict[str, Any]] = []
    form.edited.connect(told.append)
    about = {"seed": 0, "task": "tasks/language_model", "ended": 86400.0 * 365, "same_text": True}
    fits = Candidate(run=12, variant="wide", experiment="Which width?", why_not="", **about)
    other = Candidate(run=7, variant="deep", experiment="Which depth?", why_not="It cuts text otherwise.", **about)
    form.offer_models([fits, other])
    assert form.problems() == {"teacher": "It cuts text otherwise."}
    field = form.rows["teacher"].field
    assert isinstance(field, ModelField)
    listed = [field.choice.itemText(i) for i in range(field.choice.count())]
    assert listed == ["big", "run:12 · wide, seed 0 · 1971-01-01 · language model · Which width?"]
    assert field.value() == "run:7"
    line = field.choice.lineEdit()
    assert line is not None
    form.show()
    for typed in ("width", "language", "1971-01"):
        line.selectAll()
        qtbot.keyClicks(line, typed)
        assert field.completer.completionCount() == 1
        assert "No other variant" in form.problems()["teacher"]
        popup = field.completer.popup()
        assert popup is not None
        qtbot.keyClick(popup, Qt.Key.Key_Down)
        qtbot.keyClick(popup, Qt.Key.Key_Return)
        assert told[-1] == {"teacher": "run:12"}
        assert form.problems() == {}
        told.clear()
    for typed, said in (("run:99", "No finished run 99"), ("./gone.safetensors", "There is no file or folder"), ("small", "No other variant")):
        form.set_values({"teacher": typed})
        assert said in form.problems()["teacher"]


def test_wrong_text_is_kept_marked_and_explained(qtbot: QtBot) -> None:
    form = Form({"properties": {"width": {"type": "integer", "minimum": 1, "default": 200, "description": "How wide."}}})
    qtbot.addWidget(form)
    form.set_values({})
    row = form.rows["width"]
    assert isinstance(row, Row)
    assert isinstance(row.field, TextField)
    row.field.line.selectAll()
    qtbot.keyClicks(row.field.line, "wide")
    assert form.values() == {"width": "wide"}
    assert form.problems() == {"width": "Write a whole number."}
    assert row._note.text() == "Write a whole number."
    row.field.line.selectAll()
    qtbot.keyClicks(row.field.line, "0")
    assert form.problems() == {"width": "Must be at least 1."}
    row.field.line.selectAll()
    qtbot.keyClicks(row.field.line, "8")
    assert form.problems() == {}
    assert row._note.text() == "How wide."


def test_problems_from_elsewhere_stand_beside_their_field(qtbot: QtBot) -> None:
    form = Form({"properties": {"heads": {"type": "integer", "default": 4}}})
    qtbot.addWidget(form)
    form.set_values({})
    form.complain({"heads": "Must divide the width 100."})
    assert form.problems() == {"heads": "Must divide the width 100."}
    form.complain({})
    assert form.problems() == {}


def test_arrow_keys_step_within_bounds(qtbot: QtBot) -> None:
    form = Form({"properties": {"n": {"type": "integer", "minimum": 1, "maximum": 2, "default": 1}}})
    qtbot.addWidget(form)
    form.set_values({})
    field = form.rows["n"].field
    assert isinstance(field, TextField)
    for _ in range(3):
        qtbot.keyClick(field.line, Qt.Key.Key_Up)
    assert form.values() == {"n": 2}


def test_reset_takes_an_explicit_value_back(qtbot: QtBot) -> None:
    form = Form({"properties": {"on": {"type": "boolean", "default": True}}})
    qtbot.addWidget(form)
    form.set_values({"on": False})
    row = form.rows["on"]
    assert isinstance(row, Row)
    assert isinstance(row.field, SwitchField)
    row.reset.click()
    assert form.values() == {}


def test_unknown_keys_and_choices_survive(qtbot: QtBot) -> None:
    form = Form({"properties": {"level": {"enum": ["word", "char"], "default": "word"}}})
    qtbot.addWidget(form)
    form.set_values({"level": "wrd", "extra": 1})
    assert form.values() == {"level": "wrd", "extra": 1}
    assert isinstance(form.rows["level"].field, ChoiceField)
    assert "level" in form.problems()


def test_tables_and_lists_of_tables(qtbot: QtBot) -> None:
    inner = {"type": "object", "properties": {"name": {"type": "string", "default": ""}, "size": {"type": "integer", "default": 1}}}
    form = Form(
        {"$defs": {"Row": inner}, "properties": {"one": {"$ref": "#/$defs/Row"}, "many": {"type": "array", "items": {"$ref": "#/$defs/Row"}}}}
    )
    qtbot.addWidget(form)
    values = {"one": {"size": 3}, "many": [{"name": "a"}, {"size": 2}]}
    form.set_values(values)
    assert form.values() == values
    assert isinstance(form.rows["many"], Group)


def test_every_field_is_named_for_screen_readers(qtbot: QtBot, catalogue: dict[str, Any]) -> None:
    for entry in catalogue["plugins"].values():
        form = Form(entry["parameters"])
        qtbot.addWidget(form)
        assert all(row.field.accessibleName() for row in form.rows.values() if isinstance(row, Row))


def test_write_shows_what_is_not_set_as_nothing() -> None:
    assert write(None, shape({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {})) == ""


def test_a_table_with_keys_of_ones_own_has_an_entry_on_each_line(qtbot: QtBot) -> None:
    heads = {"full": {"id": "softmax/full"}, "größer": {"id": "softmax/nce", "samples": 9}}
    schema = {"type": "object", "additionalProperties": {"type": "object"}, "default": heads}
    form = Form({"properties": {"heads": schema, "width": {"type": "integer", "default": 1}}})
    qtbot.addWidget(form)
    form.set_values({})
    row = form.rows["heads"]
    assert isinstance(row, Row)
    field = row.field
    assert isinstance(field, EntriesField)
    assert field.text.toPlainText().splitlines()[1:3] == ['  "full": {"id": "softmax/full"},', '  "größer": {"id": "softmax/nce", "samples": 9}']
    assert form.values() == {}
    field.text.setPlainText('{"full": {"id": "softmax/full"},\n "x": }')
    assert form.problems()["heads"].startswith("Line 2, column 7: ")
    assert field.text.toPlainText().endswith('"x": }')
    field.text.setPlainText("[1]")
    assert form.problems()["heads"].startswith("Write a table")
    field.text.setPlainText('{"x": {"id": "softmax/full"}}')
    assert form.problems() == {}
    assert form.values() == {"heads": {"x": {"id": "softmax/full"}}}
