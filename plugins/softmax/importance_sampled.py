"""Softmax trained on a sample of negatives, judged exactly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor

from engines.api import Block, Site, Slot, Trial, certificate, param
from engines.toolbox import trials
from engines.toolbox.heads import IGNORED, LinearSoftmax
from engines.toolbox.proposals import Independent, Poisson
from engines.toolbox.sampled import ONE_SAMPLE_EACH, draw, expected_gradient, sampler_of, scores_of
from engines.toolbox.successors import Successors

Estimator = Literal["sampled", "ratio", "blackout"]
Proposal = Literal["uniform", "unigram", "log_uniform", "bigram"]


class ImportanceSampled(Block):
    """Importance-sampled softmax

    estimator = ratio: Bengio, Senecal (2003), Quick training of probabilistic neural nets by importance sampling.
    estimator = sampled: Jean, Cho, Memisevic, Bengio (2015), On using very large target vocabulary.
    estimator = blackout: Ji, Vishwanathan, Satish, Anderson, Dubey (2016), BlackOut.

        s_i = w_i h + b_i                                                   (1)
        S ~ q, c_i = expected number of times that i is in S                (2)
        sampled: u_i = s_i - log c_i,  loss = -u_y + log sum over {y} and S of exp(u_i)      (3)
        ratio:   loss = -s_y + log sum over S of exp(s_i - log c_i)         (4)
        blackout: p~ = softmax of u over {y} and S,  loss = -log p~_y - sum over S of log(1 - p~_j)      (5)

    h (D), w_i (D), y target, k samples. The sum in (4) is an unbiased estimate of sum_j exp(s_j), and its gradient a ratio of two estimates, so
    biased by O(1 / k). In (3) target and negatives are both corrected by log c, so that the expected gradient vanishes where the model is
    right. (5) adds to (3) that each negative is told apart from the rest by itself, and vanishes there too.

    q: uniform, unigram^a or log-uniform (Zipf), over ids sorted by frequency; or bigram, which depends on the token v before the target:

        q(w | v) = m (share of w among the last R tokens that followed v in training) + (1 - m) unigram^a(w)      (6)

    counted as training goes on, for samples of their own alone; after Bengio and Senecal, whose proposal was an n-gram. It pays where the model
    is near a bigram, else tokens that are seldom drawn weigh heavily: try it beside unigram.
    unique: every token is in S once at most, by its own coin, k on average; c_i is its inclusion probability, and a negative that hits the
    target is left out of (3) and (5). Otherwise k independent draws, c_i = k q_i, and hits stay, as the posterior of (3) then asks for.
    shared: S is one sample for all tokens of the minibatch, so that (1) is one dense product; otherwise each token has its own, the same in
    expectation, with noise that averages out over the minibatch, and k rows of W to read for every token.

    Perplexity is that of the full softmax with the same weights: nll, log_prob and topk are exact.

    Cost: 2 D (k + 1) floating point operations a token forward instead of 2 D V; a dense gradient and a dense optimiser still touch V D
    numbers a step, which eats part of the gain (sparse = true hands out row gradients, for plain SGD or sparse_adam). Samples of their own
    read N k rows of W instead of k, and bigram N k R remembered ids; its memory of V R ids stays in the saved model.
    Does nothing when: unique and samples >= V; then sampled and ratio are the full softmax. A power does nothing unless the proposal is unigram
    or bigram; bigram is unigram where no token stands before (word embeddings); memory and share do nothing but for bigram.
    Parameters: samples k, estimator, proposal q, power a, memory R, share m, unique, shared, tied, bias, sparse.
    """

    paper: ClassVar[str] = (
        "Jean et al., On using very large target vocabulary for neural machine translation, ACL 2015, https://arxiv.org/abs/1412.2007; "
        "Ji et al., BlackOut: Speeding up recurrent neural network language models with very large vocabularies, ICLR 2016, "
        "https://arxiv.org/abs/1511.06909"
    )
    slot: ClassVar[Slot] = "head"

    samples: int = param(512, "Negatives: of a minibatch where they are shared, else of each token.", unit="tokens", symbol="k", ge=1, le=1_000_000)
    estimator: Estimator = param(
        "sampled",
        "sampled: softmax over the target and the sample; ratio: importance estimate of the normaliser; blackout: sampled, and each negative "
        "told apart by itself.",
    )
    proposal: Proposal = param("unigram", "Where negatives come from; bigram looks at the token before, and needs samples of their own.", symbol="q")
    power: float = param(0.75, "Exponent of the counts of a unigram proposal: 0 is uniform, 1 the training frequency.", symbol="a", ge=0.0, le=2.0)
    memory: int = param(32, "Successors of each token that a bigram proposal remembers.", unit="tokens", symbol="R", ge=1, le=4096)
    share: float = param(0.5, "Share of a bigram proposal that comes from what followed the token before.", symbol="m", ge=0.0, lt=1.0)
    unique: bool = param(True, "Draw each token once at most; otherwise independent draws with repetition.")
    shared: bool = param(True, "One sample for all tokens of a minibatch; otherwise each token has its own (then unique must be off).")
    tied: bool = param(False, "Use the embedding's matrix as the output matrix.")
    bias: bool = param(True, "Add one number a token, which starts at its log frequency.", symbol="b")
    sparse: bool = param(False, "Hand out sparse row gradients of the output matrix (for optimisers that take them: plain SGD, sparse_adam).")

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        if self.unique and not self.shared:
            raise ValueError(ONE_SAMPLE_EACH)
        if self.proposal == "bigram" and self.shared:
            raise ValueError('proposal = "bigram" draws by the token before each target: set shared = false and unique = false.')
        return self

    def build(self, site: Site) -> SampledSoftmax:
        kind = "unigram" if self.proposal == "bigram" else self.proposal
        sampler = sampler_of(kind, site.vocabulary.counts, self.power, self.samples, unique=self.unique)
        if self.proposal == "bigram":
            assert isinstance(sampler, Independent), ONE_SAMPLE_EACH
            return BigramSampledSoftmax(site, self, sampler)
        return SampledSoftmax(site, self, sampler)


class SampledSoftmax(LinearSoftmax):
    """`loss` on a sample that is drawn at each call; everything else is the exact head's."""

    def __init__(self, site: Site, chosen: ImportanceSampled, sampler: Poisson | Independent) -> None:
        super().__init__(site, tied=chosen.tied, bias=chosen.bias)
        self.sampler, self.estimator, self.shared, self.sparse = sampler, chosen.estimator, chosen.shared, chosen.sparse

    def loss(self, hidden_ND: Tensor, target_N: Tensor) -> Tensor:
        return self.loss_on(hidden_ND, target_N, draw(self.sampler, len(target_N), shared=self.shared))  # (2)

    def loss_on(self, hidden_ND: Tensor, target_N: Tensor, sample: Tensor) -> Tensor:
        """(3), (4) or (5) with a given sample of ids, (S,) or (N, S), summed over the rows; 0 where the target is ignored."""
        log_c_V = self.sampler.log_expected_V
        return self.corrected(hidden_ND, target_N, sample, log_c_V[target_N.clamp(min=0)], log_c_V[sample])

    def corrected(self, hidden_ND: Tensor, target_N: Tensor, sample: Tensor, log_c_N: Tensor, log_c_S: Tensor) -> Tensor:
        """`loss_on` with the log expected numbers of the targets, (N,), and of the sample, of its shape."""
        ignored_N = target_N == IGNORED
        if sample.numel() == 0 and self.estimator == "ratio":
            return hidden_ND.sum() * 0.0  # no estimate of the normaliser, so no step
        y_N = target_N.masked_fill(ignored_N, 0)
        s_N, s_NS = scores_of(self, hidden_ND, target_N, sample, sparse=self.sparse)  # (1)
        u_NS = s_NS - log_c_S
        if self.estimator == "ratio":
            return (u_NS.logsumexp(dim=-1) - s_N).masked_fill(ignored_N, 0.0).sum()  # (4)
        if isinstance(self.sampler, Poisson):
            u_NS = u_NS.masked_fill(sample == y_N.unsqueeze(1), float("-inf"))
        u_N = s_N - log_c_N
        log_p_NS = torch.cat((u_N.unsqueeze(1), u_NS), dim=1).log_softmax(dim=1)
        loss_N = -log_p_NS[:, 0]  # (3)
        if self.estimator == "blackout":
            # log(1 - p) with p < 1 - 1e-7, what float32 can tell from 1
            loss_N = loss_N - log_p_NS[:, 1:].clamp(max=-1e-7).expm1().neg().log().sum(dim=1)  # (5)
        return loss_N.masked_fill(ignored_N, 0.0).sum()


