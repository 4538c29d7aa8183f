"""Softmax trained on a sample of negatives, judged exactly."""

from __future__ import annotations

from itertools import combinations, product
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED, LinearSoftmax, scores_type
from engines.toolbox.proposals import Independent, Poisson, ProposalKind, proposal

Estimator = Literal["sampled", "ratio"]


class ImportanceSampled(Block):
    """Importance-sampled softmax

    estimator = ratio: Bengio, Senecal (2003), Quick training of probabilistic neural nets by importance sampling;
    estimator = sampled: Jean, Cho, Memisevic, Bengio (2015), On using very large target vocabulary; one sample for the whole minibatch.

        s_i = w_i h + b_i                                                   (1)
        S ~ q, c_i = expected number of times that i is in S                (2)
        sampled: u_i = s_i - log c_i,  loss = -u_y + log sum over {y} and S of exp(u_i)      (3)
        ratio:   loss = -s_y + log sum over S of exp(s_i - log c_i)         (4)

    The sum in (4) is an unbiased estimate of sum_j exp(s_j), and its gradient a ratio of two estimates, so biased by O(1 / k). In (3) target
    and negatives are both corrected by log c, so that the expected gradient vanishes where the model is right.
    q: uniform, unigram^a or log-uniform (Zipf), over ids sorted by frequency. h (D), w_i (D), y target, k samples.
    unique: every token is in S once at most, by its own coin, k on average; c_i is its inclusion probability, and a negative that hits the
    target is left out of (3). Otherwise k independent draws, c_i = k q_i, and hits stay, as the posterior of (3) then asks for.
    Perplexity is that of the full softmax with the same weights: nll, log_prob and topk are exact.

    Cost: 2 D (k + 1) floating point operations a token forward instead of 2 D V; a dense gradient and a dense optimiser still touch V D
    numbers a step, which eats part of the gain (sparse = true hands out row gradients; clip_norm and Adam refuse those).
    Does nothing when: unique and samples >= V; then both losses are the full softmax. A power does nothing unless the proposal is unigram.
    Parameters: samples k, estimator, proposal q, power a, unique, tied, bias, sparse.
    """

    paper: ClassVar[str] = (
        "Jean et al., On using very large target vocabulary for neural machine translation, ACL 2015, https://arxiv.org/abs/1412.2007"
    )
    slot: ClassVar[Slot] = "head"

    samples: int = param(512, "Negatives a minibatch, shared by its tokens.", unit="tokens", symbol="k", ge=1, le=1_000_000)
    estimator: Estimator = param("sampled", "sampled: softmax over the target and the sample; ratio: importance estimate of the normaliser.")
    proposal: ProposalKind = param("unigram", "Where negatives come from.", symbol="q")
    power: float = param(0.75, "Exponent of the counts of a unigram proposal: 0 is uniform, 1 the training frequency.", symbol="a", ge=0.0, le=2.0)
    unique: bool = param(True, "Draw each token once at most; otherwise independent draws with repetition.")
    tied: bool = param(False, "Use the embedding's matrix as the output matrix.")
    bias: bool = param(True, "Add one number a token, which starts at its log frequency.", symbol="b")
    sparse: bool = param(False, "Hand out sparse row gradients of the output matrix (for optimisers that take them, such as plain SGD).")

    def build(self, site: Site) -> SampledSoftmax:
        q = proposal(self.proposal, site.vocabulary.counts, self.power)
        k = min(self.samples, site.vocabulary.size) if self.unique else self.samples
        return SampledSoftmax(
            site,
            sampler=Poisson(q, k) if self.unique else Independent(q, k),
            estimator=self.estimator,
            tied=self.tied,
            bias=self.bias,
            sparse=self.sparse,
        )


