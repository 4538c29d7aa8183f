"""Noise-contrastive estimation: learn probabilities by telling the text's tokens from drawn ones."""

from __future__ import annotations

from functools import partial
from math import log
from typing import ClassVar, Self

import torch
from pydantic import model_validator
from torch import Tensor

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED, LinearSoftmax
from engines.toolbox.proposals import Independent, Poisson, ProposalKind
from engines.toolbox.sampled import ONE_SAMPLE_EACH, contrast, draw, expected_gradient, sampler_of, scores_of


class NoiseContrastive(Block):
    """Noise-contrastive estimation (NCE)

    Gutmann, Hyvarinen (2010); Mnih, Teh (2012), A fast and simple algorithm for training neural probabilistic language models;
    penalty: Devlin, Zbib, Huang, Lamar, Schwartz, Makhoul (2014); shared noise: Zoph, Vaswani, May, Knight (2016).

        s_i = w_i h + b_i                                                   (1)
        S ~ q, c_i = expected number of times that i is in S                (2)
        d_i = s_i - z - log c_i                                             (3)  log odds that i is from the text and not from the noise
        loss = -log sigma(d_y) - sum over S of log sigma(-d_j)              (4)
        penalty: + alpha (log Z^ - z)^2,  log Z^ = log sum over S of exp(s_j - log c_j)      (5)

    h (D), w_i (D), y target, k samples, sigma the logistic function, z the assumed log normaliser. With P the true distribution of the next
    token the expected gradient of (4) is, for each token,

        g_i = c_i / (exp(s_i - z) + c_i) * (exp(s_i - z) - P_i)             (6)

    zero where exp(s - z) = P and the gradient of maximum likelihood as k grows: the scores learn to be log probabilities up to the constant z,
    without a sum over V. That holds only if they can begin near it: z far from the true log normaliser leaves the first factor of (6) at 0 or 1
    for all tokens and the direction is useless. With a bias, which starts at log frequencies, z = 0 is right from the start; without one the
    scores start near 0 and z = log V is. Perplexity is exact: nll, log_prob and topk normalise the scores over all V.
    penalty: (5) pulls log Z towards z by the sample's own estimate of it (unbiased for Z, so low for log Z where the sample is small).
    q: uniform, unigram^a or log-uniform (Zipf).
    unique: every token is in S once at most, by its own coin, k on average, and c_i is its inclusion probability; otherwise k independent
    draws, c_i = k q_i. Both keep a token of S that is the target, as (6) asks for.
    shared: one sample for all tokens of the minibatch; otherwise each token has its own, the same in expectation.

    Cost: 2 D (k + 1) floating point operations a token forward instead of 2 D V, and two logarithms for each score; a dense gradient and a
    dense optimiser still touch V D numbers a step (sparse = true hands out row gradients). Judging costs what the full softmax costs.
    Does nothing when: never; with unique and samples >= V all tokens are noise. A power does nothing unless the proposal is unigram.
    Parameters: samples k, log_normaliser z, penalty alpha, proposal q, power a, unique, shared, tied, bias, sparse.
    """

    paper: ClassVar[str] = (
        "Mnih and Teh, A fast and simple algorithm for training neural probabilistic language models, ICML 2012, https://arxiv.org/abs/1206.6426"
    )
    slot: ClassVar[Slot] = "head"

    samples: int = param(512, "Noise tokens: of a minibatch where shared, else of each token.", unit="tokens", symbol="k", ge=1, le=1_000_000)
    log_normaliser: float | None = param(None, "What log Z is taken to be; default: 0 with a bias, log V without one.", symbol="z", ge=-50.0, le=50.0)
    penalty: float = param(0.0, "Weight of the squared distance of log Z from that.", symbol="alpha", ge=0.0)
    proposal: ProposalKind = param("unigram", "Where noise comes from.", symbol="q")
    power: float = param(1.0, "Exponent of the counts of a unigram proposal: 0 is uniform, 1 the training frequency.", symbol="a", ge=0.0, le=2.0)
    unique: bool = param(True, "Draw each token once at most; otherwise independent draws with repetition.")
    shared: bool = param(True, "One sample for all tokens of a minibatch; otherwise each token has its own (then unique must be off).")
    tied: bool = param(False, "Use the embedding's matrix as the output matrix.")
    bias: bool = param(True, "Add one number a token, which starts at its log frequency.", symbol="b")
    sparse: bool = param(False, "Hand out sparse row gradients of the output matrix (for optimisers that take them: plain SGD, sparse_adam).")

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        if self.unique and not self.shared:
            raise ValueError(ONE_SAMPLE_EACH)
        return self

    def build(self, site: Site) -> NoiseContrastiveSoftmax:
        sampler = sampler_of(self.proposal, site.vocabulary.counts, self.power, self.samples, unique=self.unique)
        return NoiseContrastiveSoftmax(site, self, sampler)


