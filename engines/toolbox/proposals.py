"""Proposal distributions over a vocabulary, and two ways to draw negatives from them.

Shapes: V vocabulary size, k samples asked for, S samples drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

ProposalKind = Literal["uniform", "unigram", "log_uniform"]
Floats = npt.NDArray[np.float64]

STEP = 2.0**-24
"""What torch.rand counts in, in float32."""


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


class Sampler(nn.Module):
    """Buffers of probabilities, which stay in float32 or wider where the model around them is cast to half precision.

    Eight bits would make a rare token as frequent as one in 256, while its correction still says how rare it is.
    """

    log_expected_V: Tensor
    """Log of how often each token is expected in a sample."""

    def keep(self, **buffers: Floats) -> None:
        """Register these, in the default type but no less than float32; they are made again from the text and saved with no model."""
        for name, values in buffers.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.promote_types(torch.get_default_dtype(), torch.float32)), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def wide(buffer: Tensor) -> Tensor:
            moved = fn(buffer)
            return buffer.to(moved.device) if moved.dtype in (torch.float16, torch.bfloat16) else moved

        return super()._apply(wide, recurse)


class Poisson(Sampler):
    """Each token is in the sample, once at most, by its own coin of probability pi_i (Poisson sampling): k tokens on average.

    pi_i is a multiple of the step of torch.rand, one step at least, so that a coin falls as often as log_expected_V says it does; log pi is the
    same at every draw, as coins do not depend on each other.
    """

    chance_V: Tensor

    def __init__(self, q: Floats, k: int) -> None:
        super().__init__()
        pi = np.maximum(np.rint(inclusion(q, k) / STEP), 1.0) * STEP
        self.keep(chance_V=pi, log_expected_V=np.log(pi))

    def draw(self) -> Tensor:
        """Different ids, (S,), ascending."""
        return (torch.rand_like(self.chance_V) < self.chance_V).nonzero().squeeze(1)


class Independent(Sampler):
    """k independent draws from q, with replacement, in constant time each (alias table). log_expected_V: log(k q)."""

    accept_V: Tensor
    other_V: Tensor

    def __init__(self, q: Floats, k: int) -> None:
        super().__init__()
        self.k = k
        accept, other = alias_table(q)
        self.keep(accept_V=accept, log_expected_V=np.log(k * q))
        self.register_buffer("other_V", torch.tensor(other, dtype=torch.int64), persistent=False)

    def draw(self, rows: int | None = None) -> Tensor:
        """Ids, (k,), or for each of so many rows its own, (rows, k); some of them possibly equal."""
        shape = (self.k,) if rows is None else (rows, self.k)
        place = torch.randint(len(self.accept_V), shape, device=self.accept_V.device)
        keep = torch.rand(shape, dtype=self.accept_V.dtype, device=place.device) < self.accept_V[place]
        return torch.where(keep, place, self.other_V[place])
