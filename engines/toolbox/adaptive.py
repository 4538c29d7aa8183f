"""Vocabularies cut into clusters of falling frequency: a table whose rare clusters are narrow, and heads with a short list and tails.

Shapes: N rows, D hidden width, V tokens, c_j first token of cluster j, d_j width of cluster j's rows; cluster 0 is the short list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Site
from engines.toolbox.heads import IGNORED, NormalisedHead, log_unigram, scores_type


def rising(cutoffs: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The cutoffs, for validators. Raises ValueError with a sentence where they do not rise from 1 on."""
    if cutoffs is not None and (not cutoffs or cutoffs[0] < 1 or any(a >= b for a, b in pairwise(cutoffs))):
        raise ValueError(f"cutoffs must be one or more rising whole numbers from 1 on, such as [2000, 10000], not {list(cutoffs)}.")
    return cutoffs


def default_cutoffs(size: int) -> tuple[int, ...]:
    """A tenth and two fifths of the vocabulary: of words, the first holds about nine tenths of all text. Below 10 tokens one half."""
    return (size // 10, 2 * size // 5) if size >= 10 else (max(1, size // 2),)


def fitting_cutoffs(cutoffs: tuple[int, ...] | None, size: int) -> tuple[int, ...]:
    """The cutoffs, or the default ones. Raises ValueError with a sentence where they do not stay below the vocabulary size."""
    chosen = cutoffs or default_cutoffs(size)
    if chosen[-1] >= size:
        raise ValueError(
            f"cutoffs {list(chosen)} must stay below the vocabulary size {size}; "
            f"leave them out for {list(default_cutoffs(size))}, or take smaller ones."
        )
    return chosen


def refuse_no_width(width: int, div_value: float, clusters: int) -> None:
    """Raise ValueError with a sentence where dividing `clusters` times leaves nothing of the width."""
    if int(width // div_value**clusters) < 1:
        raise ValueError(
            f"div_value {div_value:g} leaves cluster {clusters} no width (hidden width {width}); "
            f"take at most {width ** (1 / clusters):.3g}, or fewer cutoffs."
        )


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

    def scorer(self) -> Callable[[int, Tensor], Tensor]:
        """What gives the scores of cluster j for rows of hidden states: j = 0 short list and clusters, (N, c_1 + J), else (N, cluster size)."""
        raise NotImplementedError

    def log_shares(self, site: Site) -> Tensor:
        """log share of the training text of short list and clusters, (c_1 + J,)."""
        share_V = log_unigram(site.vocabulary.counts)
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
        nll_N = F.cross_entropy(scores_type(score(0, hidden_ND)), self.head_target(target_N), reduction="none", ignore_index=IGNORED)
        for j, low, rows in self.rows_by_cluster(target_N):
            within = F.cross_entropy(scores_type(score(j, hidden_ND[rows])), target_N[rows] - low, reduction="none")
            nll_N = nll_N.index_add(0, rows, within)
        return nll_N

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.nll_rows(hidden_ND, target_N).sum()

    def nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return torch.cat([self.nll_rows(hidden, target) for hidden, target in self.chunks(hidden_ND, target_N, columns=self.short)])

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        score = self.scorer()
        head_NC = scores_type(score(0, hidden_ND)).log_softmax(dim=-1)
        tails = [
            head_NC[:, self.short + j - 1, None] + scores_type(score(j, hidden_ND)).log_softmax(dim=-1) for j in range(1, len(self.bounds))
        ]
        return torch.cat((head_NC[:, : self.short], *tails), dim=1)
