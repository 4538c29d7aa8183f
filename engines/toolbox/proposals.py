"""Proposal distributions over a vocabulary, and two ways to draw negatives from them.

Shapes: V vocabulary size, k samples asked for, S samples drawn.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

ProposalKind = Literal["uniform", "unigram", "log_uniform"]
Floats = npt.NDArray[np.float64]


def proposal(kind: ProposalKind, counts: np.ndarray, power: float = 1.0) -> Floats:
    """q over the V tokens, float64, positive, summing to 1; ids sorted by falling frequency.

    uniform: 1 / V.  unigram: count^power (an unseen token counts as seen once).  log_uniform: (log(i + 2) - log(i + 1)) / log(V + 1), Zipf's law.
    """
    size = len(counts)
    if kind == "uniform":
        return np.full(size, 1.0 / size)
    if kind == "log_uniform":
        ranks = np.arange(size, dtype=np.float64)
        zipf: Floats = (np.log(ranks + 2) - np.log(ranks + 1)) / np.log(size + 1)
        return zipf
    weights: Floats = np.maximum(counts, 1).astype(np.float64) ** power
    weights /= weights.sum()
    return weights


def inclusion(q: Floats, k: int) -> Floats:
    """pi_i = 1 - exp(-q_i t), the chance that token i is in a sample of k different tokens on average: sum pi = k. All 1 where k >= V.

    t is how many draws from q would be made until k different tokens were seen; it is found by bisection of its logarithm.
    """
    if k >= len(q):
        return np.ones_like(q)
    low, high = np.log(k), np.log(k) + 1.0
    while -np.expm1(-q * np.exp(high)).sum() < k:
        low, high = high, high + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if -np.expm1(-q * np.exp(middle)).sum() < k:
            low = middle
        else:
            high = middle
    pi: Floats = -np.expm1(-q * np.exp(high))
    return pi


def alias_table(q: Floats) -> tuple[np.ndarray, np.ndarray]:
    """Walker's table in Vose's form: (accept, other), both (V,), so that drawing is one uniform place i, kept with accept[i], else other[i]."""
    size = len(q)
    accept, other = q * size, np.arange(size)
    small, large = list(np.flatnonzero(accept < 1.0)), list(np.flatnonzero(accept >= 1.0))
    while small and large:
        poor, rich = small.pop(), large[-1]
        other[poor] = rich
        accept[rich] -= 1.0 - accept[poor]
        if accept[rich] < 1.0:
            small.append(large.pop())
    # what is left differs from 1 by rounding alone
    accept[small] = accept[large] = 1.0
    return accept, other


class Poisson(nn.Module):
    """Each token is in the sample, once at most, by its own coin of probability pi_i (Poisson sampling): k tokens on average.

    log_expected_V: log pi, exact and the same at every step, as coins do not depend on each other.
    """

    def __init__(self, q: Floats, k: int) -> None:
        super().__init__()
        pi = inclusion(q, k)
        self.chance_V: Tensor
        self.log_expected_V: Tensor
        self.register_buffer("chance_V", torch.tensor(pi, dtype=torch.get_default_dtype()), persistent=False)
        self.register_buffer("log_expected_V", torch.tensor(np.log(pi), dtype=torch.get_default_dtype()), persistent=False)

    def draw(self) -> Tensor:
        """Different ids, (S,), ascending."""
        return (torch.rand_like(self.chance_V) < self.chance_V).nonzero().squeeze(1)


class Independent(nn.Module):
    """k independent draws from q, with replacement, in constant time each (alias table).

    log_expected_V: log(k q), how often a token is expected in the sample.
    """

    def __init__(self, q: Floats, k: int) -> None:
        super().__init__()
        self.k = k
        accept, other = alias_table(q)
        self.accept_V: Tensor
        self.other_V: Tensor
        self.log_expected_V: Tensor
        self.register_buffer("accept_V", torch.tensor(accept, dtype=torch.get_default_dtype()), persistent=False)
        self.register_buffer("other_V", torch.tensor(other, dtype=torch.int64), persistent=False)
        self.register_buffer("log_expected_V", torch.tensor(np.log(k * q), dtype=torch.get_default_dtype()), persistent=False)

    def draw(self, rows: int | None = None) -> Tensor:
        """Ids, (k,), or for each of so many rows its own, (rows, k); some of them possibly equal."""
        shape = (self.k,) if rows is None else (rows, self.k)
        place = torch.randint(len(self.accept_V), shape, device=self.accept_V.device)
        keep = torch.rand(shape, dtype=self.accept_V.dtype, device=place.device) < self.accept_V[place]
        return torch.where(keep, place, self.other_V[place])
