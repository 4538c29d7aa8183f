"""The LSTM block against torch's own, its carried state, and causality."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engines.api import Trial
from engines.toolbox import trials
from plugins.recurrent import lstm
from tests.plugins.checks import EXACT, TRIALS, assert_causal, assert_holds, assert_state_splits, certificates, hidden


def build(**parameters: object) -> lstm.CarriedLSTM:
    with trials.seeded(EXACT):
        return lstm.LSTM(**parameters).build(trials.site(EXACT))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(lstm))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


def test_equals_torch_with_layers_first_states() -> None:
    block, x_BTD = build(width=6, layers=2), hidden()
    y, (h_BLH, c_BLH) = block(x_BTD, None)
    reference, (h_LBH, c_LBH) = block.lstm(x_BTD)
    torch.testing.assert_close(y, reference, rtol=0, atol=0)
    torch.testing.assert_close(h_BLH, h_LBH.transpose(0, 1), rtol=0, atol=0)
    torch.testing.assert_close(c_BLH, c_LBH.transpose(0, 1), rtol=0, atol=0)
    assert y.shape == (2, 13, 6)
    assert block.width == 6


def test_causal() -> None:
    assert_causal(build(), hidden())


def test_state_has_the_batch_first_and_is_carried_in_training_too() -> None:
    block, x_BTD = build(layers=3), hidden()
    assert_state_splits(block, x_BTD)
    block.train()
    _, state = block(x_BTD[:, :5], None)
    assert all(part.shape == (2, 3, 8) for part in state)
    carried = block(x_BTD[:, 5:], state)[0]
    fresh = block(x_BTD[:, 5:], None)[0]
    assert (carried - fresh).abs().max() > 1e-3


@pytest.mark.filterwarnings("error")
def test_dropout_between_layers_only_and_no_warning_with_one() -> None:
    assert build(layers=1, dropout=0.5).lstm.dropout == 0.0
    block, x_BTD = build(layers=2, dropout=0.5), hidden()
    assert (block(x_BTD, None)[0] - block(x_BTD, None)[0]).abs().max() > 1e-3
    block.eval()
    torch.testing.assert_close(block(x_BTD, None)[0], block(x_BTD, None)[0], rtol=0, atol=0)


def test_gradients_are_those_of_finite_differences() -> None:
    block = build(width=2)
    x_BTD = hidden(Trial(batch=1, length=3, width=8))
    assert torch.autograd.gradcheck(lambda x: block(x, None)[0], (x_BTD,))
