"""Vocabularies cut into clusters of falling frequency: a table whose rare clusters are narrow, and heads with a short list and tails.

Shapes: N rows, D hidden width, V tokens, c_j first token of cluster j, d_j width of cluster j's rows; cluster 0 is the short list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Site
from engines.toolbox.heads import IGNORED, NormalisedHead, log_unigram, target_counts
from engines.toolbox.precise import at_least_float32

SHORT_LIST_SHARE = 0.8
"""The least share of the training text that fitted cutoffs leave in the short list, so that frequent tokens keep their full width."""

GRID = 200
"""Fitted cutoffs are chosen from every place below this one, and from so many evenly spread over the logarithm of the rank."""


def rising(cutoffs: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The cutoffs, for validators. Raises ValueError with a sentence where they do not rise from 1 on."""
    if cutoffs and (cutoffs[0] < 1 or any(a >= b for a, b in pairwise(cutoffs))):
        raise ValueError(f"cutoffs must be rising whole numbers from 1 on, such as [2000, 10000], or [] to fit them, not {list(cutoffs)}.")
    return cutoffs


def default_cutoffs(size: int) -> tuple[int, ...]:
    """A tenth and two fifths of the vocabulary: of words, the first holds about nine tenths of all text. Below 10 tokens one half."""
    return (size // 10, 2 * size // 5) if size >= 10 else (max(1, size // 2),)


def expected_cost(cutoffs: Sequence[int], counts: np.ndarray, width: int, div_value: float) -> float:
    """Multiplications a token of the training text, over D, so in rows of a full softmax: c_1 + J + sum_j share_j d_j / D (D + cluster size)."""
    share = np.concatenate(([0.0], np.cumsum(counts, dtype=np.float64))) / max(1, int(counts.sum()))
    cost = float(cutoffs[0] + len(cutoffs))
    for j, (low, high) in enumerate(pairwise((*cutoffs, len(counts))), start=1):
        cost += float(share[high] - share[low]) * int(width // div_value**j) / width * (width + high - low)
    return cost


def fitted_cutoffs(counts: np.ndarray, width: int, div_value: float) -> tuple[int, ...]:
    """The two cutoffs of the least `expected_cost` that leave SHORT_LIST_SHARE of the text in the short list. Below 10 tokens the default."""
    size = len(counts)
    if size < 10:
        return default_cutoffs(size)
    place_G = np.unique(np.concatenate((np.arange(1, min(size, GRID)), np.geomspace(1, size - 1, GRID).astype(np.int64))))
    share_G = np.cumsum(counts, dtype=np.float64)[place_G - 1] / max(1, int(counts.sum()))
    first, second = place_G[:, None], place_G[None, :]
    near, far = (int(width // div_value**j) / width for j in (1, 2))
    cost_GG = first + 2 + (share_G[None, :] - share_G[:, None]) * near * (width + second - first) + (1 - share_G) * far * (width + size - second)
    allowed_GG = (first < second) & (share_G[:, None] >= min(SHORT_LIST_SHARE, share_G[-2]))
    best = int(np.where(allowed_GG, cost_GG, np.inf).argmin())
    return int(place_G[best // len(place_G)]), int(place_G[best % len(place_G)])


def cutoffs_of(cutoffs: tuple[int, ...] | None, counts: np.ndarray, width: int, div_value: float) -> tuple[int, ...]:
    """As given, the default ones where None, fitted where empty. Raises ValueError with a sentence for what does not fit vocabulary or width."""
    size = len(counts)
    if cutoffs is None:
        chosen = default_cutoffs(size)
    else:
        chosen = cutoffs or fitted_cutoffs(counts, width, div_value)
    if chosen[-1] >= size:
        raise ValueError(
            f"cutoffs {list(chosen)} must stay below the vocabulary size {size}; "
            f"leave them out for {list(default_cutoffs(size))}, or take smaller ones."
        )
    if int(width // div_value ** len(chosen)) < 1:
        raise ValueError(
            f"div_value {div_value:g} leaves cluster {len(chosen)} no width (hidden width {width}); "
            f"take at most {width ** (1 / len(chosen)):.3g}, or fewer cutoffs."
        )
    return chosen


class ClusteredTable(nn.Module):
    """(ids_BT) -> x_BTD, x = Q_j E_j[w - c_j] for a token w of cluster j.

    tables: E_j (c_(j+1) - c_j, d_j) with d_j = D / v^j. projections: Q_j (D, d_j), no bias. Rows are about 1 long at the start.
    """

    def __init__(self, size: int, width: int, cutoffs: Sequence[int], div_value: float) -> None:
        super().__init__()
        self.width, self.bounds = width, (0, *cutoffs, size)
        widths = [int(width // div_value**j) for j in range(len(self.bounds) - 1)]
        tables = [nn.Embedding(high - low, d) for (low, high), d in zip(pairwise(self.bounds), widths, strict=True)]
        projections = [nn.Linear(d, width, bias=False) for d in widths]
        for table, projection in zip(tables, projections, strict=True):
            nn.init.normal_(table.weight, std=table.embedding_dim**-0.5)
            nn.init.normal_(projection.weight, std=width**-0.5)
        self.tables, self.projections = nn.ModuleList(tables), nn.ModuleList(projections)

    def forward(self, ids_BT: Tensor) -> Tensor:
        ids_N = ids_BT.flatten()
        rows, parts = [], []
        for table, projection, (low, high) in zip(self.tables, self.projections, pairwise(self.bounds), strict=True):
            row = ((ids_N >= low) & (ids_N < high)).nonzero().squeeze(1)
            if len(row):
                rows.append(row)
                parts.append(projection(table(ids_N[row] - low)))
        # every row stands in one part: back into the order of the ids
        return torch.cat(parts)[torch.cat(rows).argsort()].unflatten(0, ids_BT.shape)


class ClusteredSoftmax(NormalisedHead):
    """A softmax over a short list of tokens and J clusters, and one over the tokens of each cluster; probabilities multiply.

    A subclass gives the scores of both. bounds: (c_1, ..., c_J, V).
    """

    def __init__(self, site: Site, cutoffs: Sequence[int]) -> None:
        super().__init__(site.vocabulary.size)
        self.bounds = (*cutoffs, site.vocabulary.size)
        self.short = self.bounds[0]

    def extra_repr(self) -> str:
        return f"vocabulary_size={self.vocabulary_size}, cutoffs={list(self.bounds[:-1])}"

    def scorer(self) -> Callable[[int, Tensor], Tensor]:
        """What gives the scores of cluster j for rows of hidden states: j = 0 short list and clusters, (N, c_1 + J), else (N, cluster size)."""
        raise NotImplementedError

    def log_shares(self, site: Site) -> Tensor:
        """log share of the training text of short list and clusters, (c_1 + J,)."""
        share_V = log_unigram(target_counts(site))
        clusters = [share_V[low:high].logsumexp(0, keepdim=True) for low, high in pairwise(self.bounds)]
        return torch.cat((share_V[: self.short], *clusters))

    def head_target(self, target_N: Tensor) -> Tensor:
        """The target among short list and clusters, (N,); ignored ones stay so."""
        head_N = target_N
        for j, (low, high) in enumerate(pairwise(self.bounds)):
            head_N = torch.where((target_N >= low) & (target_N < high), self.short + j, head_N)
        return head_N

    def rows_by_cluster(self, target_N: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """(cluster from 1 on, its first token, the rows whose target is in it) of every cluster that has such rows."""
        for j, (low, high) in enumerate(pairwise(self.bounds), start=1):
            rows = ((target_N >= low) & (target_N < high)).nonzero().squeeze(1)
            if len(rows):
                yield j, low, rows

    def nll_rows(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """(N,), in the order of the rows, from the scores that the targets need."""
        score = self.scorer()
        nll_N = F.cross_entropy(at_least_float32(score(0, hidden_ND)), self.head_target(target_N), reduction="none", ignore_index=IGNORED)
        for j, low, rows in self.rows_by_cluster(target_N):
            within = F.cross_entropy(at_least_float32(score(j, hidden_ND[rows])), target_N[rows] - low, reduction="none")
            nll_N = nll_N.index_add(0, rows, within)
        return nll_N

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.nll_rows(hidden_ND, target_N).sum()

    def nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return torch.cat([self.nll_rows(hidden, target) for hidden, target in self.chunks(hidden_ND, target_N, columns=self.short)])

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        score = self.scorer()
        head_NC = at_least_float32(score(0, hidden_ND)).log_softmax(dim=-1)
        tails = [
            head_NC[:, self.short + j - 1, None] + at_least_float32(score(j, hidden_ND)).log_softmax(dim=-1) for j in range(1, len(self.bounds))
        ]
        return torch.cat((head_NC[:, : self.short], *tails), dim=1)
