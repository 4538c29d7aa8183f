"""Maximum inner product search: which k of V rows have the largest score w h + b? The exact scan, and what every index shares.

An index answers with ids and the exact scores of these ids, so only a better row may be missing, and no score is ever wrong.
Shapes: N queries, E width of a row, V rows, k asked-for rows, C candidates that are scored exactly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.toolbox.heads import CHUNK_ELEMENTS, LinearHead, VocabularyHead
from engines.toolbox.precise import at_least_float32


class Found(NamedTuple):
    """scores_NK, ids_NK: best first; where an index found fewer than k rows, score -inf and id 0. log_z_N: log sum_j exp(s_j), if it is told."""

    scores_NK: Tensor
    ids_NK: Tensor
    log_z_N: Tensor | None = None


class Index(nn.Module):
    """A structure over the rows of a matrix. `refresh` builds it anew, `search` asks it; the matrix itself is handed over each time.

    So a stale index (its rows have moved on since) still gives scores of the rows as they are now.
    """

    def refresh(self, W_VE: Tensor, b_V: Tensor | None = None, C_EE: Tensor | None = None) -> None:
        """Build for these rows. C_EE: E[h h^T] of the queries to come, for indexes that can use it."""
        raise NotImplementedError

    def search(self, h_NE: Tensor, k: int, W_VE: Tensor, b_V: Tensor | None = None) -> Found:
        raise NotImplementedError

    def allocate(self, W_VE: Tensor) -> None:
        """Make room for what a state_dict brings."""

    def share(self, built: Index) -> None:
        """Take over what another one of the same kind has built; how to search stays this one's own."""
        self._buffers.update(built._buffers)

    def own_bytes(self) -> int:
        """Memory beside the matrix."""
        return sum(buffer.numel() * buffer.element_size() for buffer in self.buffers())

    def topk(self, head: Any, hidden_ND: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """What `head.topk` answers: log p where log Z is told, else scores, which are log p up to one constant a row; and ids."""
        found = self.search(head.project(hidden_ND), k, head.output.weight, head.output.bias)
        if found.log_z_N is None or not head.normalised:
            return found.scores_NK, found.ids_NK
        return found.scores_NK - found.log_z_N.unsqueeze(1), found.ids_NK


class ExactScan(Index):
    """All V scores, and the largest of them. Unlike a head's own `topk` it does not normalise, which no order of tokens needs."""

    def refresh(self, W_VE: Tensor, b_V: Tensor | None = None, C_EE: Tensor | None = None) -> None:
        """There is nothing to build."""

    def search(self, h_NE: Tensor, k: int, W_VE: Tensor, b_V: Tensor | None = None) -> Found:
        best = [at_least_float32(F.linear(h, W_VE, b_V)).topk(k, dim=1) for h in in_rows(h_NE, len(W_VE))]
        return Found(torch.cat([scores for scores, _ in best]), torch.cat([ids for _, ids in best]))


def in_rows(h_NE: Tensor, columns: int) -> tuple[Tensor, ...]:
    """The queries in parts, so that queries x columns stay within CHUNK_ELEMENTS."""
    return torch.split(h_NE, max(1, CHUNK_ELEMENTS // columns))


def exact_scores(h_NE: Tensor, ids_NC: Tensor, W_VE: Tensor, b_V: Tensor | None) -> Tensor:
    """w_i h + b_i of each query's own candidates, (N, C)."""
    parts = []
    for h, ids in zip(in_rows(h_NE, ids_NC.shape[1] * W_VE.shape[1]), in_rows(ids_NC, ids_NC.shape[1] * W_VE.shape[1]), strict=True):
        scores = torch.bmm(F.embedding(ids, W_VE), h.unsqueeze(2).to(W_VE.dtype)).squeeze(2)
        parts.append(scores if b_V is None else scores + b_V[ids])
    return at_least_float32(torch.cat(parts))


def best_of(h_NE: Tensor, ids_NC: Tensor, k: int, W_VE: Tensor, b_V: Tensor | None) -> Found:
    """The k best of each query's candidates by their exact scores. An id of -1 is none; C >= k."""
    absent_NC = ids_NC < 0
    ids_NC = ids_NC.masked_fill(absent_NC, 0)
    scores_NK, place_NK = exact_scores(h_NE, ids_NC, W_VE, b_V).masked_fill(absent_NC, float("-inf")).topk(k, dim=1)
    return Found(scores_NK, ids_NC.gather(1, place_NK))


def rows_with_bias(W_VE: Tensor, b_V: Tensor | None) -> Tensor:
    """[w, b], whose inner product with [h, 1] is the score, (V, E + 1); W itself without a bias."""
    return W_VE if b_V is None else torch.cat((W_VE, b_V.unsqueeze(1)), dim=1)


def query_for_rows(h_NE: Tensor, b_V: Tensor | None) -> Tensor:
    """[h, 1], (N, E + 1); h itself without a bias."""
    return h_NE if b_V is None else torch.cat((h_NE, h_NE.new_ones(len(h_NE), 1)), dim=1)


def missing_length(rows_VE: Tensor) -> Tensor:
    """sqrt(M^2 - |w|^2) with M the longest row, (V, 1): appended to a row (and 0 to the query) it makes all rows equally long, so that the
    nearest row and the row with the largest cosine are the one with the largest inner product."""
    squares_V = rows_VE.double().square().sum(dim=1)
    return (squares_V.max() - squares_V).clamp(min=0).sqrt().to(rows_VE.dtype).unsqueeze(1)


def why_not(head: Any) -> str:
    """Why a head has no rows to search among, as a sentence; the empty string where it has."""
    kind = type(head).__name__
    if not isinstance(head, LinearHead):
        return f"The head ({kind}) has no output matrix whose product with the hidden state orders the tokens: use softmax/full or one like it."
    if type(head.output) is not nn.Linear:
        return f"The head's output matrix is in a {type(head.output).__name__} now, and an index needs its rows as they are."
    if type(head).topk is not VocabularyHead.topk:
        return f"The head ({kind}) has a search of its own."
    return ""
