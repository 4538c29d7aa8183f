"""Every output layer, every embedding and every index of the catalogue, chosen as a person does: each is valid there, and its run is queued."""

from __future__ import annotations

from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from engines.asking import Inspector
from engines.store import queries
from engines.store.database import Store
from engines.submitting import checked_plans, submit
from workbench.desk import Desk
from workbench.editor.document import Document
from workbench.views.editor import EditorView


@pytest.mark.slow
def test_each_of_the_family_can_be_chosen_is_valid_and_is_queued(
    qtbot: QtBot, desk: Desk, catalogue: dict[str, Any], monkeypatch: pytest.MonkeyPatch, store_url: str
) -> None:
    editor = EditorView(desk, Document())
    qtbot.addWidget(editor)
    monkeypatch.setattr(editor.checks, "build", lambda: None)
    editor.checks.rest.timeout.disconnect()
    desk.set_catalogue(catalogue)
    editor.show()
    family = [id for id in catalogue["plugins"] if id.partition("/")[0] in ("softmax", "embeddings", "index")]
    assert {"softmax/full", "embeddings/lookup", "index/exact"} <= set(family)
    chosen = []
    for id in family:
        entry = catalogue["plugins"][id]
        editor.variants.add()
        editor.variants.rename(len(editor.document.variants) - 1, id)
        if entry["kind"] == "technique":
            editor.recipe.add(id)
        else:
            card = getattr(editor.model, entry["slot"])
            assert card.choice.findData(id) >= 0
            card.choice.setCurrentIndex(card.choice.findData(id))
            card.choice.activated.emit(card.choice.currentIndex())
            card.disclosure.setChecked(True)
            assert set(card.form.rows) == set(entry["parameters"]["properties"])
        if entry["available"]["ok"]:
            assert editor.all_problems == [], id
            chosen.append(id)
        else:
            (problem,) = editor.all_problems
            assert entry["available"]["reason"] in problem.sentence()
            editor.variants.remove(editor.variants.scope)
    plans = editor.document.experiment.plans(catalogue)
    for id in chosen:
        model = plans[id]["model"]
        assert id in (model["head"]["id"], model["embedding"]["id"], *(each["id"] for each in plans[id]["techniques"]))
    with Inspector() as inspector:  # builds every part, as the window's Run does
        checked = checked_plans(editor.document.experiment, catalogue, inspector)
    store = Store.open(store_url)
    try:
        experiment = submit(store, editor.document.experiment, checked, catalogue)
        assert len(queries.runs(store, experiment)) == len(chosen) + 1
    finally:
        store.close()
