"""Repeated operations: the slow example against a closed form, and what is concluded."""

from __future__ import annotations

import re

import pytest
import torch

from engines.toolbox.studies import drawn
from plugins.studies.repeated_operations import LOOP, ONCE, STEPS, RepeatedOperations
from tests.plugins.studies.figures import every, figures


def test_every_step_of_the_slow_example_has_the_closed_form():
    """sum over pairs of y^T W x = (sum y)^T W (sum x), and its gradient is their outer product."""
    study = RepeatedOperations(vectors=4, example_width=6)
    group = list(study.groups(None))[-1]
    w, xs, ys = shared = group.build()
    x_sum, y_sum = torch.tensor(sum(xs)).float(), torch.tensor(sum(ys)).float()
    assert [cell.curve for cell in group.cells] == list(STEPS)
    for cell in group.cells:
        total, gradient = cell.build(shared)()
        torch.testing.assert_close(total, y_sum @ w.detach() @ x_sum, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(gradient, torch.outer(y_sum, x_sum), rtol=1e-4, atol=1e-4)


def test_the_good_code_multiplies_once():
    study = RepeatedOperations(words=[5], width=8)
    shared = next(iter(study.groups(None))).build()
    calls = []

    class Counting(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            calls.append(function.__name__)
            return super().__torch_function__(function, types, args, kwargs or {})

    counted = (shared[0].as_subclass(Counting), *shared[1:])
    for cell, products in zip(next(iter(study.groups(None))).cells, (5, 1), strict=True):
        calls.clear()
        cell.build(counted)()
        assert sum(name in ("matmul", "__matmul__") for name in calls) == products


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [
        (lambda words: words**0.5, "met"),
        (lambda words: 0.8, "refuted"),
        (lambda words: 1.0, "refuted"),
        (lambda words: 1.02, "not decided"),
    ],
)
def test_the_expectation_follows_from_the_figures(gain, outcome):
    study = RepeatedOperations()
    known = every(study, lambda curve, x: 1e-3 / gain(x) if curve == ONCE else 1e-3)
    found = study.conclude(figures(list(study.groups(None)), known))
    assert found.outcome == outcome
    if outcome == "met":
        assert any(re.match(r"A sentence of 128 words: 11\.[234]x \[", sentence) for sentence in found.findings)


def test_a_step_that_does_not_pay_is_told_as_such():
    study = RepeatedOperations(words=[2])
    steps = dict(zip(STEPS, (8e-3, 4e-3, 6e-3, 6e-3), strict=True))
    found = study.conclude(figures(list(study.groups(None)), every(study, lambda curve, x: steps.get(curve, 1e-3 if curve == LOOP else 5e-4))))
    told = [sentence for sentence in found.findings if sentence.startswith("Slow example")]
    assert re.search(r"(1\.99|2|2\.01)x \[.*\] as fast as the step before\.$", told[0])
    assert told[1].endswith("as fast as the step before, which is slower.")
    assert told[2].endswith("which is no gain in practice.")
    assert "All steps together: 1.3" in told[3]


def test_the_same_numbers_are_drawn_again():
    assert torch.equal(drawn(3, 4, seed=1), drawn(3, 4, seed=1))
    assert not torch.equal(drawn(3, 4, seed=1), drawn(3, 4, seed=2))
