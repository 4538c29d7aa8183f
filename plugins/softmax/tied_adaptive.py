"""Adaptive softmax whose short list and tails are the embedding's own rows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import field_validator
from torch import Tensor, nn
from torch.func import functional_call

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.adaptive import ClusteredSoftmax, ClusteredTable, cutoffs_of, default_cutoffs, rising
from engines.toolbox.heads import tied_weight


class TiedAdaptive(Block):
    """Tied adaptive softmax

    Baevski, Auli (2019), Adaptive input representations; the same with narrow clusters on both sides: Dai et al. (2019), Transformer-XL.

        y < c_1:                log p(y | h) = log softmax([E_0 P_0 h ; K h] + b)[y]                               (1)
        c_j <= y < c_(j+1):     log p(y | h) = log softmax([E_0 P_0 h ; K h] + b)[c_1 + j - 1] + log softmax(E_j P_j h)[y - c_j]     (2)

    Ids are sorted by frequency. h (D), E_j (cluster size, d_j) the embedding's rows of cluster j and no copy of them, P_j (d_j, D), K (J, D) one
    row a cluster, b (c_1 + J) starts at the log shares of the training text. The gradient of a row is the sum of what it does as input and as
    output. Under embeddings/lookup all d_j are the table's width and the tails have full rank; P_j is left out where that width is D. Under
    embeddings/adaptive rows are the narrower the rarer, clusters are its own, and with tie_projections P_j is the transpose of its Q_j.

    Cost: that of softmax/adaptive with the same widths, so under embeddings/lookup more than there (2 D a row of the target's cluster, none of
    it divided by v^j); no output matrix but K and the P_j, so the parameters of the vocabulary are held once.
    Does nothing when: never; cutoffs do nothing under embeddings/adaptive, which has its own.
    Parameters: cutoffs (default: V / 10 and 2 V / 5; []: as softmax/adaptive fits them), tie_projections, bias.
    """

    paper: ClassVar[str] = (
        "Baevski and Auli, Adaptive input representations for neural language modeling, ICLR 2019, https://arxiv.org/abs/1809.10853"
    )
    slot: ClassVar[Slot] = "head"

    cutoffs: tuple[int, ...] | None = param(
        None,
        "Where clusters begin under embeddings/lookup, rising; default: a tenth and two fifths of the vocabulary; []: fitted to its counts.",
        unit="tokens",
        symbol="c",
    )
    tie_projections: bool = param(False, "Also share the projections of embeddings/adaptive.")
    bias: bool = param(True, "Add one number to each score of the short list and the clusters.", symbol="b")

    _rise = field_validator("cutoffs")(rising)

    def build(self, site: Site) -> TiedAdaptiveSoftmax:
        embedding = site.embedding
        if isinstance(embedding, ClusteredTable):
            own = embedding.bounds[1:-1]
            if self.cutoffs and self.cutoffs != own:
                raise ValueError(f"cutoffs {list(self.cutoffs)} are not those of the embedding, {list(own)}; leave them out.")
            if self.tie_projections and embedding.width != site.width:
                raise ValueError(
                    f"Projections cannot be shared: the embedding is {embedding.width} wide and the hidden states {site.width}; "
                    "give both one width or set tie_projections = false."
                )
            return TiedAdaptiveSoftmax(site, embedding, own, tie_projections=self.tie_projections, bias=self.bias)
        tied_weight(site)
        if self.tie_projections:
            raise ValueError("tie_projections shares the projections of embeddings/adaptive, but the embedding is a plain table without any.")
        cutoffs = cutoffs_of(self.cutoffs, site.vocabulary.counts, site.width, 1.0)
        return TiedAdaptiveSoftmax(site, embedding, cutoffs, tie_projections=False, bias=self.bias)


class TiedAdaptiveSoftmax(ClusteredSoftmax):
    """embedding: the model's own, not a copy. projections: P_j, identities where there is nothing to do, None where they are the embedding's.
    clusters: K."""

    projections: nn.ModuleList | None

    def __init__(self, site: Site, embedding: Any, cutoffs: tuple[int, ...], *, tie_projections: bool, bias: bool) -> None:
        super().__init__(site, cutoffs)
        self.embedding = embedding
        self.sizes = [high - low for low, high in pairwise((0, *self.bounds))]
        self.projections = None
        if not tie_projections:
            narrow = isinstance(embedding, ClusteredTable)
            widths = [table.embedding_dim for table in embedding.tables] if narrow else [embedding.weight.shape[1]] * len(self.sizes)
            self.projections = nn.ModuleList(
                nn.Linear(site.width, d, bias=False) if narrow or d != site.width else nn.Identity() for d in widths
            )
        self.clusters = nn.Linear(site.width, len(cutoffs), bias=False)
        self.bias = nn.Parameter(self.log_shares(site)) if bias else None

    def scorer(self) -> Callable[[int, Tensor], Tensor]:
        narrow = isinstance(self.embedding, ClusteredTable)
        # one split for all clusters: its backward writes the V x D gradient once
        rows = [table.weight for table in self.embedding.tables] if narrow else self.embedding.weight.split(self.sizes)

        def score(cluster: int, hidden_ND: Tensor) -> Tensor:
            if self.projections is None:
                projected = F.linear(hidden_ND, self.embedding.projections[cluster].weight.T)
            else:
                projected = self.projections[cluster](hidden_ND)
            s_NC = F.linear(projected, rows[cluster])
            if cluster:
                return s_NC
            s_NC = torch.cat((s_NC, self.clusters(hidden_ND)), dim=1)
            return s_NC if self.bias is None else s_NC + self.bias

        return score


@certificate("under a plain table it equals torch's AdaptiveLogSoftmaxWithLoss at div_value = 1 with the same weights, gradients included", 1e-5)
def equals_torch(trial: Trial) -> float:
    with trials.seeded(trial):
        table = nn.Embedding(trial.vocabulary, trial.width)
        head: Any = TiedAdaptive().build(trials.site(trial, embedding=table))
        theirs = nn.AdaptiveLogSoftmaxWithLoss(trial.width, trial.vocabulary, list(head.bounds[:-1]), div_value=1.0, head_bias=True)
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        rows = table.weight.split(head.sizes)
        theirs_N = -functional_call(
            theirs,
            {"head.weight": torch.cat((rows[0], head.clusters.weight)), "head.bias": head.bias}
            | {f"tail.{j}.0.weight": torch.eye(trial.width) for j in range(len(rows) - 1)}
            | {f"tail.{j}.1.weight": tail for j, tail in enumerate(rows[1:])},
            (h_ND, y_N),
        ).output
        wanted = [h_ND, *head.parameters()]
        by_loss = trials.difference(head.loss(h_ND, y_N), theirs_N.sum(), wanted)
        return max(by_loss, trials.difference(head.nll(h_ND, y_N), theirs_N, wanted))


@certificate("under clusters of falling width nll equals the explicit product of both softmaxes, gradients included", 1e-5)
def equals_definition(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        for shared in (False, True):
            cutoffs = default_cutoffs(trial.vocabulary)
            table: Any = ClusteredTable(trial.vocabulary, trial.width, cutoffs, 2.0)
            head: Any = TiedAdaptive(tie_projections=shared).build(trials.site(trial, embedding=table))
            h_ND = trials.hidden(trial).flatten(0, 1)
            y_N = torch.randint(trial.vocabulary, (len(h_ND),))
            P = [Q.weight.T for Q in table.projections] if shared else [P.weight for P in head.projections]
            s_j = [h_ND @ (E.weight @ P_j).T for E, P_j in zip(table.tables, P, strict=True)]
            p_NC = (torch.cat((s_j[0], h_ND @ head.clusters.weight.T), dim=1) + head.bias).softmax(dim=1)
            tails = [p_NC[:, head.short + j, None] * s.softmax(dim=1) for j, s in enumerate(s_j[1:])]
            p_NV = torch.cat((p_NC[:, : head.short], *tails), dim=1)
            idle = () if shared else tuple(table.projections.parameters())
            wanted = [h_ND, *(p for p in head.parameters() if all(p is not q for q in idle))]
            worst = max(
                worst,
                trials.difference(head.loss(h_ND, y_N), -p_NV[torch.arange(len(y_N)), y_N].log().sum(), wanted),
                trials.difference(head.log_prob(h_ND), p_NV.log(), wanted),
            )
        return worst


@certificate("probabilities sum to 1", 1e-5)
def sums_to_one(trial: Trial) -> float:
    with trials.seeded(trial):
        head: Any = TiedAdaptive().build(trials.site(trial, embedding=nn.Embedding(trial.vocabulary, 7)))
        total_N = head.log_prob(trials.hidden(trial).flatten(0, 1)).exp().sum(dim=1)
        return trials.relative_error(total_N, torch.ones_like(total_N))
