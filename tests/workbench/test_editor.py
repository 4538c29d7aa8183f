"""The editor as a person uses it: choose, type, add, move, remove; what the file would say; what is wrong and where."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from engines.store import commands
from engines.store.database import Store
from workbench.editor.fix_button import FixButton
from workbench.fields import TextField
from workbench.forms import Row
from workbench.model_field import ModelField
from workbench.views.editor import EditorView

sys.path.insert(0, str(Path(__file__).parent))
import samples


def _type(qtbot: QtBot, form: Any, key: str, text: str) -> None:
    row = form.rows[key]
    assert isinstance(row, Row)
    assert isinstance(row.field, TextField)
    row.field.line.selectAll()
    qtbot.keyClicks(row.field.line, text)


def _pick(card: Any, plugin_id: str) -> None:
    card.choice.setCurrentIndex(card.choice.findData(plugin_id))
    card.choice.activated.emit(card.choice.currentIndex())


def test_a_new_experiment_has_no_problems(editor: EditorView) -> None:
    assert editor.all_problems == []


def test_choosing_a_head_and_its_parameters(qtbot: QtBot, editor: EditorView) -> None:
    _pick(editor.model.head, "softmax/adaptive")
    editor.model.head.disclosure.setChecked(True)
    _type(qtbot, editor.model.head.form, "cutoffs", "1000, 4000")
    assert editor.document.data["model"]["head"] == {"id": "softmax/adaptive", "cutoffs": [1000, 4000]}


def test_layers_are_added_repeated_moved_and_removed(editor: EditorView) -> None:
    model, data = editor.model, lambda: editor.document.data["model"]["layers"]
    model.add_layer.click()
    _pick(model._cards[1].mixer, "attention/full")
    _pick(model._cards[1].feedforward, "feedforward/dense")
    assert data()[1] == {"mixer": {"id": "attention/full"}, "feedforward": {"id": "feedforward/dense"}}
    model._cards[1].more.click()
    model._cards[1].more.click()
    assert data()[1]["repeat"] == 3
    assert model._cards[1].times.text() == "× 3"
    model._cards[1].fewer.click()
    assert data()[1]["repeat"] == 2
    model._cards[1].up.click()
    assert data()[0]["mixer"]["id"] == "attention/full"
    model._cards[0].copy.click()
    assert len(data()) == 3
    model._cards[0].remove.click()
    model._cards[0].remove.click()
    assert [layer["mixer"]["id"] for layer in data()] == ["recurrent/lstm"]
    assert not model._cards[0].remove.isEnabled()
    _pick(model._cards[0].feedforward, "feedforward/dense")
    _pick(model._cards[0].feedforward, "")
    assert "feedforward" not in data()[0]


def test_a_variant_of_the_baseline(qtbot: QtBot, editor: EditorView) -> None:
    editor.variants.add()
    assert editor.variants.scope == 1
    editor.variants.rename(1, "pruned")
    editor.recipe.add("pruning/magnitude")
    card = editor.recipe.card("technique/1")
    assert card is not None
    assert card.form is not None
    _type(qtbot, card.form, "sparsity", "0.8")
    _type(qtbot, editor.recipe.training, "batch", "40")
    assert editor.document.data["variant"][1] == {
        "name": "pruned", "techniques": [{"id": "pruning/magnitude", "sparsity": 0.8}], "training": {"batch": 40},
    }  # fmt: skip
    assert "sparsity 0.8" in editor.variants._entries[2].words.text()
    editor.variants.make_baseline(1)
    assert editor.document.data["experiment"]["baseline"] == "pruned"
    editor.variants.remove(1)
    assert [variant["name"] for variant in editor.document.data["variant"]] == ["baseline"]
    assert editor.document.data["experiment"]["baseline"] == "baseline"


def test_one_optimizer_takes_the_place_of_another(editor: EditorView) -> None:
    editor.recipe.add("optimization/sgd")
    assert [table["id"] for table in editor.document.data["training"]["techniques"]] == ["optimization/sgd"]


def test_what_is_wrong_is_shown_at_once_where_it_is(qtbot: QtBot, editor: EditorView) -> None:
    editor.model.embedding.disclosure.setChecked(True)
    _type(qtbot, editor.model.embedding.form, "width", "0")
    assert len(editor.all_problems) == 1
    row = editor.model.embedding.form.rows["width"]  # type: ignore[union-attr]
    assert "1" in row.problem()
    assert editor.problems.problems[0].path == "model.embedding.width"
    editor.variants.add()
    editor.jump(editor.problems.problems[0])
    assert editor.variants.scope is None
    _type(qtbot, editor.model.embedding.form, "width", "32")
    assert editor.all_problems == []


def test_what_the_inspector_finds_is_shown_where_the_file_says_it(editor: EditorView) -> None:
    editor.variants.add()
    editor.variants.rename(1, "wide")
    problem = {"path": "wide.model.layers[0].mixer.width", "value": 128, "rule": "must be even"}
    editor.checks.built({"problems": [problem, {"path": "wide.techniques[0].lr", "value": 1, "rule": "is too large"}]})
    assert [found.path for found in editor.all_problems] == ["model.layers[0].mixer.width", "training.techniques[0].lr"]
    assert "even" in editor.model._cards[0].mixer.form.rows["width"].problem()  # type: ignore[union-attr]
    shared = [{"path": f"{name}.corpus.train", "value": None, "rule": "The train text does not exist."} for name in ("baseline", "wide")]
    editor.document.edit("Text", lambda data: data["experiment"].__setitem__("corpus", {"id": "corpora/text_files", "train": "no.txt"}))
    editor.checks.built({"problems": shared})
    assert [found.path for found in editor.all_problems] == ["experiment.corpus.train"]  # Told once, at its field.
    assert "does not exist" in editor.corpus.corpus.form.rows["train"].problem()


def test_undo_brings_everything_back(editor: EditorView) -> None:
    before = editor.document.data
    editor.model.add_layer.click()
    editor.recipe.add("optimization/clip_norm")
    editor.variants.add()
    while editor.document.undo.canUndo():
        editor.document.undo.undo()
    assert editor.document.data == before
    assert len(editor.model._cards) == 1


def test_budget_seeds_and_targets(qtbot: QtBot, editor: EditorView) -> None:
    _type(qtbot, editor.question.form, "budget", "5000")
    _type(qtbot, editor.question.form, "seeds", "0, 1, 2")
    editor.measure._add()
    data = editor.document.data
    assert data["experiment"]["budget"] == {"tokens": 5000}
    assert data["experiment"]["seeds"] == [0, 1, 2]
    assert data["target"] == [{"name": "one core", "device": "cpu", "threads": 1}]
    assert editor.all_problems == []


@pytest.mark.slow
def test_plugins_of_the_catalogue_can_be_put_in(editor: EditorView, catalogue: dict[str, Any]) -> None:
    for plugin_id, entry in catalogue["plugins"].items():
        if entry["kind"] in ("block", "technique", "corpus"):
            assert editor.use(plugin_id).endswith("."), plugin_id
    assert editor.use("experts/switch") == "Switch experts is now part of the shared base."
    layers = editor.document.data["model"]["layers"]
    assert layers[-1]["feedforward"] == {"id": "experts/switch"}
    assert {"id": "pruning/magnitude"} in editor.document.data["training"]["techniques"]


def test_figures_are_those_of_the_variant_that_is_looked_at(qtbot: QtBot, editor: EditorView, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(editor.figures, "ask", lambda plans: asked.append(editor._looked_at()))
    editor.variants.add()
    editor.variants.choose(0)
    assert not editor.figures.rest.isActive()
    editor.figures.asked_for = "baseline"
    editor.variants.choose(None)
    assert not editor.figures.rest.isActive()
    editor.variants.choose(1)
    qtbot.waitUntil(lambda: bool(asked), timeout=5_000)
    assert asked == [editor.document.variants[1]["name"]]


def test_the_baseline_is_predicted_once_and_others_stand_in_proportion_to_it(editor: EditorView, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answers = {"baseline": {"step_ms": 40.0}, "half": {"step_ms": 20.0}}
    editor.document.edit("", lambda data: data["variant"].append({"name": "half", "training": {"batch": 10}}))
    plans = editor.document.experiment.plans(editor._desk.catalogue)
    names = {id(plans[name]): name for name in answers}

    def answer(plan: Any, plans: Any, runs: str, told: Any, refused: Any) -> None:
        asked.append(names[id(plan)])
        told(answers[asked[-1]])

    monkeypatch.setattr(editor.figures.forecast, "ask", answer)
    monkeypatch.setattr(editor._desk.inspector, "ask", lambda name, told, failed, plan: told({"parameters": 10}) or 0)
    step = editor.costs.cells[3]
    editor.variants.scope = 1
    editor.figures.ask(plans)
    assert asked == ["half", "baseline"]
    assert (step.figure.text(), step.unit.text()) == ("20", "ms · 0.50x")
    editor.figures.ask(plans)
    assert asked == ["half", "baseline", "half"]
    editor.variants.scope = 0
    editor.figures.ask(plans)
    assert (step.figure.text(), step.unit.text()) == ("40", "ms")
    assert editor.figures.foretold


# --- Many variants at once --------------------------------------------------------------------------------------------------------------------


def test_a_sweep_says_what_it_comes_to_and_is_one_step_of_undo(qtbot: QtBot, editor: EditorView) -> None:
    editor.variants.sweep_asked.emit()
    sweep = editor.sweep
    assert sweep.isVisible()
    assert not sweep.make.isEnabled()
    field = sweep.fields[0]
    assert "optimization/adam.lr" in [field.path.itemText(place) for place in range(field.path.count())]
    field.path.setEditText("optimization/adam.lr")
    qtbot.keyClicks(field.values, "1e-3, 1e-2")
    sweep.foretell("baseline", 30.0)
    assert "2 variants. About 1 min 00 s of training" in sweep.told.text()
    sweep.more.click()
    sweep.fields[1].path.setEditText("training.batch")
    qtbot.keyClicks(sweep.fields[1].values, "8:32:4")
    assert sweep.make.text() == "Add 8 variants"
    sweep.make.click()
    assert len(editor.document.variants) == 9
    assert editor.variants.scope == 1
    assert editor.all_problems == []
    assert not sweep.isVisible()
    assert editor.document.undo.undoText() == "Sweep: 8 variants"
    editor.document.undo.undo()
    assert len(editor.document.variants) == 1


def test_what_cannot_be_swept_is_said_in_the_card(qtbot: QtBot, editor: EditorView) -> None:
    editor.open_sweep()
    field = editor.sweep.fields[0]
    field.path.setEditText("training.batch")
    field.values.setText("1:900:900")
    assert "more than 200" in editor.sweep.told.text()
    assert not editor.sweep.make.isEnabled()
    field.values.setText("1:2")
    assert "no range" in editor.sweep.told.text()
    field.path.setEditText("optimization/adam.rate")
    field.values.setText("1")
    editor.sweep.make.click()
    assert "no parameter of optimization/adam" in editor.sweep.told.text()
    assert len(editor.document.variants) == 1


def test_an_ablation_of_the_chosen_variant(editor: EditorView) -> None:
    editor.variants.add()
    editor.recipe.add("pruning/magnitude")
    editor.variants.ablation_asked.emit(False)
    assert "one technique beyond the baseline" in editor.notice.text
    editor.recipe.add("regularization/weight_drop")
    editor.variants.ablation_asked.emit(False)
    names = [variant["name"] for variant in editor.document.variants]
    assert [name.partition(" without ")[2] for name in names[2:]] == ["magnitude", "weight_drop"]
    assert editor.notice.text == ""
    assert editor.all_problems == []


def test_a_conflict_stands_on_both_cards_and_one_click_mends_it(qtbot: QtBot, editor: EditorView) -> None:
    editor.variants.choose(0)
    editor.recipe.add("pruning/magnitude")
    editor.recipe.add("pruning/structured")
    qtbot.waitUntil(lambda: bool(editor.problems.findChildren(FixButton)))
    magnitude, structured = editor.recipe._cards[-2:]
    assert "Conflicts with pruning/magnitude" in structured._wrong.text()
    assert "Conflicts with pruning/structured" in magnitude._wrong.text()
    before = copy.deepcopy(editor.document.data)
    buttons = {button.fix.sentence: button for button in magnitude.findChildren(FixButton)}
    assert list(buttons) == ["Take pruning/structured out of “baseline”", "Take pruning/magnitude out of “baseline”"]
    qtbot.mouseClick(buttons["Take pruning/magnitude out of “baseline”"], Qt.MouseButton.LeftButton)
    assert editor.all_problems == []
    assert editor.document.data["variant"][0]["techniques"] == [{"id": "pruning/structured"}]
    editor.document.undo.undo()
    assert editor.document.data == before


def test_a_teacher_is_chosen_among_the_finished_runs_that_fit(qtbot: QtBot, editor: EditorView, store_url: str, catalogue: dict[str, Any]) -> None:
    data = copy.deepcopy(editor.document.data)
    plan = next(iter(editor.document.experiment.plans(catalogue).values()))
    store = Store.open(store_url)
    variants = [{"name": "wide", "plan": plan, "baseline": True, "needs": []}]
    commands.submit(store, name="Which width?", digest="", text="", document=data, folder="/", variants=variants, seeds=[0], smoke=False)
    run = samples.start(store)
    commands.finish_run(store, run.id, run.claim, "done")
    folder = store.model_folder(run.id)
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{}")
    editor.recipe.add("distillation/soft_labels")
    card = editor.recipe._cards[-1]
    card.disclosure.setChecked(True)
    assert card.form is not None
    row = card.form.rows["teacher"]
    assert isinstance(row, Row)
    assert isinstance(row.field, ModelField)
    field = row.field
    editor._desk.set_store(store)
    qtbot.waitUntil(lambda: any(field.choice.itemText(n).startswith("run:1 · wide, seed 0 · ") for n in range(field.choice.count())))
    place = next(n for n in range(field.choice.count()) if field.choice.itemText(n).startswith("run:1"))
    field.choice.setCurrentIndex(place)
    field.choice.activated.emit(place)
    recipe = editor.document.data["training"]["techniques"]
    assert recipe[-1] == {"id": "distillation/soft_labels", "teacher": "run:1"}
    assert row.problem() == ""
    # With letters in place of words the run cannot teach any more: it is refused beside the field.
    editor.document.edit("Letters", lambda data: data["experiment"]["corpus"].__setitem__("level", "char"))
    qtbot.waitUntil(lambda: "corpus.level" in row.problem())
