"""A margin over the hardest negatives: learn an order of tokens, and give up probabilities."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED, LinearScores
from engines.toolbox.precise import at_least_float32
from engines.toolbox.sampled import scores_of
from engines.toolbox.search.mining import Search, miner


class HardNegatives(Block):
    """Margin over hard negatives

    Multiclass hinge: Weston, Watkins (1999), all negatives; Crammer, Singer (2001), the hardest one; mining of hard negatives: Schroff,
    Kalenichenko, Philbin (2015).

        s_i = w_i h + b_i                                                   (1)
        H = the n tokens other than y with the highest s                    (2)
        loss = sum over H of max(0, m + s_j - s_y)                          (3)

    h (D), w_i (D), y target, m margin. The target is left out before H is chosen, and no gradient flows through the choice: as long as it
    stays, (3) is the loss of the tokens in H. (3) orders tokens and says nothing of how probable they are, so there is no perplexity; the head
    is judged by rank and accuracy. n = V - 1 is the multiclass hinge over all tokens. A token that is the right one elsewhere, and as good
    here, is the hardest negative of all: with text, where many tokens are possible, n = 1 pushes away what was the target a moment ago.
    pool: the n hardest of so many tokens drawn from all, by a coin each, one draw for all tokens of the minibatch; 0: of all tokens.
    All tokens are as likely in a pool: a frequent rival is held against its targets in pool / V of the minibatches alone.
    search: (2) by an index over the rows in place of the scan: signs of 512 random projections, or a preview in the 32 leading dimensions of
    recent hidden states, with max(200, 10 n) tokens scored exactly (see index/lsh, index/svd_preview); or by packages, 32 of 256 inverted lists,
    a graph with a beam of max(200, 10 n), ScaNN (index/faiss_ivf, /faiss_hnsw, /scann). It is built anew every T minibatches and
    stale in between: it looks for rows as they were, and scores those it finds as they are. All but the preview take the biases as they were
    too: while these still move fast, a token that has risen since is not found, and a large T ranks worse than frequencies alone.

    Cost: choosing among all tokens takes the full scan of 2 D V floating point operations a token, without the 4 D V of its backward pass;
    with a pool 2 D pool, with an index what it takes plus a build every T minibatches (long for a graph); then 2 D (n + 1) forward. The index
    stays in the model's file. A dense gradient and a dense optimiser still touch V D numbers a step (sparse = true hands
    out row gradients). Judging costs what the full softmax costs.
    Does nothing when: m = 0 and the target leads everywhere.
    Parameters: negatives n, margin m, pool, search, refresh T, tied, bias, sparse.
    """

    paper: ClassVar[str] = (
        "Crammer and Singer, On the algorithmic implementation of multiclass kernel-based vector machines, JMLR 2001, "
        "https://www.jmlr.org/papers/v2/crammer01a.html"
    )
    slot: ClassVar[Slot] = "head"

    negatives: int = param(20, "How many of the hardest tokens each target is held against.", unit="tokens", symbol="n", ge=1, le=1_000_000)
    margin: float = param(1.0, "By how much the target should lead.", symbol="m", ge=0.0)
    pool: int = param(0, "Hardest among about so many tokens, drawn for each minibatch; 0: among all.", unit="tokens", ge=0)
    search: Search = param("exact", "How the hardest of all tokens are found: by scoring all, or by an index; faiss and scann are packages.")
    refresh: int = param(50, "Minibatches between two builds of the index.", symbol="T", ge=1)
    tied: bool = param(False, "Use the embedding's matrix as the output matrix.")
    bias: bool = param(True, "Add one number a token, which starts at its log frequency.", symbol="b")
    sparse: bool = param(False, "Hand out sparse row gradients of the output matrix (for optimisers that take them: plain SGD, sparse_adam).")

    @model_validator(mode="after")
    def _one_way_to_look(self) -> Self:
        if self.pool and self.search != "exact":
            raise ValueError(f'pool = {self.pool} and search = "{self.search}": negatives are looked for in a pool or by an index, so leave one out')
        return self

    def build(self, site: Site) -> MarginHead:
        return MarginHead(site, self)


class MarginHead(LinearScores):
    """The hinge over mined negatives."""

    no_distribution = "a margin over hard negatives orders tokens and does not learn how probable they are"

    def __init__(self, site: Site, chosen: HardNegatives) -> None:
        super().__init__(site, tied=chosen.tied, bias=chosen.bias)
        self.negatives, self.margin, self.pool, self.sparse = chosen.negatives, chosen.margin, chosen.pool, chosen.sparse
        self.miner = miner(chosen.search, negatives=self.negatives, refresh=chosen.refresh)
        if self.miner is not None:
            self.miner.allocate(self.output.weight)

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.loss_on(hidden_ND, target_N, self.hardest(hidden_ND, target_N))

    def loss_on(self, hidden_ND: Tensor, target_N: Tensor, negative_Nn: Tensor) -> Tensor:
        """(3) with given negatives, summed over the rows; 0 where the target is ignored, and for a negative that is no token (-1)."""
        absent_Nn = negative_Nn < 0
        s_N, s_Nn = scores_of(self, hidden_ND, target_N, negative_Nn.masked_fill(absent_Nn, 0), sparse=self.sparse)  # (1)
        hinge_Nn = (self.margin + s_Nn - s_N.unsqueeze(1)).clamp(min=0.0)
        return hinge_Nn.masked_fill(absent_Nn | (target_N == IGNORED).unsqueeze(1), 0.0).sum()  # (3)

    @torch.no_grad()
    def hardest(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """(2): ids of the hardest negatives of each row, (N, n), fewer columns where there are fewer tokens; -1 where a row has no more."""
        if self.miner is not None:
            return self.mined(hidden_ND.detach(), target_N)
        drawn_P = self.pooled()
        columns = self.vocabulary_size if drawn_P is None else len(drawn_P)
        chosen = []
        for hidden, target in self.chunks(hidden_ND.detach(), target_N, columns=max(1, columns)):
            if drawn_P is None:
                s_NP = self.scores(hidden)
                s_NP.scatter_(1, target.masked_fill(target == IGNORED, 0).unsqueeze(1), float("-inf"))
            else:
                bias_P = None if self.output.bias is None else self.output.bias[drawn_P]
                s_NP = at_least_float32(F.linear(self.project(hidden), self.output.weight[drawn_P], bias_P))
                s_NP = s_NP.masked_fill(drawn_P == target.unsqueeze(1), float("-inf"))
            best_Nn, place_Nn = s_NP.topk(min(self.negatives, s_NP.shape[1]), dim=1)
            id_Nn = place_Nn if drawn_P is None else drawn_P[place_Nn]
            chosen.append(id_Nn.masked_fill(best_Nn == float("-inf"), -1))
        return torch.cat(chosen)

    def mined(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        """(2) as the index finds it: one token more is asked for, and the target, or else the last of them, is left out."""
        assert self.miner is not None
        id_Nn = self.miner.search(self.project(hidden_ND), self.negatives + 1, self.output.weight, self.output.bias)
        own_Nn = id_Nn == target_N.unsqueeze(1)
        own_Nn[:, -1] |= ~own_Nn.any(dim=1)
        return id_Nn.masked_fill(own_Nn, -1)

    def pooled(self) -> Tensor | None:
        """The tokens to choose among, (P,); None: all of them."""
        if not 0 < self.pool < self.vocabulary_size:
            return None
        coin_V = torch.rand(self.vocabulary_size, device=self.output.weight.device) < self.pool / self.vocabulary_size
        return coin_V.nonzero().squeeze(1)


def written_out(head: MarginHead, h_ND: Tensor, y_N: Tensor) -> Tensor:
    """max(0, m + s_j - s_y) of every token j other than y, (N, V); 0 for y itself."""
    s_NV = h_ND @ head.output.weight.T + head.output.bias
    hinge_NV = torch.relu(head.margin + s_NV - s_NV.gather(1, y_N.unsqueeze(1)))
    return hinge_NV * torch.ones_like(hinge_NV).scatter(1, y_N.unsqueeze(1), 0.0)


@certificate("with n = V - 1 the loss is the multiclass hinge over all tokens, gradients included", 1e-5)
def all_negatives_are_the_multiclass_hinge(trial: Trial) -> float:
    with trials.seeded(trial):
        head = HardNegatives(negatives=trial.vocabulary - 1).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        return trials.difference(head.loss(h_ND, y_N), written_out(head, h_ND, y_N).sum(), [h_ND, *head.parameters()])


@certificate("with n = 1 the loss is the largest violation of the margin, gradients included", 1e-5)
def one_negative_is_the_largest_violation(trial: Trial) -> float:
    with trials.seeded(trial):
        head = HardNegatives(negatives=1).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        return trials.difference(head.loss(h_ND, y_N), written_out(head, h_ND, y_N).amax(dim=1).sum(), [h_ND, *head.parameters()])


@certificate("an index that looks at every token mines the hardest of them, gradients of the loss included", 1e-5)
def whole_index_mines_the_hardest(trial: Trial) -> float:
    """A vocabulary of at most 200 tokens, all of which an index scores exactly."""
    with trials.seeded(trial):
        exact = HardNegatives(negatives=5).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        worst = 0.0
        ways: tuple[Search, ...] = ("lsh", "svd_preview")
        for search in ways:
            head = HardNegatives(negatives=5, search=search).build(trials.site(trial))
            head.output = exact.output
            worst = max(worst, trials.difference(head.loss(h_ND, y_N), exact.loss(h_ND, y_N), [h_ND, *exact.parameters()]))
        return worst
