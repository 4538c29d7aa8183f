"""Class-based softmax: first the class of a token, then the token within its class."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import clusters, trials
from engines.toolbox.heads import IGNORED, LinearSoftmax, NormalisedHead, log_unigram, target_counts, tied_weight
from engines.toolbox.precise import at_least_float32

Partition = Literal["sqrt_frequency", "frequency", "random", "kmeans", "bisection"]
BY_VECTORS = ("kmeans", "bisection")


class ClassBased(Block):
    """Class-based softmax

    Goodman (2001), Classes for fast maximum entropy training; classes by the square root of the frequency: Mikolov et al. (2011).

        p(y | h) = p(c | h) p(y | c, h),  c = c(y)                          (1)
        p(c | h) = softmax(A h + a)[c]                                      (2)
        p(y | c, h) = softmax over the tokens of class c of W h + b         (3)

    h (D), A (C, D), a (C), W (V, D), b (V). Both factors sum to 1, so their product does, and the perplexity is exact. a and b start at the log
    shares of the training text. A class of one token needs no (3).
    by = frequency: classes with equal shares of the training text, so the last one holds most of the vocabulary.
    by = sqrt_frequency: equal shares of the square roots, which evens out sizes.
    by = random: equal sizes by chance.
    by = kmeans, bisection: tokens with similar `vectors`; bisection makes classes of equal size.
    tied: the rows of W are the embedding's.

    Cost: 2 D (C + size of the target's class) floating point operations a token forward, about 4 D sqrt(V) at best, instead of 2 D V; rows of
    the classes that occur in the minibatch are gathered once, and every such class is one small matrix product. All V log probabilities
    (sampling, topk) cost what a full softmax costs.
    Does nothing when: classes = 1; then it is the full softmax. `vectors` does nothing unless classes are made from vectors.
    Parameters: classes C (default: the square root of V), by, vectors, tied, bias, sparse.
    """

    paper: ClassVar[str] = "Goodman, Classes for fast maximum entropy training, ICASSP 2001, https://arxiv.org/abs/cs/0108006"
    slot: ClassVar[Slot] = "head"

    classes: int | None = param(None, "Number of classes; default: the square root of the vocabulary size.", symbol="C", ge=1, le=100_000)
    by: Partition = param("sqrt_frequency", "What puts tokens into one class.")
    vectors: Path | None = param(
        None, "File of word vectors, or folder of a finished model; for kmeans and bisection.", path=True
    )
    tied: bool = param(False, "Use the embedding's matrix for the tokens.")
    bias: bool = param(True, "Add one number to each score, which starts at the log frequency.", symbol="b")
    sparse: bool = param(False, "Hand out sparse row gradients of the tokens' matrix (for optimisers that take them, such as plain SGD).")

    @model_validator(mode="after")
    def _vectors_where_needed(self) -> ClassBased:
        if (self.by in BY_VECTORS) != (self.vectors is not None):
            raise ValueError(
                f'by = "kmeans" and "bisection" read vectors, the others do not: by is "{self.by}" and vectors '
                f"{'is missing' if self.vectors is None else f'names {str(self.vectors)!r}'}."
            )
        return self

    def build(self, site: Site) -> ClassSoftmax:
        count = self.classes or max(1, isqrt(site.vocabulary.size))
        return ClassSoftmax(
            site, self._partition(site, count), count, tied=self.tied, bias=self.bias, sparse=self.sparse, kept=self.vectors is not None
        )

    def _partition(self, site: Site, count: int) -> clusters.Ids:
        counts, size = np.maximum(site.vocabulary.counts, 1), site.vocabulary.size
        clusters.refuse_count(count, size)
        if self.vectors is not None:
            vectors_VD = clusters.directions(self.vectors, site.vocabulary)
            return clusters.kmeans_clusters(vectors_VD, count, 0) if self.by == "kmeans" else clusters.bisected_clusters(vectors_VD, count)
        if self.by == "random":
            return clusters.random_clusters(size, count, 0)
        return clusters.mass_clusters(np.sqrt(counts) if self.by == "sqrt_frequency" else counts, count)


class ClassSoftmax(NormalisedHead):
    """classes: A and a. output: row i is that of token i. class_V: the class of each token, part of the saved model where it cannot be made
    again from frequencies (`kept`)."""

    projection: nn.Linear | None

    def __init__(self, site: Site, class_V: clusters.Ids, count: int, *, tied: bool, bias: bool, sparse: bool, kept: bool) -> None:
        size = site.vocabulary.size
        super().__init__(size)
        shared = tied_weight(site) if tied else None
        width = site.width if shared is None else shared.shape[1]
        self.projection = None if width == site.width else nn.Linear(site.width, width, bias=False)
        self.classes = nn.Linear(width, count, bias=bias)
        self.output = nn.Embedding(size, width, sparse=sparse)
        if shared is None:
            nn.init.uniform_(self.output.weight, -(width**-0.5), width**-0.5)
        else:
            self.output.weight = shared
        self.bias: nn.Parameter | None = None
        if bias:
            share_V = log_unigram(target_counts(site))
            self.bias = nn.Parameter(share_V)
            with torch.no_grad():
                self.classes.bias.copy_(torch.zeros(count).index_add(0, torch.as_tensor(class_V), share_V.exp()).log())
        self.class_V: Tensor
        self.register_buffer("class_V", torch.as_tensor(class_V), persistent=kept)
        self.order_V: Tensor
        self.place_V: Tensor
        self.within_V: Tensor
        for name, values in self._derived(class_V, count).items():
            self.register_buffer(name, torch.as_tensor(values), persistent=False)
        self.register_load_state_dict_post_hook(_follow_the_loaded_classes)

    def _derived(self, class_V: clusters.Ids, count: int) -> dict[str, np.ndarray]:
        """order_V: ids class by class; place_V: where in it each token stands; within_V: where in its class."""
        order_V, sizes = np.argsort(class_V, kind="stable"), np.bincount(class_V, minlength=count)
        place_V = np.argsort(order_V, kind="stable")
        self.sizes: list[int] = sizes.tolist()
        return {"order_V": order_V, "place_V": place_V, "within_V": place_V - (np.cumsum(sizes) - sizes)[class_V]}

    def nll_rows(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """(N,), from the scores of the classes and of the tokens in the targets' own classes."""
        ignored_N = target_N == IGNORED
        y_N = target_N.masked_fill(ignored_N, 0)
        class_N = self.class_V[y_N]
        h_NE = hidden_ND if self.projection is None else self.projection(hidden_ND)
        nll_N = F.cross_entropy(at_least_float32(self.classes(h_NE)), class_N, reduction="none")  # (2)
        rows_N = class_N.argsort(stable=True)
        counts = torch.bincount(class_N, minlength=len(self.sizes)).tolist()
        members = self.order_V.split(self.sizes)
        occurring = [c for c, (n, size) in enumerate(zip(counts, self.sizes, strict=True)) if n and size > 1]
        if occurring:
            ids = torch.cat([members[c] for c in occurring])
            w_c = self.output(ids).split([self.sizes[c] for c in occurring])
            b_c = [None] * len(occurring) if self.bias is None else self.bias[ids].split([self.sizes[c] for c in occurring])
            h_c, y_c, row_c = h_NE[rows_N].split(counts), self.within_V[y_N[rows_N]].split(counts), rows_N.split(counts)
            within = [
                F.cross_entropy(at_least_float32(F.linear(h_c[c], w, b)), y_c[c], reduction="none")  # (3)
                for c, w, b in zip(occurring, w_c, b_c, strict=True)
            ]
            nll_N = nll_N.index_add(0, torch.cat([row_c[c] for c in occurring]), torch.cat(within))  # (1)
        return nll_N.masked_fill(ignored_N, 0.0)

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.nll_rows(hidden_ND, target_N).sum()

    def nll(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        columns = len(self.sizes) + max(self.sizes)
        return torch.cat([self.nll_rows(hidden, target) for hidden, target in self.chunks(hidden_ND, target_N, columns=columns)])

    def log_prob_rows(self, hidden_ND: Tensor) -> Tensor:
        h_NE = hidden_ND if self.projection is None else self.projection(hidden_ND)
        log_p_NC = at_least_float32(self.classes(h_NE)).log_softmax(dim=1)
        s_NV = at_least_float32(F.linear(h_NE, self.output.weight, self.bias))[:, self.order_V]
        within = [s.log_softmax(dim=1) for s in s_NV.split(self.sizes, dim=1)]
        return torch.cat(within, dim=1)[:, self.place_V] + log_p_NC[:, self.class_V]  # (1)


def _follow_the_loaded_classes(module: Any, _: Any) -> None:
    """Order tokens anew where the classes came with the weights."""
    if "class_V" in module.state_dict() and not module.class_V.is_meta:
        for name, values in module._derived(module.class_V.cpu().numpy(), len(module.sizes)).items():
            setattr(module, name, torch.as_tensor(values, device=module.class_V.device))


@certificate("nll and log_prob equal the explicit product of both softmaxes, gradients included", 1e-5)
def equals_definition(trial: Trial) -> float:
    trial = replace(trial, vocabulary=max(trial.vocabulary, 18))  # enough for two classes of several tokens
    with trials.seeded(trial):
        worst = 0.0
        for by in ("sqrt_frequency", "frequency", "random"):
            head: Any = ClassBased(by=by, classes=max(1, trial.vocabulary // 9)).build(trials.site(trial))
            h_ND = trials.hidden(trial).flatten(0, 1)
            y_N = torch.randint(trial.vocabulary, (len(h_ND),))
            e_NC = (h_ND @ head.classes.weight.T + head.classes.bias).exp()
            e_NV = (h_ND @ head.output.weight.T + head.bias).exp()
            same_VV = (head.class_V[:, None] == head.class_V).to(e_NV.dtype)
            p_NV = (e_NC / e_NC.sum(dim=1, keepdim=True))[:, head.class_V] * e_NV / (e_NV @ same_VV)
            nll_N = -p_NV[torch.arange(len(y_N)), y_N].log()
            wanted = [h_ND, *head.parameters()]
            worst = max(
                worst,
                trials.difference(head.loss(h_ND, y_N), nll_N.sum(), wanted),
                trials.difference(head.nll(h_ND, y_N), nll_N, wanted),
                trials.difference(head.log_prob(h_ND), p_NV.log(), wanted),
            )
        return worst


@certificate("with one class it is the full softmax, gradients included", 1e-5)
def one_class_is_full(trial: Trial) -> float:
    with trials.seeded(trial):
        site = trials.site(trial)
        head: Any = ClassBased(classes=1).build(site)
        full = LinearSoftmax(site, tied=False, bias=True)
        full.output.weight, full.output.bias = head.output.weight, head.bias
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        wanted = [h_ND, head.output.weight, head.bias]
        by_loss = trials.difference(head.loss(h_ND, y_N), full.loss(h_ND, y_N), wanted)
        return max(by_loss, trials.difference(head.log_prob(h_ND), full.log_prob(h_ND), wanted))


@certificate("probabilities sum to 1", 1e-5)
def sums_to_one(trial: Trial) -> float:
    with trials.seeded(trial):
        head = ClassBased().build(trials.site(trial))
        total_N = head.log_prob(trials.hidden(trial).flatten(0, 1)).exp().sum(dim=1)
        return trials.relative_error(total_N, torch.ones_like(total_N))
