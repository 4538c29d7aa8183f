"""Locality-sensitive hashing by the signs of random projections, and exact scores of the nearest codes.

Charikar (2002), https://doi.org/10.1145/509907.509965; for inner products: Neyshabur, Srebro (2015), https://arxiv.org/abs/1410.5518.
Shapes: V rows, F = E + 1 with a bias, B bits in words of 64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engines.toolbox.search.index import Found, Index, best_of, in_rows, missing_length, query_for_rows, rows_with_bias

WORD = 64
FEW = 32
"""Queries up to which words are compared; for more, a product of the signs as -1 and 1 says the same sooner."""


class SignHashing(Index):
    """Codes of `bits` signs for rows and queries; the `candidates` rows whose codes differ least are scored exactly.

    bits: a multiple of 64.
    """

    planes_FB: Tensor
    codes_VW: Tensor

    def __init__(self, bits: int, candidates: int, seed: int = 0) -> None:
        super().__init__()
        if bits < WORD or bits % WORD:
            raise ValueError(f"bits is {bits}: it must be a multiple of {WORD}.")
        self.bits, self.candidates, self.seed = bits, candidates, seed
        self.register_buffer("planes_FB", torch.empty(0))
        self.register_buffer("codes_VW", torch.empty(0, dtype=torch.int64))

    def refresh(self, W_VE: Tensor, b_V: Tensor | None = None, C_EE: Tensor | None = None) -> None:
        rows_VF = rows_with_bias(W_VE.detach(), None if b_V is None else b_V.detach()).float()
        rows_VG = torch.cat((rows_VF, missing_length(rows_VF)), dim=1)
        drawn = torch.Generator(device="cpu").manual_seed(self.seed)
        planes_GB = torch.randn(rows_VG.shape[1], self.bits, generator=drawn, dtype=torch.float32, device="cpu").to(W_VE.device)
        self.codes_VW = torch.cat([packed(rows @ planes_GB) for rows in in_rows(rows_VG, self.bits)])
        # A query has a 0 where rows have the length that they lack.
        self.planes_FB = planes_GB[:-1].contiguous()

    def allocate(self, W_VE: Tensor) -> None:
        """One more row of planes where there is a bias: the state that comes says so."""
        self.codes_VW = torch.empty(len(W_VE), self.bits // WORD, dtype=torch.int64)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        planes = state_dict.get(f"{prefix}planes_FB")
        if planes is not None:
            self.planes_FB = torch.empty_like(planes, device=self.planes_FB.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def search(self, h_NE: Tensor, k: int, W_VE: Tensor, b_V: Tensor | None = None) -> Found:
        count = min(max(self.candidates, k), len(self.codes_VW))
        ids = []
        many = len(h_NE) > FEW
        signs_VB = torch.cat([signs(codes) for codes in in_rows(self.codes_VW, self.bits)]) if many else None
        for queries in in_rows(query_for_rows(h_NE, b_V).to(self.planes_FB.dtype), self.codes_VW.numel()):
            codes_NW = packed(queries @ self.planes_FB)
            if signs_VB is not None:
                distance_NV = self.bits - signs(codes_NW) @ signs_VB.T  # twice the number of bits that differ; exact, as all are small integers
            else:
                distance_NV = ones_in(codes_NW.unsqueeze(1) ^ self.codes_VW).sum(dim=2)
            ids.append(distance_NV.topk(count, dim=1, largest=False, sorted=False).indices)
        return best_of(h_NE, torch.cat(ids), k, W_VE, b_V)


def packed(projections_NB: Tensor) -> Tensor:
    """The signs as bits of 64-bit words, (N, W), int64."""
    bits_NWb = (projections_NB > 0).to(torch.int64).unflatten(1, (-1, WORD))
    return (bits_NWb << torch.arange(WORD, device=projections_NB.device)).sum(dim=2)


def signs(codes_NW: Tensor) -> Tensor:
    """The bits of the words as -1 and 1, (N, B), float32."""
    bits_NWb = (codes_NW.unsqueeze(2) >> torch.arange(WORD, device=codes_NW.device)) & 1
    return bits_NWb.flatten(1).float().mul_(2).sub_(1)


def ones_in(words: Tensor) -> Tensor:
    """How many bits of each 64-bit word are set: counted in pairs, fours and eights, whose sums a product gathers in the top byte.

    Shifts are arithmetic; every mask that follows one clears the copies of the sign bit.
    """
    words = words - ((words >> 1) & 0x5555555555555555)
    words = (words & 0x3333333333333333) + ((words >> 2) & 0x3333333333333333)
    words = (words + (words >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (words * 0x0101010101010101) >> 56
