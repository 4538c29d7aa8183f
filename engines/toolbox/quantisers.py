"""The linear quantiser: grids of 2 to 8 bits for whole matrices, rows or groups of a row, how their ranges are chosen, and codes packed in bytes.

Shapes: E outputs (rows), D inputs (columns), G groups a row, R rows of scales (E, or 1 where one scale serves the whole matrix). The kernel of a
convolution is the matrix `weight.flatten(1)`, one row an output channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Granularity = Literal["tensor", "channel", "group"]
Range = Literal["min_max", "percentile", "mse"]

PERCENTILE = 0.999
"""Share of the values that a range by percentile holds."""
SHRINKS = 48
"""Ranges tried by the search for the least squared error, from the whole range down to a quarter of it."""


@dataclass(frozen=True)
class Scheme:
    """Which grid a matrix is rounded to: w ~ s (c - z) with codes c = 0 ... top.

    symmetric: the grid is centred on zero (z fixed, the code that would make it lopsided is not used: 127 and not 128 levels below zero);
    else z moves with the range. group: members of a group, along the columns; the last group of a row may be smaller.
    half_scales: scales are stored in 16 bits, and codes are chosen for what they then are.
    """

    bits: int = 8
    symmetric: bool = True
    granularity: Granularity = "group"
    group: int = 64
    range: Range = "min_max"
    half_scales: bool = False

    @property
    def top(self) -> int:
        """The largest code."""
        return 2**self.bits - (2 if self.symmetric else 1)

    @property
    def middle(self) -> int:
        """The code of zero on a symmetric grid."""
        return 2 ** (self.bits - 1) - 1

    @property
    def scale_type(self) -> torch.dtype:
        return torch.float16 if self.half_scales else torch.float32

    def shape(self, rows: int, columns: int) -> tuple[int, int]:
        """(R, G) of the scales of a matrix."""
        if self.granularity == "group":
            return rows, -(-columns // self.group)
        return (1 if self.granularity == "tensor" else rows), 1

    def members(self, columns: int) -> int:
        """Columns that share a scale."""
        return self.group if self.granularity == "group" else columns

    def __str__(self) -> str:
        per = {"tensor": "one scale a matrix", "channel": "one scale a row", "group": f"groups of {self.group}"}[self.granularity]
        return f"{self.bits} bits, {'symmetric' if self.symmetric else 'affine'}, {per}"


@dataclass(frozen=True)
class Quantised:
    """A matrix on a grid: codes_ED (uint8), scale_RG (float32 or float16), zero_RG (uint8; None on a symmetric grid)."""

    codes_ED: Tensor
    scale_RG: Tensor
    zero_RG: Tensor | None
    scheme: Scheme

    def dense(self) -> Tensor:
        """s (c - z), (E, D), float32."""
        return dequantise(self.codes_ED, self.scale_RG, self.zero_RG, self.scheme)


def blocks(weight_ED: Tensor, scheme: Scheme) -> Iterator[Tensor]:
    """The members of each scale as (R, G', n): all groups at once, then the smaller last group of each row, where there is one."""
    if scheme.granularity == "tensor":
        yield weight_ED.reshape(1, 1, -1)
    elif scheme.granularity == "channel":
        yield weight_ED[:, None, :]
    else:
        whole = weight_ED.shape[1] // scheme.group * scheme.group
        if whole:
            yield weight_ED[:, :whole].unflatten(1, (-1, scheme.group))
        if whole < weight_ED.shape[1]:
            yield weight_ED[:, None, whole:]


def grid(low: Tensor, high: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """(scale, zero) of ranges, float32, of their shape.

    affine     s = (high - low) / (2^b - 1), z = round(-low / s), with low <= 0 <= high       (1)
    symmetric  s = max(-low, high) / (2^(b-1) - 1), z the middle code                         (2)

    Zero is always a level, so that padding and pruned weights stay exact. A range of nothing gets s = 1.
    """
    low, high = low.float().clamp(max=0), high.float().clamp(min=0)
    scale = torch.maximum(-low, high) / scheme.middle if scheme.symmetric else (high - low) / scheme.top
    kind = torch.finfo(scheme.scale_type)
    smallest = kind.smallest_normal if scheme.scale_type == torch.float32 else kind.smallest_normal * kind.eps
    scale = torch.where(scale > 0, scale.clamp(smallest, kind.max), 1.0).to(scheme.scale_type).float()
    if scheme.symmetric:
        return scale, torch.full_like(scale, scheme.middle)
    return scale, torch.round(-low / scale).clamp(0, scheme.top)


def nearest(x: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    """The codes round(x / s) + z, halves to even, kept within 0 ... top; float. Scale and zero broadcast to x.

    By the reciprocal, as torch's own quantisers multiply, so that codes are theirs bit for bit.
    """
    return (torch.round(x * (1 / scale)) + zero).clamp(0, top)


def ranges(block_RGn: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """(low, high) of each scale's members, (R, G): all of them, a percentile, or the range whose grid leaves the least squared error."""
    low, high = block_RGn.amin(-1), block_RGn.amax(-1)
    if scheme.range == "min_max":
        return low, high
    if scheme.range == "percentile":
        ordered = block_RGn.sort(dim=-1).values
        last = ordered.shape[-1] - 1
        return ordered[..., int((1 - PERCENTILE) * last)], ordered[..., -1 - int((1 - PERCENTILE) * last)]
    best = torch.full_like(low, float("inf"))
    low_best, high_best = low, high
    for shrink in torch.linspace(1.0, 0.25, SHRINKS).tolist():
        scale, zero = (part[..., None] for part in grid(low * shrink, high * shrink, scheme))
        error = (scale * (nearest(block_RGn, scale, zero, scheme.top) - zero) - block_RGn).square().sum(-1)
        better = error < best
        best = torch.where(better, error, best)
        low_best, high_best = torch.where(better, low * shrink, low_best), torch.where(better, high * shrink, high_best)
    return low_best, high_best


@torch.no_grad()
def scales_of(weight_ED: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """(scale_RG, zero_RG) of a matrix, float32."""
    found = [grid(*ranges(block, scheme), scheme) for block in blocks(weight_ED.detach().float().flatten(1), scheme)]
    return torch.cat([scale for scale, _ in found], dim=1), torch.cat([zero for _, zero in found], dim=1)


def spread(part_RG: Tensor, columns: int, scheme: Scheme) -> Tensor:
    """Scales or zeros as something that broadcasts to (E, D)."""
    return part_RG if part_RG.shape[1] == 1 else part_RG.repeat_interleave(scheme.group, dim=1)[:, :columns]


@torch.no_grad()
def quantise(weight_ED: Tensor, scheme: Scheme) -> Quantised:
    """Round to the nearest level of each scale's grid. An error is at most half a step within the range."""
    weight_ED = weight_ED.detach().float().flatten(1)
    scale_RG, zero_RG = scales_of(weight_ED, scheme)
    s, z = spread(scale_RG, weight_ED.shape[1], scheme), spread(zero_RG, weight_ED.shape[1], scheme)
    return stored(nearest(weight_ED, s, z, scheme.top), scale_RG, zero_RG, scheme)


def stored(codes_ED: Tensor, scale_RG: Tensor, zero_RG: Tensor, scheme: Scheme) -> Quantised:
    """Codes, scales and zeros in the types they are kept in."""
    return Quantised(codes_ED.to(torch.uint8), scale_RG.to(scheme.scale_type), None if scheme.symmetric else zero_RG.to(torch.uint8), scheme)


def dequantise(codes_ED: Tensor, scale_RG: Tensor, zero_RG: Tensor | None, scheme: Scheme) -> Tensor:
    """s (c - z), float32."""
    columns = codes_ED.shape[1]
    zero = scheme.middle if zero_RG is None else spread(zero_RG.float(), columns, scheme)
    return spread(scale_RG.float(), columns, scheme) * (codes_ED.float() - zero)


# Codes in bytes.


def parts(bits: int) -> list[tuple[int, int]]:
    """b bits cut into pieces of 8, 4, 2 and 1 bits, largest first: [(bits of the piece, how far it is shifted within the code)].

    A piece of p bits lies 8 / p to the byte, so every width of 1 to 8 bits takes b / 8 bytes a code, and widths of 2, 4 and 8 are one piece.
    """
    return [(size, bits & (size - 1)) for size in (8, 4, 2, 1) if bits & size]


def packed_bytes(columns: int, bits: int) -> int:
    """Bytes of a row of codes: columns are filled up to a multiple of 8."""
    return -(-columns // 8) * bits


def pack(codes_ED: Tensor, bits: int) -> Tensor:
    """Codes (E, D), uint8 below 2^bits, as bytes (E, ceil(D / 8) bits), uint8."""
    columns = -(-codes_ED.shape[1] // 8) * 8
    filled_ED = torch.nn.functional.pad(codes_ED, (0, columns - codes_ED.shape[1]))
    pieces = []
    for size, shift in parts(bits):
        # Slot j of the bytes holds one run of neighbouring columns: unpacked runs are only put behind one another.
        slots = ((filled_ED >> shift) & (2**size - 1)).unflatten(1, (8 // size, -1))
        byte = slots[:, 0]
        for slot in range(1, 8 // size):
            byte = byte | (slots[:, slot] << (slot * size))
        pieces.append(byte)
    return torch.cat(pieces, dim=1)


def unpack(packed: Tensor, bits: int, columns: int) -> Tensor:
    """The codes (E, columns), uint8, that `pack` was given."""
    filled = -(-columns // 8) * 8
    codes: Tensor | None = None
    start = 0
    for size, shift in parts(bits):
        piece = packed[:, start : start + filled * size // 8]
        start += filled * size // 8
        if size < 8:
            piece = torch.cat([_down(piece, slot * size) & (2**size - 1) for slot in range(8 // size)], dim=1)
        codes = _up(piece, shift) if codes is None else codes | _up(piece, shift)
    assert codes is not None
    return codes[:, :columns]


def _down(piece: Tensor, by: int) -> Tensor:
    """piece >> by. In an ONNX graph by division: its shifts of bytes come out signed (onnxscript 0.7.2)."""
    if not torch.onnx.is_in_onnx_export():
        return piece >> by
    return torch.div(piece, torch.full((), 2**by, dtype=torch.uint8), rounding_mode="floor") if by else piece


def _up(piece: Tensor, by: int) -> Tensor:
    """piece << by."""
    if not torch.onnx.is_in_onnx_export():
        return piece << by
    return piece * torch.full((), 2**by, dtype=torch.uint8) if by else piece


# Ranges of what streams by.


class Observer:
    """The range of activations over calibration batches.

    min_max: everything seen. moving_average: each batch's smallest and largest value, averaged with weight `momentum` of the new. percentile,
    mse: on a seeded sample of each batch's values; the least squared error is that of the grid itself.
    """

    SAMPLE = 1 << 14
    """Values kept of a batch."""

    def __init__(self, kind: Literal["min_max", "moving_average", "percentile", "mse"], scheme: Scheme, momentum: float = 0.1) -> None:
        self.kind, self.scheme, self.momentum = kind, scheme, momentum
        self.batches = 0
        self._low = self._high = torch.zeros(())
        self._sample: list[Tensor] = []
        self._generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        values = x.detach().flatten().float()
        low, high = values.amin(), values.amax()
        if not self.batches:
            self._low, self._high = low, high
        elif self.kind == "moving_average":
            self._low, self._high = (old + self.momentum * (new - old) for old, new in ((self._low, low), (self._high, high)))
        else:
            self._low, self._high = torch.minimum(self._low, low), torch.maximum(self._high, high)
        self.batches += 1
        if self.kind in ("percentile", "mse"):
            # By chance, not every n-th: a stride may fall on the same channel again and again.
            chosen = torch.randint(values.numel(), (min(self.SAMPLE, values.numel()),), generator=self._generator)
            self._sample.append(values[chosen.to(values.device)])

    def range(self) -> tuple[Tensor, Tensor]:
        """(low, high), scalars. Raises ValueError where nothing was observed."""
        if not self.batches:
            raise ValueError("An observer was asked for a range before it saw any values: calibrate with at least one batch.")
        if self.kind in ("min_max", "moving_average"):
            return self._low, self._high
        found = Scheme(self.scheme.bits, self.scheme.symmetric, "tensor", range="percentile" if self.kind == "percentile" else "mse")
        low, high = ranges(torch.cat(self._sample)[None, None], found)
        return low[0, 0], high[0, 0]
