"""quantization/static_int8 against torch's own quantised linear layer on the same grids: equal but for the rounding of its output."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from engines.toolbox.integer import ACTIVATIONS, StaticInt8Linear
from engines.toolbox.quantisers import grid


@pytest.mark.parametrize("per_channel", [True, False])
def test_torchs_quantized_linear(per_channel: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(48, 20), torch.randn(30, 48)
    # Seven bits, so that no processor's 16-bit sums overflow in torch's kernel.
    scale, zero = grid(2 * x.amin(), 2 * x.amax(), ACTIVATIONS)
    form = StaticInt8Linear.of(linear, scale, zero, per_channel=per_channel)
    ours = form(x)
    step = float(ours.abs().max()) / 127
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        q = torch.quantize_per_tensor(x, float(scale), int(zero), torch.quint8)
        scales = form.scale.flatten().expand(20).double().contiguous()
        w = torch.quantize_per_channel(form.weight, scales, torch.zeros(20, dtype=torch.int64), 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(w, linear.bias)
        theirs = torch.ops.quantized.linear(q, packed, step, 128).dequantize()
    assert torch.equal(form.codes(x).int() + 128, q.int_repr().int())
    assert float((ours - theirs).abs().max()) <= 0.51 * step
