"""Editor operations produce the tables that the experiment file's merging rules turn into what was edited."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from engines.experiment import from_dict
from engines.merging import Index
from workbench.editor import draft, places


@pytest.fixture
def index(catalogue: dict[str, Any]) -> Index:
    return Index(catalogue)


@pytest.fixture
def data() -> draft.Tree:
    made = draft.starting_point()
    made["training"]["techniques"].append({"id": "optimization/clip_norm", "max_norm": 1.0})
    made["variant"] = [{"name": "baseline"}, {"name": "other"}]
    return made


def test_the_starting_point_can_run(catalogue: dict[str, Any]) -> None:
    assert from_dict(draft.starting_point()).problems(catalogue) == []


def test_a_block_of_the_base(data: draft.Tree, index: Index) -> None:
    draft.set_block(data, index, None, "head", {"id": "softmax/adaptive", "cutoffs": [1000]})
    assert data["model"]["head"] == {"id": "softmax/adaptive", "cutoffs": [1000]}
    assert draft.effective(data, index, 1).head.table == data["model"]["head"]


def test_a_variant_holds_only_what_differs(data: draft.Tree, index: Index) -> None:
    draft.set_block(data, index, 1, "embedding", {"id": "embeddings/lookup", "width": 64})
    assert data["variant"][1] == {"name": "other", "model": {"embedding": {"width": 64}}}
    assert draft.effective(data, index, 1).embedding.table == {"id": "embeddings/lookup", "width": 64}
    draft.set_block(data, index, 1, "embedding", {"id": "embeddings/lookup", "width": 128})
    assert data["variant"][1] == {"name": "other"}


def test_leaving_a_key_of_the_base_out_replaces_the_whole_choice(data: draft.Tree, index: Index) -> None:
    draft.set_block(data, index, 1, "embedding", {"id": "embeddings/lookup"})
    assert data["variant"][1]["model"]["embedding"] == {"id": "embeddings/lookup"}
    assert draft.effective(data, index, 1).embedding.table == {"id": "embeddings/lookup"}


def test_layers_of_a_variant_replace_the_list_and_equal_ones_are_dropped(data: draft.Tree, index: Index) -> None:
    layers = draft.raw_layers(draft.effective(data, index, 1))
    draft.set_layers(data, index, 1, [*layers, {"mixer": {"id": "attention/full"}, "repeat": 2}])
    assert len(data["variant"][1]["model"]["layers"]) == 2
    assert draft.effective(data, index, 0).layers is not None
    assert len(draft.effective(data, index, 0).layers or []) == 1
    draft.set_layers(data, index, 1, layers)
    assert data["variant"][1] == {"name": "other"}


@pytest.mark.parametrize(
    "recipe",
    [
        [{"id": "optimization/adam"}],
        [{"id": "optimization/sgd", "lr": 1.0}, {"id": "optimization/clip_norm", "max_norm": 1.0}],
        [{"id": "optimization/adam", "lr": 0.01}, {"id": "optimization/clip_norm", "max_norm": 1.0}, {"id": "pruning/magnitude"}],
        [{"id": "optimization/clip_norm", "max_norm": 1.0}, {"id": "optimization/adam"}],
        [{"id": "pruning/magnitude"}, {"id": "optimization/adam"}],
        [],
    ],
)
def test_any_recipe_of_a_variant_can_be_said(data: draft.Tree, index: Index, recipe: list[draft.Tree]) -> None:
    base = deepcopy(data["training"])
    draft.set_recipe(data, index, 1, recipe)
    assert [part.table for part in draft.effective(data, index, 1).recipe] == recipe
    assert data["training"] == base
    assert [part.id for part in draft.effective(data, index, 0).recipe] == ["optimization/adam", "optimization/clip_norm"]


def test_a_recipe_is_said_shortly(data: draft.Tree, index: Index) -> None:
    base = [part.table for part in draft.effective(data, index, None).recipe]
    draft.set_recipe(data, index, 1, [*base, {"id": "pruning/magnitude", "sparsity": 0.8}])
    assert data["variant"][1] == {"name": "other", "techniques": [{"id": "pruning/magnitude", "sparsity": 0.8}]}
    draft.set_recipe(data, index, 1, base[:1])
    assert data["variant"][1] == {"name": "other", "without": ["optimization/clip_norm"]}
    draft.set_recipe(data, index, 1, base)
    assert data["variant"][1] == {"name": "other"}


def test_training_of_a_variant(data: draft.Tree) -> None:
    draft.set_training(data, 1, "batch", 40)
    assert data["variant"][1]["training"] == {"batch": 40}
    draft.set_training(data, 1, "batch", 20)
    assert data["variant"][1] == {"name": "other"}


def test_variants_are_added_copied_removed_and_renamed(data: draft.Tree, index: Index) -> None:
    draft.set_recipe(data, index, 1, [{"id": "optimization/adam"}, {"id": "distillation/soft_labels", "teacher": "baseline"}])
    assert draft.add_variant(data) == 2
    assert draft.add_variant(data, copy_of=1) == 3
    assert draft.variant_names(data) == ["baseline", "other", "variant", "other copy"]
    draft.rename_variant(data, index, 0, "full")
    assert draft.baseline(data) == "full"
    assert data["variant"][1]["techniques"][-1]["teacher"] == "full"
    draft.remove_variant(data, 0)
    assert draft.baseline(data) == "other"


def test_what_names_one_of_two_variants_of_the_same_name_stays(data: draft.Tree, index: Index) -> None:
    data["variant"][1]["name"] = "baseline"
    draft.set_recipe(data, index, 1, [{"id": "optimization/adam"}, {"id": "distillation/soft_labels", "teacher": "baseline"}])
    draft.rename_variant(data, index, 1, "small")
    assert draft.variant_names(data) == ["baseline", "small"]
    assert (draft.baseline(data), data["variant"][1]["techniques"][-1]["teacher"]) == ("baseline", "baseline")


def test_differences_in_words(data: draft.Tree, index: Index) -> None:
    draft.set_block(data, index, 1, "head", {"id": "softmax/adaptive", "cutoffs": [1000, 4000]})
    draft.set_training(data, 1, "batch", 40)
    draft.set_recipe(data, index, 1, [{"id": "optimization/sgd", "lr": 1.0}, {"id": "pruning/magnitude", "sparsity": 0.8}])
    assert draft.differences(data, index, 1) == [
        "head: adaptive (cutoffs 1000, 4000)", "batch 40", "− clip norm", "+ sgd (lr 1.0)", "+ magnitude (sparsity 0.8)",
    ]  # fmt: skip
    assert draft.differences(data, index, 0) == []


def test_problems_find_their_card(data: draft.Tree, index: Index, catalogue: dict[str, Any]) -> None:
    data["model"]["layers"][0]["mixer"]["width"] = 0
    data["variant"][1]["model"] = {"head": {"id": "softmax/adaptve"}}
    data["training"]["techniques"][1]["max_norm"] = "much"
    problems = from_dict(data).problems(catalogue)
    found = {places.card_of(problem, draft.effective(data, index, places.scope_of(problem))) for problem in problems}
    assert ("layer/0/mixer", "width") in found
    assert ("technique/1", "max_norm") in found
    assert ("head", "") in found
    head = next(problem for problem in problems if "adaptve" in str(problem.value))
    assert "softmax/adaptive" in places.sentence(head)


def test_many_layers_take_few_words() -> None:
    lstm, full = {"mixer": {"id": "recurrent/lstm"}}, {"mixer": {"id": "attention/full"}, "feedforward": "feedforward/dense"}
    assert draft.layers_words([lstm, lstm, {**full, "repeat": 2}]) == "2 × lstm, 2 × full + dense"
    assert draft.layers_words([lstm, full] * 20) == "40 of 2 kinds"
    assert draft.layers_words([]) == "none"
