"""Switch experts: capacity, overflow, balance, causality of places, jitter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engines.api import Trial
from engines.toolbox import trials
from plugins.experts import switch
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates, hidden


def build(trial: Trial = EXACT, **parameters: object) -> switch.SwitchFeedForward:
    with trials.seeded(trial):
        return switch.Switch(**{"experts": 3, **parameters}).build(trials.site(trial))


def routed(block: switch.SwitchFeedForward, x_BTD: torch.Tensor) -> torch.Tensor:
    """The expert of each token, (B, T), by the definition."""
    return (x_BTD @ block.router.weight.T).argmax(dim=-1)


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(switch))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


def test_tokens_beyond_capacity_give_zero_and_the_first_in_time_are_served() -> None:
    block, x_BTD = build(capacity_factor=0.5), hidden()
    y_BTD, _ = block(x_BTD)
    full_BTD = block.eval()(x_BTD)[0]
    capacity = 5  # ceil(0.5 * 26 tokens / 3 experts)
    places = [0, 0, 0]
    experts_BT = routed(block, x_BTD)
    dropped = 0
    for t in range(13):
        for b in range(2):
            expert = int(experts_BT[b, t])
            places[expert] += 1
            if places[expert] <= capacity:
                torch.testing.assert_close(y_BTD[b, t], full_BTD[b, t], rtol=0, atol=1e-12)
            else:
                assert (y_BTD[b, t] == 0).all()
                dropped += 1
    assert dropped > 0


def test_no_token_is_displaced_by_a_later_one_of_any_row() -> None:
    block, x_BTD = build(capacity_factor=0.5), hidden()
    before = block(x_BTD)[0]
    draw = torch.Generator().manual_seed(0)
    for t in range(1, 13):
        changed = x_BTD.detach().clone()
        changed[:, t:] += 3 * torch.randn(changed[:, t:].shape, generator=draw, dtype=torch.float64)
        torch.testing.assert_close(block(changed)[0][:, :t], before[:, :t], rtol=0, atol=1e-12)


def test_evaluation_drops_nothing_and_does_not_depend_on_the_batch() -> None:
    block, x_BTD = build(capacity_factor=0.1).eval(), hidden()
    together = block(x_BTD)[0]
    alone = torch.stack([torch.cat([block(x_BTD[b : b + 1, t : t + 1])[0][0] for t in range(13)]) for b in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    assert (together != 0).any(dim=-1).all()


def test_extras_hold_load_and_a_weighted_balancing_loss_with_a_gradient() -> None:
    block, x_BTD = build(coefficient=0.3), hidden()
    _, extras = block(x_BTD)
    load = torch.bincount(routed(block, x_BTD).flatten(), minlength=3)
    assert extras["load"].tolist() == load.tolist()
    p = (x_BTD @ block.router.weight.T).softmax(-1).flatten(0, 1).mean(0)
    torch.testing.assert_close(extras["auxiliary"], 0.3 * 3 * (load / 26 * p).sum())
    (gradient,) = torch.autograd.grad(extras["auxiliary"], block.router.weight)
    assert gradient.abs().max() > 0


def test_the_balancing_loss_spreads_the_load() -> None:
    block, x_BTD = build(Trial(batch=4, length=64, width=8, seed=2), coefficient=1.0), hidden(Trial(batch=4, length=64, width=8, seed=2))
    optimizer = torch.optim.Adam([block.router.weight], lr=0.05)
    loads = []
    for _ in range(60):
        _, extras = block(x_BTD)
        optimizer.zero_grad()
        extras["auxiliary"].backward()
        optimizer.step()
        loads.append(extras["load"])
    assert loads[-1].max() - loads[-1].min() < 0.6 * (loads[0].max() - loads[0].min())


def test_jitter_only_in_training() -> None:
    with trials.seeded(EXACT):
        block, x_BTD = build(jitter=0.5), trials.hidden(EXACT)
        assert (block.route(x_BTD) - block.route(x_BTD)).abs().max() > 1e-6
        block.eval()
        torch.testing.assert_close(block.route(x_BTD), block.route(x_BTD), rtol=0, atol=0)


def test_router_is_float32_under_autocast() -> None:
    trial = Trial(dtype="float32")
    block, x_BTD = build(trial), hidden(trial)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert block.route(x_BTD).dtype == torch.float32
        y_BTD, extras = block(x_BTD)
    assert extras["auxiliary"].dtype == torch.float32
    y_BTD.float().sum().backward()


def test_shapes_on_the_meta_device() -> None:
    with torch.device("meta"):
        block = switch.Switch().build(trials.site(Trial()))
        y_BTD, extras = block(torch.empty(2, 5, 16))
    assert y_BTD.shape == (2, 5, 16)
    assert extras["load"].shape == (4,)
