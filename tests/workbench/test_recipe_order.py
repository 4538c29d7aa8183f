"""The order of a recipe: what it means, moving by mouse and keyboard, and the card that stands beside it."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from engines.api import HOOKS
from engines.merging import Index
from workbench.editor import order
from workbench.views.editor import EditorView

ADAM, CLIP, PRUNE, INT8 = "optimization/adam", "optimization/clip_norm", "pruning/magnitude", "quantization/dynamic_int8"


@pytest.fixture
def editor(qtbot: QtBot, editor: EditorView) -> EditorView:
    """With a recipe of three, tall enough that all of it is seen."""
    for name in (CLIP, PRUNE):
        editor.recipe.add(name)
    for card in editor.recipe._cards:
        card.disclosure.setChecked(False)
    editor.resize(1280, 2400)
    qtbot.waitExposed(editor)
    return editor


def _ids(editor: EditorView) -> list[str]:
    return [table["id"] for table in editor.document.data["training"]["techniques"]]


def test_every_hook_has_a_stage_and_words() -> None:
    assert [hook for hooks in order.STAGES.values() for hook in hooks] == list(HOOKS) == list(order.PLACES)


def test_what_a_move_changes(catalogue: dict[str, Any]) -> None:
    index = Index(catalogue)
    assert order.stages(catalogue["plugins"][PRUNE]) == "Training · After"
    assert "nothing changes" in order.consequence([ADAM, CLIP], index, 0, 1)
    assert order.consequence([CLIP, ADAM, PRUNE], index, 0, 2).endswith("now acts after Magnitude pruning on each update.")
    assert order.consequence([CLIP, PRUNE], index, 1, 0).endswith("now acts before Clip the norm of the gradient on each update.")


def test_only_a_move_that_breaks_an_order_is_hindered(catalogue: dict[str, Any]) -> None:
    index = Index(catalogue)
    assert order.hindrance([PRUNE, INT8], index, 0, 1) == "Dynamic int8 quantisation must stand after Magnitude pruning."
    assert order.hindrance([INT8, PRUNE], index, 0, 1) == ""
    assert order.hindrance([INT8, PRUNE, ADAM], index, 2, 0) == ""  # It was wrong before; this move does not make it so.


def test_alt_and_an_arrow_move_a_technique_which_stays_chosen(qtbot: QtBot, editor: EditorView) -> None:
    said: list[str] = []
    editor._desk.says.connect(said.append)
    editor.recipe._cards[0].setFocus()
    qtbot.keyClick(editor.recipe._cards[0], Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    assert _ids(editor) == [CLIP, ADAM, PRUNE]
    assert editor.recipe._cards[1].hasFocus()
    qtbot.keyClick(editor.recipe._cards[1], Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    assert _ids(editor) == [CLIP, PRUNE, ADAM]
    qtbot.keyClick(editor.recipe._cards[2], Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    assert _ids(editor) == [CLIP, PRUNE, ADAM]
    assert len(said) == 2
    editor.document.undo.undo()
    editor.document.undo.undo()
    assert _ids(editor) == [ADAM, CLIP, PRUNE]


def test_what_cannot_stand_there_stays_and_says_why(qtbot: QtBot, editor: EditorView) -> None:
    editor.recipe.add(INT8)
    with qtbot.waitSignal(editor._desk.says) as said:
        assert not editor.recipe.move_technique(3, 2)
    assert said.args == ["Dynamic int8 quantisation must stand after Magnitude pruning. It was not moved."]
    assert _ids(editor) == [ADAM, CLIP, PRUNE, INT8]


def test_forms_stay_open_with_their_technique(editor: EditorView) -> None:
    editor.recipe._cards[2].disclosure.setChecked(True)
    assert editor.recipe.move_technique(2, 0)
    assert [card.disclosure.isChecked() for card in editor.recipe._cards] == [True, False, False]
    assert editor.recipe._cards[0].form is not None
    assert "sparsity" in editor.recipe._cards[0].form.rows


def test_dragging(qtbot: QtBot, editor: EditorView) -> None:
    cards = editor.recipe._cards
    start, below = QPoint(40, 12), QPoint(40, 12 + cards[2].y() - cards[0].y() + 40)
    qtbot.mousePress(cards[0], Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(cards[0], start + QPoint(0, 30))
    qtbot.mouseMove(cards[0], below)
    assert editor.recipe._line.isVisible()
    assert editor.recipe._line.y() > cards[2].geometry().center().y()
    qtbot.keyClick(cards[0], Qt.Key.Key_Escape)
    assert editor.recipe._line.isHidden()
    qtbot.mouseRelease(cards[0], Qt.MouseButton.LeftButton, pos=below)
    assert _ids(editor) == [ADAM, CLIP, PRUNE]
    qtbot.mousePress(cards[0], Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(cards[0], start + QPoint(0, 30))
    qtbot.mouseMove(cards[0], below)
    qtbot.mouseRelease(cards[0], Qt.MouseButton.LeftButton, pos=below)
    assert _ids(editor) == [CLIP, PRUNE, ADAM]
    assert editor.side.card.isHidden()


def test_a_variant_has_an_order_of_its_own(editor: EditorView) -> None:
    editor.variants.add()
    assert editor.recipe.move_technique(2, 1)
    assert _ids(editor) == [ADAM, CLIP, PRUNE]
    assert [part.id for part in editor._merged.recipe] == [ADAM, PRUNE, CLIP]  # type: ignore[union-attr]


def test_a_click_or_enter_shows_the_card_beside_and_escape_closes_it(qtbot: QtBot, editor: EditorView) -> None:
    card = editor.side.card
    qtbot.mouseClick(editor.recipe._cards[2], Qt.MouseButton.LeftButton, pos=QPoint(40, 12))
    assert card.isVisible()
    assert card.title.text() == "Magnitude pruning"
    assert "Does nothing when" in card.text.toPlainText()
    assert card.text.accessibleName() == editor._desk.entry(PRUNE)["card"]  # type: ignore[index]
    editor.recipe._cards[0].setFocus()
    qtbot.keyClick(editor.recipe._cards[0], Qt.Key.Key_Return)
    assert card.plugin_id == ADAM
    card.text.setFocus()
    qtbot.keyClick(card.text, Qt.Key.Key_Escape)
    assert card.isHidden()


def test_what_a_technique_finds_in_the_model_stands_under_it(editor: EditorView) -> None:
    names = [f"layers.{n}.weight" for n in range(50)]
    found = {"technique": 2, "id": PRUNE, "names": names, "weights": 12345, "left": ["layers.9 is left alone."]}
    editor.recipe.show_matches([found])
    line = editor.recipe._cards[2]._found
    assert [card._found.isVisible() for card in editor.recipe._cards] == [False, False, True]
    assert line.text() == "Finds 50, 12,345 numbers: layers.0.weight, layers.1.weight, layers.2.weight …"
    assert line.toolTip().splitlines()[-2:] == ["…", "layers.9 is left alone."]
    editor.recipe.show_matches([found | {"names": [], "weights": 0, "left": []}])
    assert "Finds nothing" in line.text()
    assert line.property("role") == "error"
    editor.recipe.move_technique(2, 1)
    assert not any(card._found.isVisible() for card in editor.recipe._cards), "of other techniques by now"
