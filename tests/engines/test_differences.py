"""Plans side by side: what differs, by plain keys, and nothing else."""

from __future__ import annotations

from engines.differences import differences, text, trials
from engines.experiment import parse
from tests.engines.sample import CATALOGUE, TEXT


def test_equal_plans_do_not_differ():
    plans = parse(TEXT, ".").plans(CATALOGUE)
    assert differences(plans["full"], plans["full"]) == []


def test_the_variants_of_a_file_differ_as_the_file_says():
    plans = parse(TEXT, ".").plans(CATALOGUE)
    (head,) = differences(plans["full"], plans["adaptive"])
    assert (head["key"], text(head["old"]), text(head["new"])) == (
        "model.head", "softmax/full (tied = true)", "softmax/adaptive (cutoffs = [2000, 10000], factor = 4.0)",
    )  # fmt: skip
    found = {each["key"]: (text(each["old"]), text(each["new"])) for each in differences(plans["full"], plans["pruned, sgd, larger batch"])}
    assert found == {
        "training.batch": ("20", "40"),
        "techniques.optimization/adam": ("optimization/adam (lr = 0.001)", "-"),
        "techniques.optimization/sgd": ("-", "optimization/sgd (lr = 1.0)"),
        "techniques.optimization/clip_norm": ("optimization/clip_norm (max_norm = 0.25)", "-"),
        "techniques.pruning/magnitude": ("-", "pruning/magnitude (sparsity = 0.8)"),
    }


def test_a_value_inside_a_part_a_layer_and_an_order():
    old = {"techniques": [{"id": "a", "x": 1}, {"id": "b"}], "model": {"layers": [{"mixer": {"id": "m", "width": 4}}]}, "variant": "old"}
    new = {"techniques": [{"id": "b"}, {"id": "a", "x": 2}], "model": {"layers": [{"mixer": {"id": "m", "width": 8}}, {"mixer": {"id": "m"}}]}}
    assert differences(old, new) == [
        {"key": "techniques.a.x", "old": 1, "new": 2},
        {"key": "techniques (order)", "old": ["a", "b"], "new": ["b", "a"]},
        {"key": "model.layers[0].mixer.width", "old": 4, "new": 8},
        {"key": "model.layers[1]", "old": None, "new": {"mixer": {"id": "m"}}},
    ]


def test_variants_that_differ_in_numbers_alone_are_trials_of_the_same_settings():
    def plan(sparsity, head="softmax/full", nesterov=False):
        technique = {"id": "prune", "sparsity": sparsity, "nesterov": nesterov}
        return {"variant": f"{sparsity}", "model": {"head": {"id": head}}, "techniques": [technique]}

    plans = {"half": plan(0.5), "same again": plan(0.5), "tree": plan(0.5, "softmax/tree"), "most": plan(0.9), "all": plan(0.9, nesterov=True)}
    assert trials(plans) == [{"variants": ["half", "most"], "keys": ["techniques.prune.sparsity"]}]
    assert trials({"full": {"techniques": []}, "half": plan(0.5)}) == []
