"""What heads over a vocabulary share: exact judgement in chunks, padding, tying, the first bias.

Shapes: N rows, D hidden width, E embedding width, V vocabulary size, k asked-for tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.api import Site
from engines.toolbox.precise import at_least_float32

IGNORED = -100
"""A target of this value (torch's own convention) is padding: it costs nothing and is not counted."""

CHUNK_ELEMENTS = 1 << 22
"""Scores held at once while judging: 16 MiB in float32."""


def perplexity(nats: float) -> float:
    """exp of the mean nats of a target; infinite instead of an error for models that diverged."""
    return math.exp(nats) if nats < 700 else math.inf if nats == nats else math.nan


def exact_products(device: torch.device) -> AbstractContextManager[None]:
    """Matrix products inside keep the type of their factors, under autocast too."""
    kind = device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()


class VocabularyHead(nn.Module):
    """A head that scores each of V tokens. A subclass gives `loss` and `score_rows`; what it answers beside them is cut into chunks of rows."""

    normalised: bool

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.index: Any = None
        """engines.toolbox.search.index.Index that answers `topk` in place of the scan of all tokens, once the model is finished."""

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """What training descends on, summed over the rows, in nats."""
        raise NotImplementedError

    def score_rows(self, hidden_ND: Tensor) -> Tensor:
        """Scores of a few rows, (N, V), higher for a likelier token."""
        raise NotImplementedError

    @property
    def numbers_a_row(self) -> int:
        """How many numbers scoring all tokens for one row makes at once."""
        return self.vocabulary_size

    def chunks(self, *row_tensors: Tensor, columns: int | None = None) -> Iterator[tuple[Tensor, ...]]:
        """The tensors, cut alike along their rows so that rows x columns (default: those of scoring all) stays within CHUNK_ELEMENTS."""
        rows = max(1, CHUNK_ELEMENTS // (columns or self.numbers_a_row))
        yield from zip(*(torch.split(tensor, rows) for tensor in row_tensors), strict=True)

    def topk(self, hidden_ND: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k best tokens of each row: their scores and ids, both (N, k), best first.

        With an index some may be missed, and where it tells no log Z the values are log p up to one constant a row.
        """
        if self.index is not None:
            found: tuple[Tensor, Tensor] = self.index.topk(self, hidden_ND, k)
            return found
        best = [self.score_rows(hidden).topk(k, dim=-1) for (hidden,) in self.chunks(hidden_ND)]
        return torch.cat([values for values, _ in best]), torch.cat([ids for _, ids in best])

    def rank(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """The place of each row's target among all tokens, (N,), from 1; half a place for each other token with the same score.

        Infinite where the target is ignored or its score is no number.
        """
        return torch.cat([rank_of(self.score_rows(hidden), target) for hidden, target in self.chunks(hidden_ND, target_N)])


class NormalisedHead(VocabularyHead):
    """A head with a distribution over V tokens. A subclass gives `loss` and `log_prob_rows`, and a cheaper `nll` where its structure has one."""

    normalised = True

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        """log p(token | hidden) of a few rows, (N, V)."""
        raise NotImplementedError

    def score_rows(self, hidden_ND: Tensor) -> Tensor:
        return self.log_prob_rows(hidden_ND)

    def nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """Exact -log p(target | hidden) of each row in nats, (N,); 0 where the target is ignored."""
        parts = [-pick(self.log_prob_rows(hidden), target) for hidden, target in self.chunks(hidden_ND, target_N)]
        return torch.cat(parts)

    def log_prob(self, hidden_ND: Tensor) -> Tensor:
        """log p of every token, (N, V)."""
        return torch.cat([self.log_prob_rows(hidden) for (hidden,) in self.chunks(hidden_ND)])


class ScoringHead(VocabularyHead):
    """A head whose scores are no log probabilities: judged by the rank of the target, and it answers neither `nll` nor `log_prob`.

    no_distribution: why there is no perplexity, as the rest of a sentence that begins with "No perplexity, because ".
    """

    normalised = False
    no_distribution: str


def judge(head: Any, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
    """What held-out text is judged by, one figure a target, (N,): the exact nll in nats, or the rank where the head has no distribution."""
    judged_N: Tensor = (head.nll if getattr(head, "normalised", True) else head.rank)(hidden_ND, target_N)
    return judged_N


def rank_of(scores_NV: Tensor, target_N: Tensor) -> Tensor:
    """1 + tokens with a higher score + half of the others with the same score, (N,); infinite as `VocabularyHead.rank` says."""
    ignored_N = target_N == IGNORED
    own_N1 = scores_NV.gather(1, target_N.masked_fill(ignored_N, 0).unsqueeze(1))
    above_N, equal_N = _how_many(scores_NV > own_N1), _how_many(scores_NV == own_N1)
    rank_N = 1 + above_N + (equal_N - 1) / 2
    return rank_N.masked_fill(ignored_N | own_N1.squeeze(1).isnan(), float("inf"))


def _how_many(true_NV: Tensor) -> Tensor:
    """How many of each row are True, (N,). Bytes are added up several times as fast as truth values."""
    return true_NV.view(torch.int8).sum(dim=1, dtype=torch.int32)


def pick(scores_NV: Tensor, target_N: Tensor) -> Tensor:
    """The score of each row's target, (N,); 0 where the target is ignored."""
    ignored = target_N == IGNORED
    return scores_NV.gather(1, target_N.masked_fill(ignored, 0).unsqueeze(1)).squeeze(1).masked_fill(ignored, 0)


def target_counts(site: Site) -> np.ndarray:
    """How often each token is to be predicted in training, (V,): as often as it occurs, unless the task says otherwise."""
    return np.asarray(site.vocabulary.counts if site.target_counts is None else site.target_counts)


def log_unigram(counts: np.ndarray) -> Tensor:
    """log P(token) by training frequency, one added to each count, (V,): the bias with which an untrained head already is a unigram model."""
    smoothed = counts.astype(np.float64) + 1.0
    return torch.tensor(np.log(smoothed / smoothed.sum()), dtype=torch.get_default_dtype())


class LinearHead(VocabularyHead):
    """One score a token, s = W h + b.

    output: the stock nn.Linear from E to V; its weight is the embedding's own Parameter where the head is tied.
    projection: D -> E without bias, where a tied head's hidden width differs from the embedding's; else absent.
    """

    projection: nn.Linear | None

    def __init__(self, site: Site, *, tied: bool, bias: bool) -> None:
        size = site.vocabulary.size
        super().__init__(size)
        width, self.projection = site.width, None
        shared = tied_weight(site) if tied else None
        if shared is not None and shared.shape[1] != site.width:
            width = shared.shape[1]
            self.projection = nn.Linear(site.width, width, bias=False)
        self.output = nn.Linear(width, size, bias=bias)
        if shared is not None:
            self.output.weight = shared
        if bias:
            with torch.no_grad():
                self.output.bias.copy_(log_unigram(target_counts(site)))

    def project(self, hidden_ND: Tensor) -> Tensor:
        """The hidden states in the width of the output rows, (N, E)."""
        return hidden_ND if self.projection is None else self.projection(hidden_ND)

    def scores(self, hidden_ND: Tensor) -> Tensor:
        """s = W h + b, (N, V)."""
        return at_least_float32(self.output(self.project(hidden_ND)))


class LinearSoftmax(LinearHead, NormalisedHead):
    """The softmax of linear scores."""

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return F.cross_entropy(self.scores(hidden_ND), target_N, reduction="sum", ignore_index=IGNORED)

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        return self.scores(hidden_ND).log_softmax(dim=-1)


class LinearScores(LinearHead, ScoringHead):
    """Linear scores that are no log probabilities."""

    def score_rows(self, hidden_ND: Tensor) -> Tensor:
        return self.scores(hidden_ND)


def tied_weight(site: Site) -> nn.Parameter:
    """The embedding's weight, (V, E). Raises ValueError with a sentence where there is none to tie to."""
    weight = getattr(site.embedding, "weight", None)
    size = site.vocabulary.size
    if not isinstance(weight, nn.Parameter) or weight.dim() != 2 or weight.shape[0] != size:
        found = "has no weight" if weight is None else f"has a weight of shape {tuple(weight.shape)}"
        raise ValueError(
            f"A tied head needs an embedding with a weight of shape ({size}, width), but this one {found}; use embeddings/lookup or set tied = false."
        )
    return weight
