from __future__ import annotations

from typing import Any

import pytest

from workbench import theme
from workbench.cards import card_html
from workbench.schemas import Shape, bounds, broken_rule, read, shape, write


@pytest.mark.parametrize(
    ("schema", "kind", "nullable"),
    [
        ({"type": "integer"}, "integer", False),
        ({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}, "integer", True),
        ({"enum": ["a", "b"]}, "enum", False),
        ({"type": "string", "path": True}, "path", False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "path": True}, "path", True),
        ({"type": "string", "reference": "variant"}, "variant", False),
        ({"type": "array", "items": {"type": "integer"}}, "list", False),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, "list", False),
        ({"type": "array", "items": {"enum": [1, 2]}}, "json", False),
        ({"type": "array", "items": {"$ref": "#/$defs/Row"}}, "objects", False),
        ({"$ref": "#/$defs/Row"}, "object", False),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "json", False),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "json", False),
    ],
)
def test_shape(schema: dict[str, Any], kind: str, nullable: bool) -> None:
    found = shape(schema, {"Row": {"type": "object", "properties": {"x": {"type": "number"}}}})
    assert (found.kind, found.nullable) == (kind, nullable)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "2,000,000", 2_000_000),
        ("integer", "2_000", 2000),
        ("integer", "2e6", 2_000_000),
        ("number", "1e-3", 0.001),
        ("number", " 0.25 ", 0.25),
        ("number", "200,000", 200_000.0),
        ("string", "text", "text"),
    ],
)
def test_read(kind: str, text: str, value: Any) -> None:
    assert read(text, Shape(kind)) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [("integer", "1.5"), ("integer", "many"), ("number", "nan"), ("number", "x"), ("number", "0,25"), ("integer", "1,5"), ("json", "{")],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(kind: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        read(text, Shape(kind, schema={"type": "object"}))


@pytest.mark.parametrize("value", [0, 7, -3, 10_000, 2_000_000])
def test_integers_survive_writing(value: int) -> None:
    assert read(write(value, Shape("integer")), Shape("integer")) == value


@pytest.mark.parametrize("value", [0.0, 0.25, 1e-5, 1.0, 123456.789, 1e20, 0.1 + 0.2])
def test_numbers_survive_writing(value: float) -> None:
    assert read(write(value, Shape("number")), Shape("number")) == value


def test_choices_in_a_list_are_checked_one_by_one() -> None:
    kind = shape({"type": "array", "items": {"enum": ["float32", "bfloat16"]}}, {})
    assert read("float32, bfloat16", kind) == ["float32", "bfloat16"]
    assert write(["float32", "bfloat16"], kind) == "float32, bfloat16"
    assert broken_rule(["float32"], kind) == ""
    assert broken_rule(["float32", "float8"], kind) == "float8: Choose one of float32, bfloat16."


def test_lists_survive_writing() -> None:
    kind = Shape("list", items=Shape("integer"))
    assert read(write([2000, 10000], kind), kind) == [2000, 10000]
    assert read("", kind) == []


def test_bounds_and_broken_rules() -> None:
    kind = Shape("number", schema={"exclusiveMinimum": 0, "maximum": 1})
    assert bounds(kind) == "0 < … ≤ 1"
    assert broken_rule(0.5, kind) == ""
    assert broken_rule(0, kind) == "Must be greater than 0."
    assert broken_rule(2, kind) == "Must be at most 1."
    assert broken_rule(None, kind) == "A value is needed."
    assert broken_rule("many", kind) == "Write a number."


def test_a_numbered_line_of_a_card_is_an_equation_wherever_it_begins() -> None:
    card = "Title\n\nskip-gram:  p = head(E)      (1)\n    b ~ U                     (2)\n\nHeld-out: words (3) of a text.\n\n    label <tab> text"
    html = card_html({"card": card}, theme.theme("light"))
    assert "<i>p</i> = head(<i>E</i>)" in html
    assert html.count(">(1)<") == html.count(">(2)<") == 1
    assert html.count("<pre") == 1  # What has no number is an example, and stands as it was written.
    assert "label &lt;tab&gt; text" in html
    assert "<b>Held-out:</b> words (3) of a text." in html
