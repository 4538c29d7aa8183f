"""Full attention: causality, the cache, the context, positions, refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from engines.api import Trial
from engines.toolbox import trials
from engines.toolbox.attention import SelfAttention
from plugins.attention import full
from tests.plugins.checks import EXACT, TRIALS, assert_causal, assert_holds, assert_state_splits, certificates, hidden


def build(trial: Trial = EXACT, **parameters: object) -> SelfAttention:
    with trials.seeded(trial):
        return full.Full(**{"heads": 2, **parameters}).build(trials.site(trial))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(full))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


@pytest.mark.parametrize("parameters", [{}, {"positions": "none"}, {"kv_heads": 1}, {"kernel": "naive"}, {"context": 20}])
def test_causal(parameters: dict[str, object]) -> None:
    assert_causal(build(**parameters), hidden())


@pytest.mark.parametrize("context", [13, 5])
def test_learned_positions_are_causal_inside_each_segment(context: int) -> None:
    block, x_BTD = build(positions="learned", context=context), hidden()
    y = block(x_BTD, None)[0]
    for t in range(x_BTD.shape[1]):
        (pull,) = torch.autograd.grad(y[:, t].square().sum(), x_BTD, retain_graph=True)
        seen = pull.abs().amax(dim=(0, 2)) > 0
        start = t // context * context
        assert seen.nonzero().squeeze(1).tolist() == list(range(start, t + 1))


@pytest.mark.parametrize("positions", ["rotary", "learned", "none"])
def test_state_splits_over_the_batch(positions: str) -> None:
    assert_state_splits(build(positions=positions), hidden())


def test_training_neither_reads_nor_gives_a_state() -> None:
    block, x_BTD = build(), hidden()
    block.eval()
    y, state = block(x_BTD, None)
    assert state is not None
    assert (block(x_BTD, state)[0] - y).abs().max() > 1e-3  # evaluation goes on from it
    block.train()
    again, none = block(x_BTD, state)
    assert none is None
    torch.testing.assert_close(again, y, rtol=0, atol=1e-12)


def test_the_cache_never_outgrows_the_context() -> None:
    block, x_BTD = build(context=4).eval(), hidden()
    state = None
    for t in range(x_BTD.shape[1]):
        _, state = block(x_BTD[:, t : t + 1], state)
        assert state is not None
        assert state[0].shape[2] == state[1].shape[2] == min(t + 1, 3)


def test_the_context_is_what_a_token_sees() -> None:
    block, x_BTD = build(context=4), hidden()
    y = block(x_BTD, None)[0]
    (pull,) = torch.autograd.grad(y[:, 9].square().sum(), x_BTD)
    assert (pull.abs().amax(dim=(0, 2)) > 0).nonzero().squeeze(1).tolist() == [6, 7, 8, 9]


def test_the_context_defaults_to_the_training_length() -> None:
    assert build().window == EXACT.length


def test_rotary_and_learned_positions_tell_order_and_none_does_not() -> None:
    """The last token's output under a swap of two earlier tokens, one layer."""
    x_BTD = hidden()
    swapped = x_BTD[:, [1, 0, *range(2, 13)]]
    moved = {p: (build(positions=p)(swapped, None)[0] - build(positions=p)(x_BTD, None)[0])[:, -1].abs().max() for p in ("rotary", "learned", "none")}
    assert moved["none"] < 1e-12
    assert moved["rotary"] > 1e-4
    assert moved["learned"] > 1e-6


def test_grouped_heads_save_weights() -> None:
    assert build(heads=4, kv_heads=1).key.weight.shape == (2, 8)
    assert build(heads=4).key.weight.shape == (8, 8)


def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"3 heads do not divide the width 8; heads that do: 1, 2, 4, 8\."):
        build(heads=3)
    with pytest.raises(ValueError, match="odd head width 1"):
        build(heads=8)
    with pytest.raises(ValidationError, match="kv_heads = 3 must divide heads = 4"):
        full.Full(heads=4, kv_heads=3)


def test_dropout_only_in_training() -> None:
    with trials.seeded(EXACT):
        block, x_BTD = build(dropout=0.5), trials.hidden(EXACT)
        assert (block(x_BTD, None)[0] - block(x_BTD, None)[0]).abs().max() > 1e-3
        block.eval()
        torch.testing.assert_close(block(x_BTD, None)[0], block(x_BTD, None)[0], rtol=0, atol=0)