class NoiseContrastiveSoftmax(LinearSoftmax):
    """`loss` on a sample that is drawn at each call; everything else is the exact head's."""

    def __init__(self, site: Site, chosen: NoiseContrastive, sampler: Poisson | Independent) -> None:
        super().__init__(site, tied=chosen.tied, bias=chosen.bias)
        self.sampler, self.shared, self.sparse, self.penalty = sampler, chosen.shared, chosen.sparse, chosen.penalty
        default = 0.0 if chosen.bias else log(site.vocabulary.size)
        self.log_normaliser = default if chosen.log_normaliser is None else chosen.log_normaliser

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.loss_on(hidden_ND, target_N, draw(self.sampler, len(target_N), shared=self.shared))  # (2)

    def loss_on(self, hidden_ND: Tensor, target_N: Tensor, sample: Tensor) -> Tensor:
        """(4) and (5) with a given sample of ids, (S,) or (N, S), summed over the rows; 0 where the target is ignored."""
        ignored_N = target_N == IGNORED
        s_N, s_NS = scores_of(self, hidden_ND, target_N, sample, sparse=self.sparse)  # (1)
        log_c_V, z = self.sampler.log_expected_V, self.log_normaliser
        u_NS = s_NS - log_c_V[sample]
        d_N = s_N - z - log_c_V[target_N.masked_fill(ignored_N, 0)]  # (3)
        loss = contrast(d_N, u_NS - z, target_N)  # (4)
        if self.penalty and sample.numel():
            loss = loss + self.penalty * (u_NS.logsumexp(dim=1) - z).square().masked_fill(ignored_N, 0.0).sum()  # (5)
        return loss


@certificate("averaged over every possible sample and target, the gradient is c / (exp(s - z) + c) (exp(s - z) - P)", 1e-5)
def expected_gradient_in_closed_form(trial: Trial) -> float:
    """A vocabulary of 5, unique and independent samples; P is not the model's distribution."""
    with trials.seeded(trial):
        worst = 0.0
        p_V, h_1D = torch.randn(5).softmax(dim=0), torch.randn(1, trial.width)
        for unique in (True, False):
            chosen = NoiseContrastive(samples=2, unique=unique, log_normaliser=0.3)
            head = chosen.build(trials.site(Trial(width=trial.width, vocabulary=5)))
            expected_V, _ = expected_gradient(partial(head.loss_on, h_1D), head.output.bias, p_V, head.sampler)
            c_V, e_V = head.sampler.log_expected_V.exp(), (head.scores(h_1D).squeeze(0) - 0.3).exp()
            worst = max(worst, trials.relative_error(expected_V, c_V / (e_V + c_V) * (e_V - p_V)))  # (6)
        return worst


@certificate("with every token in the sample, loss and penalty are those of all scores and their exact log Z, gradients included", 1e-5)
def all_samples_are_exact(trial: Trial) -> float:
    with trials.seeded(trial):
        head = NoiseContrastive(samples=trial.vocabulary, penalty=0.1).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        s_NV = h_ND @ head.output.weight.T + head.output.bias
        real_N = s_NV.gather(1, y_N.unsqueeze(1)).squeeze(1).sigmoid().log()
        noise_N = (1 - s_NV.sigmoid()).log().sum(dim=1)
        explicit = (-real_N - noise_N + 0.1 * s_NV.exp().sum(dim=1).log().square()).sum()
        return trials.difference(head.loss(h_ND, y_N), explicit, [h_ND, *head.parameters()])


@certificate("one sample for all tokens and the same sample for each are the same loss, gradients included", 1e-5)
def shared_equals_repeated(trial: Trial) -> float:
    with trials.seeded(trial):
        head = NoiseContrastive(samples=7, unique=False, penalty=0.1).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        sample_S = head.sampler.draw()
        each, once = (head.loss_on(h_ND, y_N, sample) for sample in (sample_S.expand(len(y_N), -1), sample_S))
        return trials.difference(each, once, [h_ND, *head.parameters()])


@certificate("perplexity is that of the full softmax with the same weights", 1e-5)
def nll_is_exact(trial: Trial) -> float:
    with trials.seeded(trial):
        head = NoiseContrastive(samples=4).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        log_p_NV = (h_ND @ head.output.weight.T + head.output.bias).log_softmax(dim=-1)
        return trials.relative_error(head.nll(h_ND, y_N), -log_p_NV.gather(1, y_N.unsqueeze(1)).squeeze(1))
