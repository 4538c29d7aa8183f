"""How recipes name finished models: a variant, a run, a file; what is refused, and what follows a renamed variant."""

from __future__ import annotations

import pytest

from engines.experiment import Experiment, parse
from engines.teachers import is_path, of_unknown_price, outside, run_of
from tests.engines.sample import CATALOGUE, TEXT

PLACE = "variant[1].techniques[0].teacher"


def taught(teacher: str) -> Experiment:
    """The sample experiment, whose second variant has this teacher."""
    return parse(TEXT, "/data").set("variant[1].techniques", [{"id": "distillation/soft_labels", "teacher": teacher}])


def test_a_run_and_a_path_are_told_by_how_they_are_written() -> None:
    assert [run_of(each) for each in ("run:12", "run:", "run 12", "runs:3", "xrun:1")] == [12, None, None, None, None]
    assert [is_path(each) for each in ("a.safetensors", "./folder", "C:\\folder", "teacher")] == [True, True, True, False]
    assert outside("run:12", ["full"])
    assert not outside("run:12", ["run:12"]), "the name of a variant goes before all else"


@pytest.mark.parametrize(
    ("teacher", "planned", "needs"),
    [
        ("full", "full", ["full"]),
        ("run:12", "run:12", []),
        ("big.safetensors", "/data/big.safetensors", []),
        ("../models/big", "/models/big", []),
        ("/elsewhere/big.safetensors", "/elsewhere/big.safetensors", []),
    ],
)
def test_a_teacher_is_planned_and_waited_for(teacher: str, planned: str, needs: list[str]) -> None:
    experiment = taught(teacher)
    assert [problem.sentence() for problem in experiment.problems(CATALOGUE)] == []
    name = experiment.variants[1].name
    (choice,) = (each for each in experiment.plans(CATALOGUE)[name]["techniques"] if each["id"] == "distillation/soft_labels")
    assert choice["teacher"] == planned
    assert experiment.needs(CATALOGUE)[name] == needs


@pytest.mark.parametrize("teacher", ["nobody at all", "run:twelve"])
def test_what_names_nothing_is_told_with_what_to_write(teacher: str) -> None:
    (problem,) = taught(teacher).problems(CATALOGUE)
    assert (problem.path, problem.rule) == (PLACE, "is not the name of a variant")
    assert "a run (run:12), or the path of an exported model" in problem.hint or "known: " in problem.hint


def test_a_variant_that_is_named_like_a_path_is_a_variant_and_is_followed_when_renamed() -> None:
    experiment = taught("full").rename_variant("full", "runs/big.safetensors", CATALOGUE)
    assert experiment.get(PLACE) == "runs/big.safetensors"
    plans = experiment.plans(CATALOGUE)
    assert plans[experiment.variants[1].name]["techniques"][-1]["teacher"] == "runs/big.safetensors"
    assert experiment.needs(CATALOGUE)[experiment.variants[1].name] == ["runs/big.safetensors"]
    assert experiment.rename_variant("runs/big.safetensors", "big", CATALOGUE).get(PLACE) == "big"


def test_a_price_that_nobody_knows_is_told_of_files_alone() -> None:
    facts = {"teachers": [{"reference": "a", "run": 3}, {"reference": "b", "price": None}, {"reference": "c", "price": {"cost/train_s": 1.0}}]}
    assert of_unknown_price(facts) == ["b"]
    assert of_unknown_price({}) == []