class SampledSoftmax(LinearSoftmax):
    """`loss` on one sample a call; everything else is the exact head's."""

    def __init__(self, site: Site, *, sampler: Poisson | Independent, estimator: Estimator, tied: bool, bias: bool, sparse: bool) -> None:
        super().__init__(site, tied=tied, bias=bias)
        self.sampler, self.estimator, self.sparse = sampler, estimator, sparse

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.loss_on(hidden_ND, target_N, self.sampler.draw())  # (2)

    def loss_on(self, hidden_ND: Tensor, target_N: Tensor, sample_S: Tensor) -> Tensor:
        """(3) or (4) with a given sample of ids, summed over the rows; 0 where the target is ignored."""
        ignored_N = target_N == IGNORED
        if len(sample_S) == 0 and self.estimator == "ratio":
            return hidden_ND.sum() * 0.0  # no estimate of the normaliser, so no step
        y_N = target_N.masked_fill(ignored_N, 0)
        h_NE = self.project(hidden_ND)
        # one gather for targets and negatives: its backward writes the V x E gradient once
        ids = torch.cat((y_N, sample_S))
        w_y, w_S = F.embedding(ids, self.output.weight, sparse=self.sparse).tensor_split((len(y_N),))
        s_N, s_NS = (h_NE * w_y).sum(dim=-1), h_NE @ w_S.T  # (1)
        if self.output.bias is not None:
            s_N, s_NS = s_N + self.output.bias[y_N], s_NS + self.output.bias[sample_S]
        s_N, s_NS = scores_type(s_N), scores_type(s_NS)
        log_c_V = self.sampler.log_expected_V
        u_NS = s_NS - log_c_V[sample_S]
        if self.estimator == "ratio":
            return (u_NS.logsumexp(dim=-1) - s_N).masked_fill(ignored_N, 0.0).sum()  # (4)
        if isinstance(self.sampler, Poisson):
            u_NS = u_NS.masked_fill(sample_S == y_N.unsqueeze(1), float("-inf"))
        u_N = s_N - log_c_V[y_N]
        place_N = torch.zeros_like(y_N).masked_fill(ignored_N, IGNORED)
        return F.cross_entropy(torch.cat((u_N.unsqueeze(1), u_NS), dim=1), place_N, reduction="sum", ignore_index=IGNORED)  # (3)


@certificate("with every token in the sample both estimators equal the full softmax, gradients included", 1e-5)
def all_samples_equal_full(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        estimators: tuple[Estimator, ...] = ("sampled", "ratio")
        for estimator in estimators:
            head = ImportanceSampled(samples=trial.vocabulary, estimator=estimator).build(trials.site(trial))
            h_ND = trials.hidden(trial).flatten(0, 1)
            y_N = torch.randint(trial.vocabulary, (len(h_ND),))
            full = F.cross_entropy(h_ND @ head.output.weight.T + head.output.bias, y_N, reduction="sum")
            worst = max(worst, trials.difference(head.loss(h_ND, y_N), full, [h_ND, *head.parameters()]))
        return worst


@certificate("perplexity is that of the full softmax with the same weights", 1e-5)
def nll_is_exact(trial: Trial) -> float:
    with trials.seeded(trial):
        head = ImportanceSampled(samples=4).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        exact_N = F.cross_entropy(h_ND @ head.output.weight.T + head.output.bias, y_N, reduction="none")
        return trials.relative_error(head.nll(h_ND, y_N), exact_N)


@certificate("sampled: averaged over every possible sample and target, the gradient vanishes where the model is the truth", 1e-5)
def no_gradient_at_the_truth(trial: Trial) -> float:
    """Every sample of a vocabulary of 5 and its probability, unique and independent, instead of draws: the expectation is exact."""
    with trials.seeded(trial):
        size, worst = 5, 0.0
        for unique in (True, False):
            head = ImportanceSampled(samples=2, unique=unique).build(trials.site(Trial(width=trial.width, vocabulary=size)))
            c_V = head.sampler.log_expected_V.exp()
            samples = [s for n in range(size + 1) for s in combinations(range(size), n)] if unique else list(product(range(size), repeat=2))
            h_1D = torch.randn(1, trial.width)
            truth_V = head.log_prob(h_1D).exp().detach().squeeze(0)
            expected_V, total = torch.zeros(size), 0.0
            for sample in samples:
                inside = torch.tensor([i in sample for i in range(size)])
                chance = torch.where(inside, c_V, 1 - c_V).prod() if unique else (c_V[list(sample)] / 2).prod()  # c = 2 q when independent
                for y in range(size):
                    loss = head.loss_on(h_1D, torch.tensor([y]), torch.tensor(sample, dtype=torch.int64))
                    (gradient_V,) = torch.autograd.grad(loss, head.output.bias)
                    expected_V += chance * truth_V[y] * gradient_V
                    total += float(chance * truth_V[y] * gradient_V.abs().max())
            worst = max(worst, float(expected_V.abs().max()) / total)
        return worst