class BigramSampledSoftmax(SampledSoftmax):
    """Each target's sample is drawn by the token before it (6); without that token, as the unigram proposal draws it."""

    def __init__(self, site: Site, chosen: ImportanceSampled, sampler: Independent) -> None:
        super().__init__(site, chosen, sampler)
        self.successors = Successors(sampler, chosen.memory, chosen.share)

    def loss_after(self, hidden_ND: Tensor, target_N: Tensor, before_N: Tensor) -> Tensor:
        """`loss` where the token before each target is known, (N,). What is counted here is drawn from in the next minibatch."""
        loss = self.loss_after_on(hidden_ND, target_N, before_N, self.successors.draw(before_N))
        if self.training:
            self.successors.learn(before_N, target_N)
        return loss

    def loss_after_on(self, hidden_ND: Tensor, target_N: Tensor, before_N: Tensor, sample_NS: Tensor) -> Tensor:
        """`loss_after` with a given sample."""
        ids_NS = torch.cat((target_N.clamp(min=0).unsqueeze(1), sample_NS), dim=1)
        log_c_NS = self.successors.log_expected(before_N, ids_NS)
        return self.corrected(hidden_ND, target_N, sample_NS, log_c_NS[:, 0], log_c_NS[:, 1:])


@certificate("with every token in the sample, sampled and ratio equal the full softmax, gradients included", 1e-5)
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


