"""quantization/dynamic_int8 against torch.ao.quantization.quantize_dynamic: the same outputs, bit for bit."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from engines.toolbox.int8 import Int8Linear, Int8LSTM

ao = pytest.importorskip("torch.ao.quantization")


def reference(module: nn.Module, per_channel: bool) -> nn.Module:
    config = ao.per_channel_dynamic_qconfig if per_channel else ao.default_dynamic_qconfig
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ao.quantize_dynamic(nn.Sequential(module).eval(), {type(module): config})[0]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 200, 800), (35, 33, 17), (700, 64, 1000)])
def test_linear(shape: tuple[int, int, int], bias: bool, per_channel: bool) -> None:
    torch.manual_seed(1)
    rows, width, out = shape
    linear, x = nn.Linear(width, out, bias=bias), torch.randn(rows, width)
    assert torch.equal(Int8Linear.of(linear, per_channel)(x), reference(linear, per_channel)(x))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("carried", [False, True])
def test_lstm(layers: int, bidirectional: bool, carried: bool, per_channel: bool) -> None:
    torch.manual_seed(2)
    lstm = nn.LSTM(40, 24, layers, batch_first=True, bidirectional=bidirectional)
    x = torch.randn(3, 11, 40)
    places = layers * (2 if bidirectional else 1)
    state = (torch.randn(places, 3, 24), torch.randn(places, 3, 24)) if carried else None
    ours, (h, c) = Int8LSTM.of(lstm, per_channel)(x, state)
    theirs, (h_, c_) = reference(lstm, per_channel)(x, state)
    assert torch.equal(ours, theirs)
    assert torch.equal(h, h_)
    assert torch.equal(c, c_)
