"""Sliding-window attention: what is seen, linear memory, causality, the cache."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engines.api import Trial
from engines.toolbox import trials
from engines.toolbox.attention import SelfAttention
from plugins.attention import sliding_window
from tests.plugins.checks import EXACT, TRIALS, assert_causal, assert_holds, assert_state_splits, certificates, hidden


def build(window: int, trial: Trial = EXACT, **parameters: object) -> SelfAttention:
    with trials.seeded(trial):
        return sliding_window.SlidingWindow(window=window, heads=2, **parameters).build(trials.site(trial))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(sliding_window))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


@pytest.mark.parametrize("window", [2, 5, 13, 40])
def test_causal(window: int) -> None:
    assert_causal(build(window), hidden())
    assert_state_splits(build(window), hidden())


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_a_token_sees_itself_and_window_minus_one_before(window: int) -> None:
    trial = Trial(batch=1, length=40, width=8)
    x_BTD = hidden(trial)
    y = build(window, trial)(x_BTD, None)[0]
    for t in (0, window - 1, window, 2 * window, 39):
        (pull,) = torch.autograd.grad(y[:, t].square().sum(), x_BTD, retain_graph=True)
        assert (pull.abs().amax(dim=(0, 2)) > 0).nonzero().squeeze(1).tolist() == list(range(max(0, t - window + 1), t + 1))


def test_naive_kernel_gives_the_same() -> None:
    block, naive, x_BTD = build(3, kv_heads=1), build(3, kv_heads=1, kernel="naive"), hidden()
    torch.testing.assert_close(block(x_BTD, None)[0], naive(x_BTD, None)[0], rtol=0, atol=1e-12)


def largest_result(length: int) -> int:
    """Elements of the largest tensor that any operation of a forward pass makes."""

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple) else (result,):
                if isinstance(tensor, torch.Tensor):
                    self.largest = max(self.largest, tensor.numel())
            return result

    trial = Trial(batch=1, length=length, width=8, dtype="float32")
    block, x_BTD = build(16, trial, kernel="naive"), hidden(trial)
    with Watch() as watch:
        block(x_BTD, None)
    return watch.largest


def test_memory_is_linear_in_the_length() -> None:
    assert largest_result(1024) <= 2.2 * largest_result(512)
