"""The dense feed-forward block."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engines.api import Trial
from engines.toolbox import trials
from engines.toolbox.feedforward import ACTIVATIONS, Activation, hidden_width
from plugins.feedforward import dense
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates, hidden


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(dense))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_inner_widths_give_about_eight_width_squared_weights(activation: Activation) -> None:
    block = dense.Dense(activation=activation).build(trials.site(Trial(width=96)))
    matrices = sum(p.numel() for p in block.parameters() if p.dim() == 2)
    assert matrices == pytest.approx(8 * 96**2, rel=0.05)
    assert hidden_width(96, 7, activation) == 7
    assert hidden_width(100, None, "swiglu") % 8 == 0


def test_tokens_do_not_see_each_other_and_there_are_no_extras() -> None:
    with trials.seeded(EXACT):
        block = dense.Dense().build(trials.site(EXACT))
    x_BTD = hidden()
    y_BTD, extras = block(x_BTD)
    assert extras == {}
    one_by_one = torch.stack([block(x_BTD[:, t : t + 1])[0][:, 0] for t in range(x_BTD.shape[1])], dim=1)
    torch.testing.assert_close(one_by_one, y_BTD, rtol=0, atol=1e-12)


def test_dropout_only_in_training() -> None:
    with trials.seeded(EXACT):
        block = dense.Dense(dropout=0.5).build(trials.site(EXACT))
        x_BTD = trials.hidden(EXACT)
        assert (block(x_BTD)[0] - block(x_BTD)[0]).abs().max() > 1e-3
        block.eval()
        torch.testing.assert_close(block(x_BTD)[0], block(x_BTD)[0], rtol=0, atol=0)
