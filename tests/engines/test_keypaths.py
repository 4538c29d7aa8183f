"""Key paths and `--set key=value`."""

from __future__ import annotations

from typing import Any

import pytest

from engines.experiment import Experiment, parse
from engines.keypaths import KeyPathError, assignment, locate, split
from engines.problems import ExperimentError, join
from tests.engines.sample import CATALOGUE, TEXT


def experiment() -> Experiment:
    return parse(TEXT, "/data")


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("budget.tokens", ("budget", "tokens")),
        ("model.layers[0].mixer.width", ("model", "layers", 0, "mixer", "width")),
        ('variant."a.b [c]".training', ("variant", "a.b [c]", "training")),
        ("variant.one core.threads", ("variant", "one core", "threads")),
        ("training.techniques.optimization/adam.lr", ("training", "techniques", "optimization/adam", "lr")),
    ],
)
def test_steps(path: str, steps: tuple[str | int, ...]) -> None:
    assert split(path) == steps
    assert split(join("", *steps)) == steps


@pytest.mark.parametrize("path", ["", ".", "a..b", "a[", "a[b]", ".a"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(KeyPathError):
        split(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=3", 3),
        ("a = 1e-3", 1e-3),
        ("a=true", True),
        ('a="x"', "x"),
        ("a=cpu", "cpu"),
        ("a=[1, 2]", [1, 2]),
        ('a={ id = "x/y" }', {"id": "x/y"}),
        ("a=x=y", "x=y"),
    ],
)
def test_values_are_toml_or_text(text: str, value: Any) -> None:
    assert assignment(text) == ("a", value)


def test_override() -> None:
    changed = experiment().override(
        [
            "budget.tokens=20000",
            "device=cpu",
            'variant."pruned, sgd, larger batch".training.batch=50',
            "variant.adaptive.model.head.cutoffs=[5]",
            "training.techniques.optimization/adam.lr=0.01",
            "model.layers.0.repeat=1",
            "target.one core.threads=2",
            "measure.held_out_tokens=500",
        ]
    )
    assert changed.problems(CATALOGUE) == []
    plans = changed.plans(CATALOGUE)
    assert plans["full"]["budget"] == {"tokens": 20000}
    assert plans["full"]["device"] == "cpu"
    assert plans["pruned, sgd, larger batch"]["training"]["batch"] == 50
    assert plans["adaptive"]["model"]["head"]["cutoffs"] == [5]
    assert plans["full"]["techniques"][0]["lr"] == 0.01
    assert plans["full"]["model"]["layers"][0]["repeat"] == 1
    assert plans["full"]["targets"][0]["threads"] == 2
    assert plans["full"]["measure"]["held_out_tokens"] == 500


def test_another_budget_unit_takes_the_place_of_the_first() -> None:
    assert experiment().override(["budget.steps=5"]).get("budget") == {"steps": 5}


def test_wrong_overrides_are_refused_all_at_once() -> None:
    with pytest.raises(ExperimentError) as caught:
        experiment().override(["bugdet.tokens=3", "variant.adaptve.training.batch=3", "training.bach=3", "training.batch=x", "nonsense"])
    sentences = "\n".join(problem.sentence() for problem in caught.value.problems)
    for words in ('did you mean "budget"', 'did you mean "adaptive"', 'did you mean "batch"', "must be a whole number", "key=value"):
        assert words in sentences


@pytest.mark.parametrize(
    ("assigned", "hint"),
    [
        ("techniques=[]", 'did you mean "training.techniques"?'),
        ("batch=3", 'did you mean "training.batch"?'),
        ("margin=0.1", 'did you mean "measure.margin"?'),
        ("head.cutoffs=[2]", 'did you mean "model.head.cutoffs"?'),
    ],
)
def test_a_key_without_its_table_is_answered_with_both(assigned: str, hint: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        experiment().override([assigned])
    assert [problem.hint for problem in caught.value.problems] == [hint]


def test_an_override_is_not_blamed_for_what_was_wrong_before() -> None:
    wrong = experiment().set("measure.rouns", 3)
    assert wrong.override(["training.batch=3"]).get("training.batch") == 3


def test_a_name_goes_before_an_index() -> None:
    data = {"variant": [{"name": "full"}, {"name": "0"}]}
    assert locate(data, 'variant."0".name') == locate(data, "variant.0.name") == ("variant", 1, "name")
    assert locate(data, "variant[0].name") == ("variant", 0, "name")
