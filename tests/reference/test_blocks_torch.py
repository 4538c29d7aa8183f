"""Blocks against torch's own modules of the same name: same weights, same outputs, same gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Trial
from engines.toolbox import trials
from engines.toolbox.assembly import Layer
from plugins.attention.full import Full as FullAttention
from plugins.feedforward.dense import Dense
from plugins.softmax.full import Full as FullSoftmax
from tests.plugins.softmax.rows import rows_and_targets

TRIAL = Trial(batch=3, length=11, width=12, vocabulary=70)


def assert_same(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    cotangent = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0), dtype=ours.dtype)
    for a, b in zip(torch.autograd.grad(ours, inputs, cotangent), torch.autograd.grad(theirs, inputs, cotangent), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def causal(length: int) -> Tensor:
    return nn.Transformer.generate_square_subsequent_mask(length, dtype=torch.float64)


@pytest.mark.parametrize("kernel", ["sdpa", "naive"])
def test_full_attention_equals_multi_head_attention(kernel: str) -> None:
    with trials.seeded(TRIAL):
        ours = FullAttention(heads=3, positions="none", kernel=kernel).build(trials.site(TRIAL))
        theirs = nn.MultiheadAttention(12, 3, bias=False, batch_first=True)
        with torch.no_grad():
            theirs.in_proj_weight.copy_(torch.cat((ours.query.weight, ours.key.weight, ours.value.weight)))
            theirs.out_proj.weight.copy_(ours.output.weight)
        x_BTD = trials.hidden(TRIAL)
    assert_same(ours(x_BTD, None)[0], theirs(x_BTD, x_BTD, x_BTD, attn_mask=causal(11), is_causal=True, need_weights=False)[0], [x_BTD])


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_layer_equals_a_transformer_encoder_layer(activation: str) -> None:
    with trials.seeded(TRIAL):
        site = trials.site(TRIAL)
        mixer = FullAttention(heads=3, positions="none").build(site)
        dense = Dense(hidden=20, activation=activation).build(site)
        ours = Layer(mixer, dense, width=12, residual=True, feedforward_residual=True, norm="layer")
        theirs = nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0, activation=activation, batch_first=True, norm_first=True)
        with torch.no_grad():
            theirs.self_attn.in_proj_weight.copy_(torch.cat((mixer.query.weight, mixer.key.weight, mixer.value.weight)))
            theirs.self_attn.out_proj.weight.copy_(mixer.output.weight)
        theirs.linear1.load_state_dict(dense.network.inner.state_dict())
        theirs.linear2.load_state_dict(dense.network.outer.state_dict())
        x_BTD = trials.hidden(TRIAL)
    assert_same(ours(x_BTD, None)[0], theirs(x_BTD, src_mask=causal(11), is_causal=True), [x_BTD])


@pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="torch before 2.13 has no linear_cross_entropy")
def test_full_softmax_equals_the_fused_linear_cross_entropy() -> None:
    with trials.seeded(TRIAL):
        head = FullSoftmax(bias=False).build(trials.site(TRIAL))
    h_ND, y_N = rows_and_targets(TRIAL)
    theirs = F.linear_cross_entropy(h_ND, head.output.weight, y_N, reduction="sum")
    assert_same(head.loss(h_ND, y_N), theirs, [h_ND, head.output.weight])
