"""Negative sampling: tell a word's context from drawn ones, and give up probabilities."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED, LinearScores
from engines.toolbox.precise import at_least_float32
from engines.toolbox.proposals import Independent, ProposalKind, proposal
from engines.toolbox.row_products import row_products
from engines.toolbox.sampled import contrast, draw, expected_gradient, scores_of


class NegativeSampling(Block):
    """Negative sampling

    Mikolov, Sutskever, Chen, Corrado, Dean (2013), Distributed representations of words and phrases and their compositionality;
    what it learns: Levy, Goldberg (2014), Neural word embedding as implicit matrix factorization.

        s_i = w_i h + b_i                                                   (1)
        S: k independent draws from q                                       (2)
        loss = -log sigma(s_y) - sum over S of log sigma(-s_j)              (3)

    h (D), w_i (D), y target, k samples, sigma the logistic function. With P the true distribution of the next token the expected gradient is

        g_i = (P_i + k q_i) sigma(s_i) - P_i,  zero where s_i = log(P_i / q_i) - log k       (4)

    so a score learns the pointwise mutual information of token and context, shifted, and not a log probability: this is no language model. It
    has no perplexity and is judged by rank and accuracy. Its order of tokens is that of P_i / q_i, which favours tokens that the noise rarely
    draws; the order of P only where q is uniform. It is NCE (softmax/nce) in which k q_i was forgotten: equal where k q_i = 1 for all i
    (q uniform, k = V), and for every k and q if log(k q_i) is taken into the bias. The bias starts at (4) of the training frequencies.
    q: uniform, unigram^a or log-uniform (Zipf). A draw that hits the target stays, as (4) asks for.
    shared: one sample for all tokens of the minibatch; otherwise each token has its own, the same in expectation.
    negatives: with n the sum in (3) counts n / k times, and n stands for k in (4): few negatives a token (word2vec's 5) by a shared sample of
    more draws.

    Cost: 2 D (k + 1) floating point operations a token forward instead of 2 D V; a dense gradient and a dense optimiser still touch V D
    numbers a step (sparse = true hands out row gradients). Judging costs what the full softmax costs.
    Does nothing when: never. A power does nothing unless the proposal is unigram.
    Parameters: samples k, negatives n, proposal q, power a, shared, tied, bias, sparse.
    """

    paper: ClassVar[str] = (
        "Mikolov et al., Distributed representations of words and phrases and their compositionality, NeurIPS 2013, https://arxiv.org/abs/1310.4546; "
        "Levy and Goldberg, Neural word embedding as implicit matrix factorization, NeurIPS 2014"
    )
    slot: ClassVar[Slot] = "head"

    samples: int = param(512, "Negatives: of a minibatch where they are shared, else of each token.", unit="tokens", symbol="k", ge=1, le=1_000_000)
    proposal: ProposalKind = param("unigram", "Where negatives come from.", symbol="q")
    power: float = param(0.75, "Exponent of the counts of a unigram proposal: 0 is uniform, 1 the training frequency.", symbol="a", ge=0.0, le=2.0)
    negatives: float | None = param(
        None, "Negatives that the draws stand for, each counted negatives / samples times; none: as many as are drawn.", symbol="n", gt=0
    )
    shared: bool = param(True, "One sample for all tokens of a minibatch; otherwise each token has its own.")
    tied: bool = param(False, "Use the embedding's matrix as the output matrix.")
    bias: bool = param(True, "Add one number a token, which starts at the optimum for its frequency.", symbol="b")
    sparse: bool = param(False, "Hand out sparse row gradients of the output matrix (for optimisers that take them: plain SGD, sparse_adam).")

    def build(self, site: Site) -> NegativeSampler:
        return NegativeSampler(site, self, Independent(proposal(self.proposal, site.vocabulary.counts, self.power), self.samples))


class NegativeSampler(LinearScores):
    """`loss` on a sample that is drawn at each call."""

    no_distribution = (
        "negative sampling learns pointwise mutual information and no log probability, as it leaves out what the noise distribution weighs"
    )

    def __init__(self, site: Site, chosen: NegativeSampling, sampler: Independent) -> None:
        super().__init__(site, tied=chosen.tied, bias=chosen.bias)
        self.sampler, self.shared, self.sparse = sampler, chosen.shared, chosen.sparse
        self.weight = (chosen.negatives or chosen.samples) / chosen.samples
        if chosen.bias:
            with torch.no_grad():
                self.output.bias.sub_(sampler.log_expected_V + math.log(self.weight))  # (4)

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.loss_on(hidden_ND, target_N, draw(self.sampler, len(target_N), shared=self.shared))  # (2)

    def loss_on(self, hidden_ND: Tensor, target_N: Tensor, sample: Tensor) -> Tensor:
        """(3) with a given sample of ids, (S,) or (N, S), summed over the rows; 0 where the target is ignored."""
        s_N, s_NS = scores_of(self, hidden_ND, target_N, sample, sparse=self.sparse)  # (1)
        return contrast(s_N, s_NS, target_N, self.weight)  # (3)

    def loss_many(self, hidden_ND: Tensor, targets_NC: Tensor) -> Tensor:
        """The sum of (3) over all targets of each row that are not ignored. A shared sample is scored once a row, however many targets it has."""
        row_M, place_M = (targets_NC != IGNORED).nonzero(as_tuple=True)
        y_M = targets_NC[row_M, place_M]
        if not self.shared:
            return self.loss(hidden_ND[row_M], y_M)
        return self.loss_many_on(hidden_ND, row_M, y_M, self.sampler.draw())

    def loss_many_on(self, hidden_ND: Tensor, row_M: Tensor, y_M: Tensor, sample_S: Tensor) -> Tensor:
        """`loss_many` with a given sample; row_M, y_M: rows and ids of the targets."""
        h_NE = self.project(hidden_ND)
        ids = torch.cat((y_M, sample_S))
        w_ME, w_SE = F.embedding(ids, self.output.weight, sparse=self.sparse).tensor_split((len(y_M),))
        s_M, s_NS = row_products(h_NE[row_M], w_ME), h_NE @ w_SE.T  # (1)
        if self.output.bias is not None:
            b_M, b_S = self.output.bias[ids].tensor_split((len(y_M),))
            s_M, s_NS = s_M + b_M, s_NS + b_S
        noise_N = F.softplus(at_least_float32(s_NS)).sum(dim=1)
        targets_N = torch.bincount(row_M, minlength=len(h_NE)).to(noise_N.dtype)
        return F.softplus(-at_least_float32(s_M)).sum() + self.weight * (noise_N * targets_N).sum()  # (3)


@certificate("averaged over every possible sample and target, the gradient is (P + k q) sigma(s) - P", 1e-5)
def expected_gradient_in_closed_form(trial: Trial) -> float:
    with trials.seeded(trial):
        p_V, h_1D = torch.randn(5).softmax(dim=0), torch.randn(1, trial.width)
        head = NegativeSampling(samples=2).build(trials.site(Trial(width=trial.width, vocabulary=5)))
        expected_V, _ = expected_gradient(partial(head.loss_on, h_1D), head.output.bias, p_V, head.sampler)
        s_V, kq_V = head.scores(h_1D).squeeze(0), head.sampler.log_expected_V.exp()
        return trials.relative_error(expected_V, (p_V + kq_V) * s_V.sigmoid() - p_V)  # (4)


@certificate("no expected gradient where every score is the pointwise mutual information less log k", 1e-5)
def stationary_at_shifted_information(trial: Trial) -> float:
    """Relative to the gradient of the parts that cancel there."""
    with trials.seeded(trial):
        p_V, h_1D = torch.randn(5).softmax(dim=0), torch.randn(1, trial.width)
        head = NegativeSampling(samples=2).build(trials.site(Trial(width=trial.width, vocabulary=5)))
        with torch.no_grad():
            head.output.bias.add_(p_V.log() - head.sampler.log_expected_V - head.scores(h_1D).squeeze(0))
        expected_V, _ = expected_gradient(partial(head.loss_on, h_1D), head.output.bias, p_V, head.sampler)
        return float(expected_V.abs().max() / p_V.max())


@certificate("one sample for all tokens and the same sample for each are the same loss, gradients included", 1e-5)
def shared_equals_repeated(trial: Trial) -> float:
    with trials.seeded(trial):
        head = NegativeSampling(samples=7).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        sample_S = head.sampler.draw()
        each, once = (head.loss_on(h_ND, y_N, sample) for sample in (sample_S.expand(len(y_N), -1), sample_S))
        return trials.difference(each, once, [h_ND, *head.parameters()])


@certificate("all targets of a row at once and one after the other are the same loss, gradients included", 1e-5)
def many_targets_equal_one_by_one(trial: Trial) -> float:
    with trials.seeded(trial):
        head = NegativeSampling(samples=7, negatives=3).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        row_M, y_M = torch.randint(len(h_ND), (40,)).sort().values, torch.randint(trial.vocabulary, (40,))
        sample_S = head.sampler.draw()
        at_once = head.loss_many_on(h_ND, row_M, y_M, sample_S)
        return trials.difference(at_once, head.loss_on(h_ND[row_M], y_M, sample_S), [h_ND, *head.parameters()])
