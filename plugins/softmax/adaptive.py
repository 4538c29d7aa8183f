"""Adaptive softmax: a short list of frequent tokens, and cheaper clusters for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import field_validator
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.adaptive import ClusteredSoftmax, cutoffs_of, rising


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
    Parameters: cutoffs c_1 < c_2 < ... (default: V / 10 and 2 V / 5; [] takes the two with the fewest multiplications a token of the training
    text that leave four fifths of it in the short list: quicker, with fewer parameters for rare tokens), div_value v, bias of the short list.
    """

    paper: ClassVar[str] = "Grave et al., Efficient softmax approximation for GPUs, ICML 2017, https://arxiv.org/abs/1609.04309"
    slot: ClassVar[Slot] = "head"

    cutoffs: tuple[int, ...] | None = param(
        None, "Where clusters begin, rising; default: a tenth and two fifths of the vocabulary; []: fitted to its counts.", unit="tokens", symbol="c"
    )
    div_value: float = param(4.0, "By how much each cluster's inner width is smaller than that of the one before.", symbol="v", ge=1.0, le=64.0)
    bias: bool = param(True, "Add one number to each score of the short list and the clusters.", symbol="b")

    _rise = field_validator("cutoffs")(rising)

    def build(self, site: Site) -> AdaptiveSoftmax:
        cutoffs = cutoffs_of(self.cutoffs, site.vocabulary.counts, site.width, self.div_value)
        return AdaptiveSoftmax(site, cutoffs, self.div_value, bias=self.bias)


class AdaptiveSoftmax(ClusteredSoftmax):
    """torch's AdaptiveLogSoftmaxWithLoss holds the weights; its parts are called here, so that padding, half precision and sums work."""

    def __init__(self, site: Site, cutoffs: tuple[int, ...], div_value: float, *, bias: bool) -> None:
        super().__init__(site, cutoffs)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(site.width, site.vocabulary.size, list(cutoffs), div_value=div_value, head_bias=bias)
        if bias:
            with torch.no_grad():
                self.softmax.head.bias.copy_(self.log_shares(site))

    def scorer(self) -> Callable[[int, Tensor], Tensor]:
        return lambda cluster, hidden_ND: (self.softmax.tail[cluster - 1] if cluster else self.softmax.head)(hidden_ND)  # (1), (2)


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
