"""Adaptive softmax: a short list of frequent tokens, and cheaper clusters for the rest."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import field_validator
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED, NormalisedHead, log_unigram, scores_type


class Adaptive(Block):
    """Adaptive softmax

    Grave, Joulin, Cisse, Grangier, Jegou (2017), Efficient softmax approximation for GPUs.

        y < c_1:                    log p(y | h) = log softmax(A h + b)[y]                           (1)
        c_j <= y < c_(j+1):         log p(y | h) = log softmax(A h + b)[c_1 + j - 1] + log softmax(B_j C_j h)[y - c_j]      (2)

    Ids are sorted by frequency. h (D), A (c_1 + J, D) short list and J clusters, C_j (D / v^j, D), B_j (c_(j+1) - c_j, D / v^j), v = div_value.
    b starts at the log share of each token and cluster in the training text. The probabilities sum to 1, so the perplexity is exact.

    Cost: 2 D (c_1 + J) floating point operations a token, plus 2 (D / v^j) (D + cluster size) for the few tokens whose target lies in
    cluster j; all V log probabilities (sampling, topk) cost the sum over all clusters.
    Does nothing when: never; with few thousand tokens, or byte-pair tokens whose frequencies are flat, it saves little.
    Parameters: cutoffs c_1 < c_2 < ... (default: V / 10 and 2 V / 5), div_value v, bias of the short list.
    """

    paper: ClassVar[str] = "Grave et al., Efficient softmax approximation for GPUs, ICML 2017, https://arxiv.org/abs/1609.04309"
    slot: ClassVar[Slot] = "head"

    cutoffs: tuple[int, ...] | None = param(
        None, "Where clusters begin, rising, below the vocabulary size; default: a tenth and two fifths of it.", unit="tokens", symbol="c"
    )
    div_value: float = param(4.0, "By how much each cluster's inner width is smaller than that of the one before.", symbol="v", ge=1.0, le=64.0)
    bias: bool = param(True, "Add one number to each score of the short list and the clusters.", symbol="b")

    @field_validator("cutoffs")
    @classmethod
    def _rise(cls, cutoffs: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if cutoffs is not None and (not cutoffs or cutoffs[0] < 1 or any(a >= b for a, b in pairwise(cutoffs))):
            raise ValueError(f"cutoffs must be one or more rising whole numbers from 1 on, such as [2000, 10000], not {list(cutoffs)}.")
        return cutoffs

    def build(self, site: Site) -> AdaptiveSoftmax:
        size = site.vocabulary.size
        cutoffs = self.cutoffs or default_cutoffs(size)
        if cutoffs[-1] >= size:
            raise ValueError(
                f"cutoffs {list(cutoffs)} must stay below the vocabulary size {size}; "
                f"leave them out for {list(default_cutoffs(size))}, or take smaller ones."
            )
        narrowest = int(site.width // self.div_value ** len(cutoffs))
        if narrowest < 1:
            raise ValueError(
                f"div_value {self.div_value:g} leaves cluster {len(cutoffs)} no width (hidden width {site.width}); "
                f"take at most {site.width ** (1 / len(cutoffs)):.3g}, or fewer cutoffs."
            )
        return AdaptiveSoftmax(site, cutoffs, self.div_value, bias=self.bias)


def default_cutoffs(size: int) -> tuple[int, ...]:
    """A tenth and two fifths of the vocabulary: of words, the first holds about nine tenths of all text. Below 10 tokens one half."""
    return (size // 10, 2 * size // 5) if size >= 10 else (max(1, size // 2),)


class AdaptiveSoftmax(NormalisedHead):
    """torch's AdaptiveLogSoftmaxWithLoss holds the weights; its parts are called here, so that padding, half precision and sums work."""

    def __init__(self, site: Site, cutoffs: tuple[int, ...], div_value: float, *, bias: bool) -> None:
        size = site.vocabulary.size
        super().__init__(size)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(site.width, size, list(cutoffs), div_value=div_value, head_bias=bias)
        self.bounds = (*cutoffs, size)
        self.short = cutoffs[0]
        if bias:
            share_V = log_unigram(site.vocabulary.counts)
            clusters = [share_V[low:high].logsumexp(0, keepdim=True) for low, high in pairwise(self.bounds)]
            with torch.no_grad():
                self.softmax.head.bias.copy_(torch.cat((share_V[: self.short], *clusters)))

    def head_target(self, target_N: Tensor) -> Tensor:
        """The target among short list and clusters, (N,); ignored ones stay so."""
        head_N = target_N
        for j, (low, high) in enumerate(pairwise(self.bounds)):
            head_N = torch.where((target_N >= low) & (target_N < high), self.short + j, head_N)
        return head_N

    def nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        parts = [self._nll_rows(hidden, target) for hidden, target in self.chunks(hidden_ND, target_N, columns=self.short)]
        return torch.cat(parts)

    def _nll_rows(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        head_NC = scores_type(self.softmax.head(hidden_ND))
        nll_N = F.cross_entropy(head_NC, self.head_target(target_N), reduction="none", ignore_index=IGNORED)  # (1)
        for tail, (low, high) in zip(self.softmax.tail, pairwise(self.bounds), strict=True):
            rows = ((target_N >= low) & (target_N < high)).nonzero().squeeze(1)
            if len(rows):
                scores = scores_type(tail(hidden_ND[rows]))
                nll_N = nll_N.index_add(0, rows, F.cross_entropy(scores, target_N[rows] - low, reduction="none"))  # (2)
        return nll_N

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self._nll_rows(hidden_ND, target_N).sum()

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        head_NC = scores_type(self.softmax.head(hidden_ND)).log_softmax(dim=-1)
        tails = [head_NC[:, self.short + j, None] + scores_type(tail(hidden_ND)).log_softmax(dim=-1) for j, tail in enumerate(self.softmax.tail)]
        return torch.cat((head_NC[:, : self.short], *tails), dim=1)


@certificate("loss, nll and log_prob equal torch's AdaptiveLogSoftmaxWithLoss on the same weights, gradients included", 1e-5)
def equals_torch(trial: Trial) -> float:
    with trials.seeded(trial):
        head = Adaptive(div_value=2.0).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        y_N[: len(head.bounds)] = torch.tensor([0, *head.bounds[:-1]])  # a target in every cluster
        theirs_N = -head.softmax(h_ND, y_N).output
        wanted = [h_ND, *head.parameters()]
        return max(
            trials.difference(head.loss(h_ND, y_N), theirs_N.sum(), wanted),
            trials.difference(head.nll(h_ND, y_N), theirs_N, wanted),
            trials.difference(head.log_prob(h_ND), head.softmax.log_prob(h_ND), wanted),
        )


@certificate("probabilities sum to 1", 1e-5)
def sums_to_one(trial: Trial) -> float:
    with trials.seeded(trial):
        head = Adaptive(div_value=2.0).build(trials.site(trial))
        total_N = head.log_prob(trials.hidden(trial).flatten(0, 1)).exp().sum(dim=1)
        return trials.relative_error(total_N, torch.ones_like(total_N))
