"""quantization/ternary_distilled: three values by row and group, who may teach, and that the teacher is followed."""

from __future__ import annotations

import pytest
import torch

from engines.api import Trial
from engines.toolbox.quantisers import Scheme
from engines.toolbox.specimen import Surroundings, backward_of, batches, specimen
from plugins.distillation.soft_labels import SoftLabels
from plugins.quantization.ternary_distilled import TernaryDistilled, ternary

TRIAL = Trial(width=16, vocabulary=30, dtype="float32")


def surroundings(teacher: Trial = TRIAL) -> Surroundings:
    found = Surroundings(specimen(TRIAL))
    found.teachers["t"] = specimen(teacher).requires_grad_(False).eval()
    return found


@pytest.mark.parametrize("threshold", ["twn", "exact"])
def test_each_scale_has_three_values_and_zero_weights_stay_zero(threshold) -> None:
    torch.manual_seed(0)
    weight = torch.randn(4, 10)
    weight[0] = 0
    dense = ternary(weight, Scheme(2, True, "group", 4), threshold).dense()
    for block, own in zip(weight.split(4, dim=1), dense.split(4, dim=1), strict=True):
        for row, values in zip(block, own, strict=True):
            kept = values != 0
            assert len(values[kept].abs().unique()) <= 1
            assert torch.equal(values.sign()[kept], row.sign()[kept])
            assert row.abs()[kept].numel() == 0 or values.abs().max() == pytest.approx(float(row.abs()[kept].mean()))
    assert bool((dense[0] == 0).all())


def test_the_exact_threshold_never_errs_more() -> None:
    torch.manual_seed(1)
    weight = torch.randn(20, 50) ** 3
    twn, exact = (
        (ternary(weight, Scheme(2, True, "channel"), threshold).dense() - weight).square().sum(1) for threshold in ("twn", "exact")
    )
    assert bool((exact <= twn * (1 + 1e-6)).all())
    assert float(exact.sum()) < float(twn.sum())


def test_another_network_cannot_be_begun_as_and_the_sentence_says_so() -> None:
    context = surroundings(Trial(width=8, vocabulary=30, dtype="float32"))
    with pytest.raises(ValueError, match=r'cannot begin as its teacher "t": .* or set initialise = false'):
        TernaryDistilled(teacher="t").model(context.model, context)


def test_another_vocabulary_is_refused() -> None:
    context = surroundings(Trial(width=16, vocabulary=31, dtype="float32"))
    with pytest.raises(ValueError, match="knows 31 words and this variant 30"):
        TernaryDistilled(teacher="t").loss(context.model, context)


def test_the_loss_is_that_of_soft_labels() -> None:
    losses = []
    for technique in (SoftLabels(teacher="t", weight=0.3, temperature=2.0), TernaryDistilled(teacher="t", weight=0.3, temperature=2.0)):
        context = surroundings(Trial(width=16, vocabulary=30, dtype="float32", seed=7))
        losses.append(backward_of(technique.loss(context.model, context))(batches(TRIAL, 1)[0], None)[0])
    assert torch.equal(*losses)