@certificate("with every token in the sample, blackout is -log p_y - sum of log(1 - p_j) over the others, gradients included", 1e-5)
def blackout_with_all_samples(trial: Trial) -> float:
    with trials.seeded(trial):
        head = ImportanceSampled(samples=trial.vocabulary, estimator="blackout").build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        p_NV = (h_ND @ head.output.weight.T + head.output.bias).softmax(dim=-1)
        others_NV = torch.ones_like(p_NV).scatter(1, y_N.unsqueeze(1), 0.0)
        explicit = -p_NV.gather(1, y_N.unsqueeze(1)).log().sum() - ((1 - p_NV * others_NV).log()).sum()
        return trials.difference(head.loss(h_ND, y_N), explicit, [h_ND, *head.parameters()])


@certificate("one sample for all tokens and the same sample for each are the same loss, gradients included", 1e-5)
def shared_equals_repeated(trial: Trial) -> float:
    with trials.seeded(trial):
        worst = 0.0
        for estimator in get_args(Estimator):
            head = ImportanceSampled(samples=7, unique=False, estimator=estimator).build(trials.site(trial))
            h_ND = trials.hidden(trial).flatten(0, 1)
            y_N = torch.randint(trial.vocabulary, (len(h_ND),))
            sample_S = head.sampler.draw()
            each, once = (head.loss_on(h_ND, y_N, sample) for sample in (sample_S.expand(len(y_N), -1), sample_S))
            worst = max(worst, trials.difference(each, once, [h_ND, *head.parameters()]))
        return worst


@certificate("perplexity is that of the full softmax with the same weights", 1e-5)
def nll_is_exact(trial: Trial) -> float:
    with trials.seeded(trial):
        head = ImportanceSampled(samples=4).build(trials.site(trial))
        h_ND = trials.hidden(trial).flatten(0, 1)
        y_N = torch.randint(trial.vocabulary, (len(h_ND),))
        exact_N = F.cross_entropy(h_ND @ head.output.weight.T + head.output.bias, y_N, reduction="none")
        return trials.relative_error(head.nll(h_ND, y_N), exact_N)


@certificate("sampled and blackout: averaged over every possible sample and target, the gradient vanishes where the model is the truth", 1e-5)
def no_gradient_at_the_truth(trial: Trial) -> float:
    """A vocabulary of 5, unique and independent samples; relative to the parts that cancel."""
    with trials.seeded(trial):
        worst = 0.0
        estimators: tuple[Estimator, ...] = ("sampled", "blackout")
        for unique, estimator in product((True, False), estimators):
            chosen = ImportanceSampled(samples=2, unique=unique, estimator=estimator)
            head = chosen.build(trials.site(Trial(width=trial.width, vocabulary=5)))
            h_1D = torch.randn(1, trial.width)
            truth_V = head.log_prob(h_1D).exp().detach().squeeze(0)
            expected_V, cancels = expected_gradient(partial(head.loss_on, h_1D), head.output.bias, truth_V, head.sampler)
            worst = max(worst, float(expected_V.abs().max()) / cancels)
        return worst


def after(head: BigramSampledSoftmax, h_1D: Tensor, before: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of a target and a sample after a token."""
    return lambda target_1, sample_S: head.loss_after_on(h_1D, target_1, torch.tensor([before]), sample_S.unsqueeze(0))


@certificate("bigram: averaged over every possible sample and target after a token, the gradient vanishes where the model is the truth", 1e-5)
def no_gradient_at_the_truth_after_a_token(trial: Trial) -> float:
    """As above; q(w | v) is counted here from the pairs that the head was shown, not asked of it."""
    with trials.seeded(trial):
        worst = 0.0
        estimators: tuple[Estimator, ...] = ("sampled", "blackout")
        for estimator in estimators:
            chosen = ImportanceSampled(samples=2, unique=False, shared=False, proposal="bigram", memory=4, estimator=estimator)
            head: Any = chosen.build(trials.site(Trial(width=trial.width, vocabulary=5)))
            head.successors.learn(torch.tensor([1, 3, 3, 3, 1]), torch.tensor([2, 0, 4, 4, 0]))
            q_V = (head.sampler.log_expected_V.exp() / 2).cpu().double().numpy()
            after_3_V = 0.5 * np.array([1, 0, 0, 0, 2]) / 3 + 0.5 * q_V
            for before, sampler in ((3, Independent(after_3_V, 2)), (0, head.sampler)):
                h_1D = torch.randn(1, trial.width)
                truth_V = head.log_prob(h_1D).exp().detach().squeeze(0)
                expected_V, cancels = expected_gradient(after(head, h_1D, before), head.output.bias, truth_V, sampler)
                worst = max(worst, float(expected_V.abs().max()) / cancels)
        return worst
