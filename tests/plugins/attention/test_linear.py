"""Linear attention: three forms that are one, causality, restart, half precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engines.api import Trial
from engines.toolbox import trials
from plugins.attention import linear
from tests.plugins.checks import EXACT, TRIALS, assert_causal, assert_holds, assert_state_splits, certificates, hidden


def build(trial: Trial = EXACT, **parameters: object) -> linear.LinearAttention:
    with trials.seeded(trial):
        return linear.Linear(**{"heads": 2, "chunk": 4, **parameters}).build(trials.site(trial))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(linear))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


@pytest.mark.parametrize("parameters", [{}, {"positions": "none"}, {"chunk": 64}])
def test_causal(parameters: dict[str, object]) -> None:
    assert_causal(build(**parameters), hidden())
    assert_state_splits(build(**parameters), hidden())


def test_without_positions_it_is_a_weighted_mean_of_values() -> None:
    """Weights are positive and sum to 1, so that equal values come out unchanged (up to the denominator's 1e-6)."""
    block, x_BTD = build(positions="none"), hidden()
    with torch.no_grad():
        block.output.weight.copy_(torch.eye(8))
        same = block(x_BTD[:, :1].expand_as(x_BTD), None)[0]
        value = block.value(x_BTD[:, :1]).expand_as(same)
    torch.testing.assert_close(same, value, rtol=1e-5, atol=1e-6)


def test_sums_start_again_after_the_context() -> None:
    block, x_BTD = build(context=5).eval(), hidden()
    whole = block(x_BTD, None)[0]
    apart = torch.cat([block(piece, None)[0] for piece in x_BTD.split(5, dim=1)], dim=1)
    torch.testing.assert_close(whole, apart, rtol=0, atol=1e-12)


def test_the_state_does_not_grow() -> None:
    block, x_BTD = build(context=1000).eval(), hidden()
    _, short = block(x_BTD[:, :1], None)
    _, long = block(x_BTD, None)
    assert [part.shape for part in short] == [part.shape for part in long] == [(2, 2, 4, 4), (2, 2, 4), (2,)]


def test_training_neither_reads_nor_gives_a_state() -> None:
    block, x_BTD = build(), hidden()
    _, state = block.eval()(x_BTD[:, :5], None)
    block.train()
    y, none = block(x_BTD[:, 5:], state)
    assert none is None
    torch.testing.assert_close(y, block(x_BTD[:, 5:], None)[0], rtol=0, atol=0)


def test_half_precision_sums_in_float32() -> None:
    trial = Trial(batch=1, length=3000, width=8, dtype="float32")
    block, x_BTD = build(trial, chunk=64), hidden(trial)
    with torch.no_grad():
        exact = block(x_BTD, None)[0]
        half = block.bfloat16()(x_BTD.bfloat16(), None)[0]
    assert half.dtype == torch.bfloat16
    assert trials.relative_error(half.float(), exact) < 0.05


def test_gradients_are_those_of_finite_differences() -> None:
    block = build(chunk=2)
    x_BTD = hidden(Trial(batch=1, length=5, width=8))
    assert torch.autograd.gradcheck(lambda x: block(x, None)[0], (x_BTD,))
