"""The canvas as a person uses it: point, drag, drop, type; what the file says afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent, QFontMetricsF, QKeyEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from workbench.editor.canvas.block_list import ID
from workbench.editor.canvas.menu import menu
from workbench.editor.canvas.painting import broken
from workbench.editor.canvas.panel import CanvasPanel
from workbench.editor.canvas.view import BLOCK
from workbench.views.editor import EditorView


@pytest.fixture
def panel(editor: EditorView) -> CanvasPanel:
    """A model of three different layers."""
    mixers = ("recurrent/lstm", "attention/full", "attention/linear")
    editor.document.edit("", lambda data: data["model"].update(layers=[{"mixer": {"id": mixer}} for mixer in mixers]))
    return editor.model.canvas


def layers(panel: CanvasPanel) -> list[str]:
    """The layers of the base, in short: "lstm", "full+dense", "linear x2"."""
    found = []
    for layer in panel._document.data["model"]["layers"]:
        parts = [layer[slot]["id"].split("/")[1] for slot in ("mixer", "feedforward") if slot in layer]
        found.append("+".join(parts) + (f" x{layer['repeat']}" if "repeat" in layer else ""))
    return found


def middle(panel: CanvasPanel, key: str) -> QPoint:
    piece = panel.canvas.layout_.piece(key)
    assert piece is not None
    return on_screen(panel, piece.area.center())


def on_screen(panel: CanvasPanel, place: QPointF) -> QPoint:
    canvas = panel.canvas
    return QPointF(place.x() * canvas.zoom - canvas.horizontalScrollBar().value(), place.y() * canvas.zoom + canvas._top).toPoint()


def drop(panel: CanvasPanel, block: str, place: QPoint) -> bool:
    """Drag a block to a place and let go; whether it was taken."""
    data = QMimeData()
    data.setData(BLOCK, block.encode())
    action, button, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    panel.canvas.dragEnterEvent(QDragEnterEvent(place, action, data, button, none))
    move = QDragMoveEvent(place, action, data, button, none)
    panel.canvas.dragMoveEvent(move)
    if move.isAccepted():
        panel.canvas.dropEvent(QDropEvent(QPointF(place), action, data, button, none))
    else:
        panel.canvas._end_drag()
    return move.isAccepted()


def lines(panel: CanvasPanel, key: str) -> tuple[str, ...]:
    piece = panel.canvas.layout_.piece(key)
    assert piece is not None
    return piece.lines


def shown(panel: CanvasPanel, *rows: dict[str, Any]) -> None:
    """The inspector has answered about the model that is shown."""
    assert panel._merged is not None
    panel.show_figures({"rows": rows}, panel._merged)


def test_a_block_is_dropped_where_it_fits_and_nowhere_else(panel: CanvasPanel) -> None:
    assert drop(panel, "softmax/adaptive", middle(panel, "head"))
    assert panel._document.data["model"]["head"] == {"id": "softmax/adaptive"}
    assert not drop(panel, "softmax/full", middle(panel, "layer/0/mixer"))
    assert drop(panel, "attention/sliding_window", middle(panel, "layer/1/mixer"))
    assert drop(panel, "feedforward/dense", middle(panel, "layer/0/feedforward"))
    assert layers(panel) == ["lstm+dense", "sliding_window", "linear"]
    panel._document.undo.undo()
    assert layers(panel) == ["lstm", "sliding_window", "linear"]
    assert not drop(panel, "optimization/adam", middle(panel, "head"))


def test_a_mixer_dropped_between_layers_is_a_layer_of_its_own(panel: CanvasPanel) -> None:
    assert drop(panel, "attention/sliding_window", on_screen(panel, panel.canvas.layout_.gaps[1].center()))
    assert layers(panel) == ["lstm", "sliding_window", "full", "linear"]
    assert panel.canvas.key == "layer/1/mixer"


def test_layers_are_dragged_to_another_place(qtbot: QtBot, panel: CanvasPanel) -> None:
    port = panel.canvas.viewport()
    start, end = middle(panel, "layer/0/mixer"), on_screen(panel, panel.canvas.layout_.gaps[3].center())
    qtbot.mousePress(port, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(port, start + QPoint(20, 0))
    qtbot.mouseMove(port, end)
    assert panel.canvas.look.gap == 3
    assert set(panel.canvas.look.moving) == {0}
    qtbot.mouseRelease(port, Qt.MouseButton.LeftButton, pos=end)
    assert layers(panel) == ["full", "linear", "lstm"]
    assert panel.canvas.layers == {2}


def test_everything_by_keyboard(qtbot: QtBot, panel: CanvasPanel) -> None:
    canvas, control = panel.canvas, Qt.KeyboardModifier.ControlModifier
    canvas.setFocus(Qt.FocusReason.TabFocusReason)
    assert canvas.key == "embedding"
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    assert canvas.key == "layer/0/mixer"
    qtbot.keyClick(canvas, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert canvas.layers == {0, 1}
    qtbot.keyClick(canvas, Qt.Key.Key_Plus)
    assert layers(panel) == ["lstm x2", "full x2", "linear"]
    qtbot.keyClick(canvas, Qt.Key.Key_Right, Qt.KeyboardModifier.AltModifier)
    assert layers(panel) == ["linear", "lstm x2", "full x2"]
    assert canvas.layers == {1, 2}
    qtbot.keyClick(canvas, Qt.Key.Key_C, control)
    qtbot.keyClick(canvas, Qt.Key.Key_Delete)
    assert layers(panel) == ["linear"]
    qtbot.keyClick(canvas, Qt.Key.Key_V, control)
    assert layers(panel) == ["linear", "lstm x2", "full x2"]
    qtbot.keyClick(canvas, Qt.Key.Key_Minus)
    qtbot.keyClick(canvas, Qt.Key.Key_D, control)
    assert layers(panel) == ["linear", "lstm", "full", "lstm", "full"]
    qtbot.keyClick(canvas, Qt.Key.Key_Home)
    qtbot.keyClick(canvas, Qt.Key.Key_Delete)
    assert len(layers(panel)) == 5  # There is no model without an embedding.
    assert "embedding" in canvas.accessibleDescription()


def test_all_layers_are_chosen_and_the_menu_offers_what_is_possible(qtbot: QtBot, panel: CanvasPanel) -> None:
    canvas = panel.canvas
    assert panel._possible() == {"all", "paste", "find"}
    canvas.choose("layer/0/mixer")
    assert panel._possible() >= {"open", "about", "copy", "more", "right"}
    assert not panel._possible() & {"left", "fewer"}
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert canvas.layers == {0, 1, 2}
    made = menu(panel, panel._possible(), panel._act)
    offered = {action.text().partition("\t")[0] for action in made.actions() if action.isEnabled() and action.text()}
    assert {"Repeat once more", "Copy, for any variant", "Select all layers"} <= offered
    assert not {"Move to the left", "Move to the right"} & offered
    next(action for action in made.actions() if action.text().startswith("Repeat once more")).trigger()
    assert layers(panel) == ["lstm x2", "full x2", "linear x2"]
    made.deleteLater()


def test_a_double_click_beside_the_model_looks_for_a_block(qtbot: QtBot, panel: CanvasPanel) -> None:
    panel._toggle.setChecked(False)
    port = panel.canvas.viewport()
    qtbot.mouseDClick(port, Qt.MouseButton.LeftButton, pos=QPoint(2, 2))
    assert panel.blocks.isVisible()
    assert panel.blocks.search.hasFocus()


def test_keys_of_the_canvas_are_not_those_of_the_menus(panel: CanvasPanel) -> None:
    def overrides(key: Qt.Key, modifier: Qt.KeyboardModifier) -> bool:
        event = QKeyEvent(QEvent.Type.ShortcutOverride, key, modifier)
        event.ignore()
        QApplication.sendEvent(panel.canvas, event)
        return event.isAccepted()

    control = Qt.KeyboardModifier.ControlModifier
    assert all(overrides(key, control) for key in (Qt.Key.Key_D, Qt.Key.Key_A, Qt.Key.Key_C))
    assert not overrides(Qt.Key.Key_S, control)


def test_a_long_title_stands_in_two_lines(panel: CanvasPanel) -> None:
    metrics = QFontMetricsF(panel.font())
    title = "Long short-term memory"
    wide = metrics.horizontalAdvance("Long short-") + 1
    assert broken(title, metrics, 1000) == (title,)
    assert broken(title, metrics, wide) == ("Long short-", "term memory")
    assert broken("Unbreakable", metrics, 10) == ("Unbreakable",)


def test_the_last_layer_stays(qtbot: QtBot, panel: CanvasPanel) -> None:
    said: list[str] = []
    panel._desk.says.connect(said.append)
    panel.canvas.choose("layer/0/mixer", {0, 1, 2})
    panel._act("remove")
    assert len(layers(panel)) == 3
    assert "at least one layer" in said[0]


def test_layers_are_pasted_into_another_variant(editor: EditorView, panel: CanvasPanel) -> None:
    panel.canvas.choose("layer/1/mixer", {1, 2})
    panel._act("copy")
    editor.variants.choose(0)
    panel._act("paste")
    stated = editor.document.data["variant"][0]["model"]["layers"]
    assert [layer["mixer"]["id"].split("/")[1] for layer in stated] == ["lstm", "full", "linear", "full", "linear"]
    assert layers(panel) == ["lstm", "full", "linear"]


def test_the_list_is_searched_and_used_without_a_mouse(qtbot: QtBot, panel: CanvasPanel) -> None:
    panel.canvas.choose("layer/0/mixer")
    qtbot.keyClicks(panel.blocks.search, "switch")
    shown = [item for row in range(panel.blocks.list.count()) if not (item := panel.blocks.list.item(row)).isHidden()]
    assert [item.data(ID) for item in shown if item.data(ID)] == ["experts/switch"]
    qtbot.keyClick(panel.blocks.search, Qt.Key.Key_Return)
    assert layers(panel) == ["lstm+switch", "full", "linear"]
    piece = panel.canvas.layout_.piece("layer/0/feedforward")
    assert piece is not None
    assert piece.fan > 1
    assert piece.residual


def test_figures_shapes_and_problems_stand_on_the_blocks(editor: EditorView, panel: CanvasPanel) -> None:
    row = {"shape_in": [1, 35, 128], "shape_out": [1, 35, 128], "parameters": 132_096, "flops_per_token": 262_144.0}
    shown(panel, {"name": "layers.0.mixer", **row}, {"name": "layers.0", **row})
    piece = panel.canvas.layout_.piece("layer/0/mixer")
    assert piece is not None
    assert piece.lines[-2:] == ("132k parameters", "262k FLOP a token")
    assert panel.canvas.layout_.arrows[1].shape == "35 × 128"
    editor.document.edit("", lambda data: data["training"].update(techniques=[]))
    assert "132k parameters" in lines(panel, "layer/0/mixer")
    editor.document.edit("", lambda data: data["model"]["layers"][0]["mixer"].update(width=64))
    assert "132k parameters" not in lines(panel, "layer/0/mixer")  # Those of the model before are no figures of this one.
    editor.document.undo.undo()
    assert "132k parameters" in lines(panel, "layer/0/mixer")
    editor.document.edit("", lambda data: data["model"]["head"].update(id="softmax/fulll"))
    head = panel.canvas.layout_.piece("head")
    assert head is not None
    assert "did you mean" in head.wrong


def test_a_repeated_layer_is_folded_and_the_next_has_the_figures_of_its_own_modules(editor: EditorView, panel: CanvasPanel) -> None:
    editor.document.edit("", lambda data: data["model"]["layers"][0].update(repeat=3))
    shown(panel, {"name": "layers.3.mixer", "parameters": 7_000}, {"name": "layers.1.mixer", "parameters": 5_000})
    assert panel.canvas.layout_.frames[0].repeat == 3
    piece = panel.canvas.layout_.piece("layer/1/mixer")
    assert piece is not None
    assert "7,000 parameters" in piece.lines


def test_predicted_memory_stands_on_the_blocks_and_leaves_with_the_recipe_it_is_of(editor: EditorView, panel: CanvasPanel) -> None:
    def held(name: str, **mib: float) -> dict[str, Any]:
        return {"name": name, "owners_mib": mib}

    editor.document.edit("", lambda data: data["model"]["layers"][0].update(repeat=2))
    assert panel._merged is not None
    modules = [
        held("embedding", parameters=1.0, optimizer=2.0), held("layers.0.mixer", activations=3.0), held("layers.1.mixer", activations=1.0),
        held("layers.1.mixer.lstm", parameters=4.0), held("layers.2.mixer", parameters=0.5), held("head", other=7.0), held("(outside)", other=9.0),
    ]  # fmt: skip
    panel.show_memory({"modules": modules}, panel._merged)
    keys = ("embedding", "layer/0/mixer", "layer/1/mixer", "head")
    assert [lines(panel, key)[-1] for key in keys] == ["3 MiB at peak", "2 × 4 MiB at peak", "0.500 MiB at peak", "7 MiB at peak"]
    piece = panel.canvas.layout_.piece("layer/0/mixer")
    assert piece is not None
    assert "at the peak of a training step: activations 4, parameters 4 MiB" in piece.words
    editor.document.edit("", lambda data: data["training"].update(techniques=[{"id": "optimization/sgd"}]))
    assert not any("MiB" in line for key in keys for line in lines(panel, key))
    editor.document.undo.undo()
    assert lines(panel, "head")[-1] == "7 MiB at peak"


@pytest.mark.parametrize(("width", "below"), [(1280, True), (2200, False)])
def test_the_whole_of_a_small_model_is_seen_beside_or_above_the_list_of_blocks(qtbot: QtBot, editor: EditorView, width: int, below: bool) -> None:
    panel = editor.model.canvas
    layer = {"mixer": {"id": "attention/full"}, "feedforward": {"id": "feedforward/dense"}, "repeat": 2}
    editor.document.edit("", lambda data: data["model"].update(layers=[layer]))
    editor.resize(width - 96, 800)  # What the rail of the window leaves.
    qtbot.waitUntil(lambda: (panel.blocks.y() > panel.canvas.y()) == below)
    assert panel.blocks.isVisibleTo(editor)
    assert not panel.canvas._overflows
    assert panel.canvas.viewport().rect().contains(middle(panel, "head"))
    columns = {panel.blocks.list.visualItemRect(panel.blocks.list.item(row)).x() for row in range(30)}
    assert (len(columns) > 1) == below


def test_opening_a_block_leads_to_its_form(qtbot: QtBot, editor: EditorView, panel: CanvasPanel) -> None:
    panel.canvas.choose("head")
    qtbot.keyClick(panel.canvas, Qt.Key.Key_Return)
    assert editor.model.head.choice.hasFocus()


def test_zoom_stays_in_bounds_and_all_can_be_seen(qtbot: QtBot, panel: CanvasPanel) -> None:
    panel.canvas.set_zoom(99)
    assert panel.canvas.zoom == 1.5
    assert panel.canvas._overflows
    panel.canvas.choose("head")
    qtbot.waitUntil(lambda: panel.canvas.viewport().rect().contains(middle(panel, "head")))
    panel.canvas.fit()
    assert not panel.canvas._overflows
    assert not panel.canvas.grab().isNull()


@pytest.mark.parametrize("whole", ["baselines/ngram"])
def test_a_whole_model_is_one_block_and_a_dropped_block_brings_blocks_back(panel: CanvasPanel, whole: str) -> None:
    assert drop(panel, whole, middle(panel, "layer/1/mixer"))
    assert [piece.key for piece in panel.canvas.layout_.pieces] == ["model"]
    panel.use("softmax/adaptive")
    assert panel._document.data["model"]["head"] == {"id": "softmax/adaptive"}
    assert panel.canvas.layout_.piece("embedding") is not None
