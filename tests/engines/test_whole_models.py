"""`model` as a table with an id: a whole model in place of the blocks, merged, checked, placed, edited and saved like everything else."""

from __future__ import annotations

from typing import Any

import pytest

from engines.differences import differences
from engines.experiment import Experiment, dump, parse
from engines.merging import Index, merge
from engines.problems import Problem
from tests.engines.sample import CATALOGUE, TEXT

ASSEMBLED = TEXT + '''
[[variant]]
name = "counted"
model = { id = "baselines/ngram", order = 4 }   # no network
'''
WHOLE = """\
[experiment]
name = "How far do counts go?"
task = "language_model"
corpus = { id = "corpora/python_stdlib" }
budget = { tokens = 1000 }

[model]
id = "baselines/ngram"   # counted
order = 4

[training]
techniques = [{ id = "optimization/adam" }]

[[variant]]
name = "four words"

[[variant]]
name = "two words"
model.order = 2

[[variant]]
name = "network"
model.embedding = { id = "embeddings/lookup" }
model.layers = [{ mixer = { id = "recurrent/lstm" } }]
model.head = { id = "softmax/full" }

[[variant]]
name = "own"
model = { factory = "net:make", weights = "w.safetensors", arguments = { width = 3 } }
"""


def whole(**edits: Any) -> Experiment:
    changed = parse(WHOLE, "/data")
    for path, value in edits.items():
        changed = changed.set(path.replace("__", "."), value)
    return changed


def told(experiment: Experiment) -> list[tuple[str, str, str]]:
    return [(problem.path, problem.rule, problem.hint) for problem in experiment.problems(CATALOGUE)]


def test_a_whole_model_takes_the_place_of_blocks_and_blocks_that_of_a_whole_model() -> None:
    plans = parse(ASSEMBLED, "/data").plans(CATALOGUE)
    assert plans["counted"]["model"] == {"id": "baselines/ngram", "order": 4, "smoothing": "kneser_ney"}
    assert plans["full"]["model"]["head"]["id"] == "softmax/full"
    plans = whole().plans(CATALOGUE)
    assert plans["four words"]["model"]["order"] == 4
    assert plans["two words"]["model"] == {"id": "baselines/ngram", "order": 2, "smoothing": "kneser_ney"}
    assert set(plans["network"]["model"]) == {"embedding", "layers", "head"}
    assert plans["own"]["model"] == {
        "id": "models/own", "factory": "net:make", "weights": "/data/w.safetensors", "folder": "/data", "arguments": {"width": 3},
    }  # fmt: skip


def test_a_factory_alone_is_the_users_own_model() -> None:
    text = WHOLE.replace('id = "baselines/ngram"   # counted\norder = 4', 'factory = "net:make"')
    text = text.replace("model.order = 2", 'model.factory = "net:other"')
    plans = parse(text, "/data").plans(CATALOGUE)
    assert plans["four words"]["model"]["factory"] == "net:make"
    assert plans["two words"]["model"] == plans["four words"]["model"] | {"factory": "net:other"}
    assert plans["own"]["model"]["arguments"] == {"width": 3}


@pytest.mark.parametrize("text", [ASSEMBLED, WHOLE], ids=["assembled", "whole"])
def test_it_is_sound_and_stays_as_it_is_when_saved(text: str) -> None:
    experiment = parse(text, "/data")
    assert told(experiment) == []
    assert dump(experiment) == text
    assert parse(dump(Experiment(experiment.data, experiment.folder)), "/data").data == experiment.data


def test_edits_keep_what_was_not_touched() -> None:
    edited = whole().set("variant.two words.model.smoothing", "add_k").set("model.order", 6)
    assert edited.plans(CATALOGUE)["two words"]["model"] == {"id": "baselines/ngram", "order": 2, "smoothing": "add_k"}
    assert "# counted" in dump(edited)
    added = parse(TEXT, "/data").set("variant.full.model", {"id": "baselines/ngram", "order": 3})
    assert 'model = { id = "baselines/ngram", order = 3 }' in dump(added)
    assert "# two tails" in dump(added)


@pytest.mark.parametrize(
    ("path", "value", "where", "rule", "hint"),
    [
        ("model.id", "baselines/ngramm", "model.id", "names no whole model of the catalogue", 'did you mean "baselines/ngram"?'),
        ("model.id", "softmax/full", "model.id", "is a head, but a whole model belongs here", "known: baselines/ngram, models/own"),
        ("model.oder", 3, "model.oder", "is no parameter of baselines/ngram", 'did you mean "order"?'),
        ("model.order", 0, "model.order", "must be at least 1", ""),
        ("model.head", {"id": "softmax/full"}, "model.head", "is no parameter of baselines/ngram", "known: order, smoothing"),
        ("variant[1].model.order", 7, "variant[1].model.order", "must be at most 6", ""),
        ("variant[1].model.ordre", 2, "variant[1].model.ordre", "is no parameter of baselines/ngram", 'did you mean "order"?'),
        ("variant[2].model.heads", {}, "variant[2].model.heads", "is an unknown key", 'did you mean "head"?'),
        ("variant[2].model.embedding", None, "variant[2].model.embedding", "is required", 'variant "network" has none'),
        ("variant[3].model", {"id": "models/own"}, "variant[3].model.factory", "is required by models/own", "Where the model comes from."),
        ("variant[3].model", "baselines/ngam", "variant[3].model", "names no whole model of the catalogue", 'did you mean "baselines/ngram"?'),
    ],
)
def test_one_thing_is_wrong(path: str, value: Any, where: str, rule: str, hint: str) -> None:
    assert told(whole().set(path, value)) == [(where, rule, hint)]


def test_a_block_belongs_in_its_slot_and_an_unknown_key_of_blocks_is_told() -> None:
    assert told(parse(TEXT, "/data").set("model.head", "baselines/ngram"))[0][1] == "is a whole model, but a head belongs here"
    assert told(parse(TEXT, "/data").set("model.order", 3)) == [("model.order", "is an unknown key", "known: embedding, head, id, layers")]


def test_problems_of_plans_are_told_where_the_file_says_it() -> None:
    experiment = parse(ASSEMBLED, "/data")
    placed = experiment.placed([Problem("counted.model.order", 4, "must be even"), Problem("counted.model", None, "is not causal")], CATALOGUE)
    assert [problem.path for problem in placed] == ["variant[3].model.order", "variant[3].model"]
    (shared,) = whole().placed([Problem(f'"{name}".model.smoothing', None, "is slow") for name in ("four words",)], CATALOGUE)
    assert shared.path == "model.smoothing"


def test_differences_of_plans_name_the_model() -> None:
    plans = whole().plans(CATALOGUE)
    assert differences(plans["four words"], plans["two words"]) == [{"key": "model.order", "old": 4, "new": 2}]
    assert [each["key"] for each in differences(plans["four words"], plans["network"])] == ["model"]


def test_every_part_of_a_variant_is_listed() -> None:
    merged = merge(whole().data, Index(CATALOGUE))
    assert [[role for _, role in variant.parts() if role != "technique"] for variant in merged] == [
        ["task", "corpus", "model"], ["task", "corpus", "model"], ["task", "corpus", "embedding", "head", "mixer"], ["task", "corpus", "model"],
    ]  # fmt: skip


def test_a_budget_of_nothing_stays_nothing_when_tried_out() -> None:
    experiment = whole(experiment__budget={"steps": 0})
    assert told(experiment) == []
    assert experiment.smoke().plans(CATALOGUE)["own"]["budget"] == {"steps": 0}
    assert whole().smoke().plans(CATALOGUE)["own"]["budget"] == {"steps": 3}
