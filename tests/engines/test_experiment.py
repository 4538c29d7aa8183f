"""Merging and plans, rule by rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.experiment import Experiment, dump, from_dict, load, parse
from engines.problems import ExperimentError, Problem
from tests.engines.sample import CATALOGUE, TEXT


def experiment(folder: Path | str = "/data") -> Experiment:
    return parse(TEXT, folder)


def plan(variant: str, source: Experiment | None = None) -> dict[str, Any]:
    return (source or experiment()).plans(CATALOGUE)[variant]


def test_the_design_example_has_no_problems() -> None:
    assert experiment().problems(CATALOGUE) == []


def test_a_plan_is_json_and_stands_alone() -> None:
    found = plan("full")
    assert json.loads(json.dumps(found)) == found
    assert found["task"] == {"id": "tasks/language_model", "evaluate": ""}
    assert found["corpus"]["train"] == "/data/train.txt"
    assert found["corpus"]["vocabulary"] == 10_000  # a default, written down
    assert found["budget"] == {"tokens": 2_000_000}
    assert found["threads"] == 1
    assert found["measure"]["margin"] == 0.05
    assert found["measure"]["evaluations"] == 10
    assert found["measure"]["quality"] is None
    assert [target["name"] for target in found["targets"]] == ["one core"]
    assert found["folder"] == "/data"
    layer = found["model"]["layers"][0]
    assert layer == {
        "mixer": {"id": "recurrent/lstm", "width": 200, "layers": 1},
        "feedforward": None,
        "repeat": 2,
        "residual": None,
        "norm": None,
    }


def test_a_table_with_id_replaces() -> None:
    assert plan("adaptive")["model"]["head"] == {"id": "softmax/adaptive", "cutoffs": [2000, 10000], "factor": 4.0}


def test_a_table_without_id_merges() -> None:
    changed = experiment().set("variant.adaptive.model.head", {"tied": False}).set("variant.adaptive.model.embedding", {"width": 64})
    model = plan("adaptive", changed)["model"]
    assert model["head"] == {"id": "softmax/full", "tied": False}
    assert model["embedding"] == {"id": "embeddings/lookup", "width": 64}
    assert plan("full", changed)["model"]["embedding"]["width"] == 200


def test_lists_replace() -> None:
    layers = [{"mixer": "attention/full", "feedforward": {"id": "feedforward/dense"}, "norm": "rms", "residual": True}]
    changed = plan("adaptive", experiment().set("variant.adaptive.model.layers", layers))["model"]["layers"]
    assert changed == [
        {
            "mixer": {"id": "attention/full", "heads": 4, "positions": "rotary"},
            "feedforward": {"id": "feedforward/dense", "width": None},
            "repeat": 1,
            "residual": True,
            "norm": "rms",
        }
    ]


def test_group_replaces_in_place_without_drops_and_others_follow() -> None:
    found = plan("pruned, sgd, larger batch")
    assert found["techniques"] == [{"id": "optimization/sgd", "lr": 1.0}, {"id": "pruning/magnitude", "sparsity": 0.8}]
    assert found["training"] == {"batch": 40, "sequence": 35}


def test_same_id_replaces_in_place() -> None:
    changed = experiment().set("variant.adaptive.techniques", [{"id": "optimization/clip_norm", "max_norm": 1.0}, "optimization/adam"])
    assert plan("adaptive", changed)["techniques"] == [
        {"id": "optimization/adam", "lr": 0.001},
        {"id": "optimization/clip_norm", "max_norm": 1.0},
    ]


def test_corpus_fields_may_differ_in_a_variant() -> None:
    changed = experiment().set("variant.adaptive.corpus.level", "char")
    corpus = plan("adaptive", changed)["corpus"]
    assert (corpus["id"], corpus["level"], corpus["train"]) == ("corpora/text_files", "char", "/data/train.txt")
    assert plan("full", changed)["corpus"]["level"] == "word"


def test_old_ids_open_under_their_new_name() -> None:
    changed = experiment().set("variant.adaptive.model.head.id", "softmax/adaptive_softmax")
    assert changed.problems(CATALOGUE) == []
    assert plan("adaptive", changed)["model"]["head"]["id"] == "softmax/adaptive"


def test_names_stand_for_their_family() -> None:
    data = experiment().data
    short = from_dict({**data, "experiment": {**data["experiment"], "corpus": "python_stdlib", "task": {"id": "language_model"}}})
    assert short.problems(CATALOGUE) == []
    assert plan("full", short)["corpus"] == {"id": "corpora/python_stdlib", "vocabulary": 10_000}


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "mine.toml").write_text(TEXT.replace('"train.txt"', '"../train.txt"'), encoding="utf-8")
    assert plan("full", load(tmp_path / "inner" / "mine.toml"))["corpus"]["train"] == str(tmp_path / "train.txt")


def test_json_with_the_same_keys(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(dump(experiment(), format="json"), encoding="utf-8")
    loaded = load(tmp_path / "mine.json")
    assert loaded.data == experiment().data
    assert parse(dump(loaded), tmp_path).data == experiment().data


def test_null_in_json_means_left_out() -> None:
    loaded = parse(json.dumps({**experiment().data, "target": None}), "/data", format="json")
    assert plan("full", loaded)["targets"] == []


def test_defaults() -> None:
    data = {key: value for key, value in experiment().data["experiment"].items() if key in ("name", "task", "corpus", "budget")}
    least = from_dict({"experiment": data, "model": experiment().data["model"], "variant": [{"name": "a"}, {"name": "b"}]}, "/data")
    assert least.problems(CATALOGUE) == []
    assert (least.seeds, least.baseline) == ([0], "a")
    found = plan("b", least)
    assert (found["device"], found["threads"], found["targets"], found["techniques"]) == ("auto", None, [], [])
    assert found["training"] == {"batch": 20, "sequence": 35}


def test_needs_follow_references() -> None:
    distilled = experiment().set("variant.adaptive.techniques", [{"id": "distillation/soft_labels", "teacher": "full"}])
    assert distilled.needs(CATALOGUE) == {"full": [], "adaptive": ["full"], "pruned, sgd, larger batch": []}


def test_digest_is_of_the_values() -> None:
    plain = from_dict(experiment().data)
    assert plain.digest() == experiment().digest()
    assert plain.set("seeds", [1]).digest() != plain.digest()


def test_a_variant_may_train_for_a_budget_of_its_own() -> None:
    longer = experiment().set("variant.adaptive.budget", {"steps": 50})
    assert longer.problems(CATALOGUE) == []
    assert (plan("adaptive", longer)["budget"], plan("full", longer)["budget"]) == ({"steps": 50}, {"tokens": 2_000_000})
    assert {tuple(plan(name, longer.smoke())["budget"]) for name in ("adaptive", "full")} == {("steps",)}
    assert plan("adaptive", longer.smoke())["budget"] == plan("full", longer.smoke())["budget"]
    two = experiment().set("variant.adaptive.budget", {"steps": 5, "tokens": 5})
    assert ["exactly one of tokens, steps" in problem.rule for problem in two.problems(CATALOGUE)] == [True]
    told = longer.placed([Problem("adaptive.budget.steps", 50, "rule"), Problem("full.budget.tokens", 1, "rule")], CATALOGUE)
    number = [variant.name for variant in longer.variants].index("adaptive")
    assert [problem.path for problem in told] == [f"variant[{number}].budget.steps", "experiment.budget.tokens"]


def test_smoke_is_tiny_and_valid() -> None:
    small = experiment().smoke()
    assert small.problems(CATALOGUE) == []
    found = plan("full", small)
    assert found["budget"] == {"steps": 3}
    assert found["measure"]["held_out_tokens"] == 2_000
    assert small.seeds == [0]


def test_launches_are_no_more_than_rounds() -> None:
    assert plan("full")["measure"]["launches"] == 5
    often = experiment().set("measure.rounds", 48).set("measure.launches", 12)
    assert plan("full", often)["measure"]["launches"] == 12
    assert plan("full", often.smoke())["measure"]["launches"] == 2
    assert plan("full", experiment().set("measure.rounds", 3))["measure"]["rounds"] == 3  # fewer than the default has launches
    (problem,) = experiment().set("measure.rounds", 3).set("measure.launches", 4).problems(CATALOGUE)
    assert problem.path == "measure.launches"
    assert "must not exceed rounds, which is 3" in problem.rule


def test_unreadable_files_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    for path, words in [(tmp_path / "none.toml", "cannot be read"), (tmp_path / "latin.toml", "UTF-8"), (tmp_path, "cannot be read")]:
        with pytest.raises(ExperimentError, match=words):
            load(path)
    with pytest.raises(ExperimentError, match="not valid TOML"):
        parse("[experiment", tmp_path)
    with pytest.raises(ExperimentError, match="JSON object"):
        parse("[1, 2]", tmp_path, format="json")


def test_a_stated_quality_is_a_number():
    experiment = parse(TEXT, ".")
    assert experiment.set("measure.quality", 60).plans(CATALOGUE)["full"]["measure"]["quality"] == 60.0
    (problem,) = experiment.set("measure.quality", "good").problems(CATALOGUE)
    assert (problem.path, problem.rule) == ("measure.quality", "must be a number")
