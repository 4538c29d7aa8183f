"""A whole model in the editor: chosen, changed, given up for blocks again, and saved without loss."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from pytestqt.qtbot import QtBot

from engines.merging import Index
from tests.engines.sample import CATALOGUE
from tests.engines.test_whole_models import WHOLE
from workbench.editor import draft
from workbench.editor.cost_bar import FITTED, UNKNOWN
from workbench.editor.costs import Known
from workbench.views.editor import EditorView

INDEX = Index(CATALOGUE)


def test_a_variant_says_the_least_that_makes_its_model() -> None:
    data = draft.starting_point()
    draft.add_variant(data, "counted")
    draft.set_whole(data, INDEX, 1, {"id": "baselines/ngram", "order": 3})
    assert data["variant"][1]["model"] == {"id": "baselines/ngram", "order": 3}
    assert draft.differences(data, INDEX, 1) == ["model: ngram (order 3)"]
    draft.set_whole(data, INDEX, 1, None)
    assert "model" not in data["variant"][1]
    draft.set_whole(data, INDEX, None, {"id": "baselines/ngram"})
    draft.set_whole(data, INDEX, 1, {"id": "baselines/ngram", "order": 3})
    assert data["variant"][1]["model"] == {"order": 3}
    assert draft.differences(data, INDEX, 1) == ["model: order 3"]
    draft.revert(data, 1, "model")
    assert draft.differences(data, INDEX, 1) == []


def test_who_chooses_a_block_gets_blocks() -> None:
    data = draft.starting_point()
    draft.add_variant(data, "network")
    draft.set_whole(data, INDEX, None, {"id": "baselines/ngram"})
    draft.set_block(data, INDEX, 1, "head", {"id": "softmax/adaptive"})
    merged = draft.effective(data, INDEX, 1)
    assert merged.whole is None
    assert merged.head is not None
    assert merged.head.id == "softmax/adaptive"
    assert merged.layers
    assert draft.effective(data, INDEX, 0).whole is not None


def _pick(card: Any, plugin_id: str) -> None:
    card.choice.setCurrentIndex(card.choice.findData(plugin_id))
    card.choice.activated.emit(card.choice.currentIndex())


def test_a_whole_model_is_chosen_and_given_up(editor: EditorView) -> None:
    blocks = deepcopy(editor.document.data["model"])
    assert editor.model.whole.choice.currentText() == "Blocks"
    assert editor.model.embedding.isVisible()
    _pick(editor.model.whole, "baselines/ngram")
    assert editor.document.data["model"] == {"id": "baselines/ngram"}
    assert not editor.model.embedding.isVisible()
    assert not editor.model.head.isVisible()
    assert editor.all_problems == []
    editor.model.whole.disclosure.setChecked(True)
    editor.model.whole.form.edited.emit({"order": 9})
    assert editor.document.data["model"] == {"id": "baselines/ngram", "order": 9}
    assert [problem.path for problem in editor.all_problems] == ["model.order"]
    editor.jump(editor.all_problems[0])
    _pick(editor.model.whole, "")
    assert editor.document.data["model"] == blocks
    assert editor.model.embedding.isVisible()


def test_a_file_with_whole_models_is_shown_and_saved_as_it_was(editor: EditorView, tmp_path: Any, qtbot: QtBot) -> None:
    path = tmp_path / "whole.toml"
    path.write_text(WHOLE, encoding="utf-8")
    editor.document.open(path)
    for scope, title in ((None, "n-gram model"), (1, "n-gram model"), (2, "Blocks")):
        editor.variants.choose(scope)
        assert editor.model.whole.choice.currentText() == title
    editor.document.save(path)
    assert path.read_text(encoding="utf-8") == WHOLE


def test_a_model_that_is_counted_has_no_figures_of_zero(editor: EditorView) -> None:
    shapes = {"parameters": 0, "trainable": 0, "weights_mib": 0.0, "flops_per_token": 0.0}

    def figures() -> list[str]:
        return [cell.figure.text() for cell in editor.costs.cells]

    editor.figures.know(Known("LSTM", shapes=shapes | {"fitted": False}))
    assert figures()[:3] == ["0", "0", "0"]
    editor.figures.know(Known("5 words", shapes=shapes | {"fitted": True}))
    assert set(figures()) == {UNKNOWN}
    assert editor.costs.state.text() == FITTED
