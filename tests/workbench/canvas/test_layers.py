"""Edits of a list of layers: what they make of it, and that they leave the list that they are given alone."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workbench.editor.canvas import layers as edits


def named(*names: str) -> list[dict[str, Any]]:
    return [{"mixer": {"id": name}} for name in names]


def names(layers: list[dict[str, Any]]) -> str:
    return "".join(layer["mixer"]["id"] for layer in layers)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True), st.data())
def test_moving_keeps_every_layer_and_the_order_of_both_parts(letters: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.integers(0, len(letters) - 1), min_size=1))
    to = data.draw(st.integers(0, len(letters)))
    layers = named(*letters)
    before = deepcopy(layers)
    made, then = edits.moved(layers, chosen, to)
    assert layers == before
    moved = [letters[number] for number in sorted(chosen)]
    assert [names(made)[number] for number in then] == moved
    assert [letter for letter in names(made) if letter not in moved] == [letter for letter in letters if letter not in moved]
    assert then[0] == sum(number < to for number in range(len(letters)) if number not in chosen)


def test_what_each_edit_makes() -> None:
    layers = named(*"abc")
    assert names(edits.duplicated(layers, {0, 2})[0]) == "abcac"
    assert edits.duplicated(layers, {0, 2})[1] == [3, 4]
    assert edits.removed(layers, {0, 1}) == (named("c"), [0])
    assert edits.removed(layers, {0, 1, 2}) == ([], [])
    assert names(edits.inserted(layers, 1, "mixer", "x", "m")[0]) == "axbc"
    assert edits.inserted(layers, 3, "feedforward", "f", "m")[0][3] == {"mixer": {"id": "c"}, "feedforward": {"id": "f"}}
    assert edits.inserted([], 0, "feedforward", "f", "m")[0] == [{"mixer": {"id": "m"}, "feedforward": {"id": "f"}}]
    assert edits.replaced(layers, 1, "feedforward", "f")[0][1] == {"mixer": {"id": "b"}, "feedforward": {"id": "f"}}
    assert edits.repeated(layers, {1}, 2)[0][1]["repeat"] == 3
    assert "repeat" not in edits.repeated(edits.repeated(layers, {1}, 1)[0], {1}, -5)[0][1]


def test_copied_layers_come_back_and_other_text_is_none() -> None:
    layers = named(*"ab")
    assert edits.from_text(edits.as_text(layers)) == layers
    for text in ("", "hello", "[1]", '{"layers": [{"repeat": 2}]}', '{"layers": 3}'):
        assert edits.from_text(text) == []
