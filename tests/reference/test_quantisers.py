"""The linear quantiser against torch's own: quantize_per_tensor, quantize_per_channel and fake_quantize_*, bit for bit."""

from __future__ import annotations

import warnings

import pytest
import torch

from engines.toolbox.quantisers import Scheme, quantise


def torchs(weight, scale, zero, low_bits_type):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if scale.numel() == 1:
            return torch.quantize_per_tensor(weight, float(scale), int(zero), low_bits_type)
        return torch.quantize_per_channel(weight, scale.double(), zero, 0, low_bits_type)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_affine_bytes(granularity) -> None:
    weight = torch.randn(40, 333, generator=torch.Generator().manual_seed(0)) + 0.3
    ours = quantise(weight, Scheme(8, False, granularity))
    theirs = torchs(weight, ours.scale_RG.flatten(), ours.zero_RG.flatten().long(), torch.quint8)
    assert torch.equal(ours.codes_ED, theirs.int_repr())
    assert torch.equal(ours.dense(), theirs.dequantize())


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_symmetric_bytes(granularity) -> None:
    weight = torch.randn(40, 333, generator=torch.Generator().manual_seed(1))
    ours = quantise(weight, Scheme(8, True, granularity))
    theirs = torchs(weight, ours.scale_RG.flatten(), torch.zeros(ours.scale_RG.numel(), dtype=torch.int64), torch.qint8)
    assert torch.equal(ours.codes_ED.int() - 127, theirs.int_repr().int())
    assert torch.equal(ours.dense(), theirs.dequantize())


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
def test_groups_of_any_width(bits: int, symmetric: bool) -> None:
    """A group is a channel of the matrix that has one group a row."""
    weight = torch.randn(24, 96, generator=torch.Generator().manual_seed(bits))
    scheme = Scheme(bits, symmetric, "group", 32)
    ours = quantise(weight, scheme)
    zero = torch.full_like(ours.scale_RG, scheme.middle) if symmetric else ours.zero_RG
    theirs = torch.fake_quantize_per_channel_affine(weight.view(-1, 32), ours.scale_RG.flatten(), zero.flatten().int(), 0, 0, scheme.top)
    assert torch.equal(ours.dense(), theirs.view_as(weight))
