"""What tests of blocks share: the certificates of a plugin file on several trials, causality, states with the batch first."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from engines.api import Trial
from engines.toolbox import batches, trials

TRIALS = (Trial(), Trial(dtype="float32", seed=1), Trial(batch=3, length=17, width=8, vocabulary=211, seed=3))
EXACT = Trial(batch=2, length=13, width=8, vocabulary=40, seed=5)


def certificates(plugin: ModuleType) -> list[Callable[[Trial], float]]:
    return [value for value in vars(plugin).values() if hasattr(value, "certificate")]


def assert_holds(certificate: Any, trial: Trial) -> None:
    statement, tolerance = certificate.certificate
    error = certificate(trial)
    # in float64 an exact statement holds to rounding, far below what a user's type is allowed
    allowed = min(tolerance, 1e-11) if trial.dtype == "float64" else tolerance
    assert error <= allowed, f"{statement}: error {error:.2e} on {trial}"


def assert_causal(mixer: nn.Module, x_BTD: Tensor) -> None:
    """A changed token moves no earlier output, moves its own or a later one, and no earlier output pulls at it; training and evaluation."""
    draw = torch.Generator().manual_seed(0)
    for training in (True, False):
        mixer.train(training)
        for t in (1, x_BTD.shape[1] // 2, x_BTD.shape[1] - 1):
            before = mixer(x_BTD, None)[0]
            changed = x_BTD.detach().clone()
            changed[:, t:] += torch.randn(changed[:, t:].shape, generator=draw, dtype=x_BTD.dtype)
            after = mixer(changed, None)[0]
            torch.testing.assert_close(after[:, :t], before[:, :t], rtol=0, atol=1e-12)
            assert (after[:, t] - before[:, t]).abs().max() > 1e-6
            (pull,) = torch.autograd.grad(before[:, :t].square().sum(), x_BTD)
            assert pull[:, t:].abs().max() == 0
            assert pull[:, :t].abs().max() > 0


def assert_state_splits(mixer: nn.Module, x_BTD: Tensor) -> None:
    """Rows do not depend on each other, and a state split over the batch continues as the whole one does."""
    mixer.eval()
    half = x_BTD.shape[1] // 2
    _, state = mixer(x_BTD[:, :half], None)
    together, _ = mixer(x_BTD[:, half:], state)
    parts = [mixer(rows, part)[0] for rows, part in zip(x_BTD[:, half:].split(1), batches.split_state(state, len(x_BTD)), strict=True)]
    torch.testing.assert_close(torch.cat(parts), together, rtol=0, atol=1e-12)


def hidden(trial: Trial = EXACT) -> Tensor:
    with trials.seeded(trial):
        return trials.hidden(trial)
