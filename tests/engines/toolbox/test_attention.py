"""Rotary positions, masks and the choice of the cheapest exact way."""

from __future__ import annotations

import pytest
import torch

from engines.toolbox import attention
from engines.toolbox.attention import attend, attend_band, band_mask, rotate


def qkv(length: int, keys: int, heads: int = 4, key_heads: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    make = torch.Generator().manual_seed(length * 100 + keys)
    shapes = ((2, heads, length, 6), (2, key_heads, keys, 6), (2, key_heads, keys, 6))
    return tuple(torch.randn(shape, generator=make, dtype=torch.float64).requires_grad_() for shape in shapes)  # type: ignore[return-value]


def test_turns_keep_lengths_and_products_depend_on_distance_alone() -> None:
    q, k, _ = qkv(5, 5, 2, 2)
    torch.testing.assert_close(rotate(q, 3).norm(dim=-1), q.norm(dim=-1))
    torch.testing.assert_close(rotate(q, 100) @ rotate(k, 100).mT, rotate(q, 0) @ rotate(k, 0).mT)
    torch.testing.assert_close(rotate(q, 0)[:, :, 0], q[:, :, 0])
    assert (rotate(q, 1) @ rotate(k, 0).mT - q @ k.mT).abs().max() > 0.1


def test_the_first_pair_turns_by_one_radian_a_token() -> None:
    x = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    x[..., 0] = 1.0
    steps = torch.arange(3, dtype=torch.float64)
    torch.testing.assert_close(rotate(x, 0)[0, 0, :, :2], torch.stack((steps.cos(), steps.sin()), dim=-1))


def test_positions_stay_exact_in_half_precision() -> None:
    x = torch.ones(1, 1, 1, 8)
    half = rotate(x.bfloat16(), 5000)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), rotate(x, 5000), rtol=0, atol=0.01)


def test_the_mask_of_a_band_with_a_cache() -> None:
    assert band_mask(2, 5, 3, torch.device("cpu")).int().tolist() == [[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]]


@pytest.mark.parametrize(
    ("length", "keys", "window"), [(7, 7, 7), (7, 7, 9), (1, 4, 4), (1, 6, 4), (5, 8, 4), (9, 9, 4), (40, 40, 4), (40, 43, 4), (41, 43, 5)]
)
@pytest.mark.parametrize("kernel", ["sdpa", "naive"])
def test_every_way_equals_the_mask(length: int, keys: int, window: int, kernel: attention.Kernel) -> None:
    q, k, v = qkv(length, keys)
    ours = attend_band(q, k, v, window, kernel=kernel, dropout=0.0)
    theirs = attend(q, k, v, band_mask(length, keys, window, q.device), causal=True, kernel="naive", dropout=0.0)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(torch.autograd.grad(ours.square().sum(), (q, k, v)), torch.autograd.grad(theirs.square().sum(), (q, k, v)), strict=True):
        torch.testing.assert_close(a, b)


def test_long_sequences_go_through_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    blocks = attention.attend_blocks

    def watched(q: torch.Tensor, *args: object, **named: object) -> torch.Tensor:
        lengths.append(q.shape[2])
        return blocks(q, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(attention, "attend_blocks", watched)
    for length in (4, 8, 9, 64):
        q, k, v = qkv(length, length)
        attend_band(q, k, v, 4, kernel="sdpa", dropout=0.0)
    assert lengths == [64, 4]  # the long one, and within it its first block
