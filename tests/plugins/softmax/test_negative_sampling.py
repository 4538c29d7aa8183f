"""Negative sampling: what it learns of a matrix of counts, when it is NCE, its order of tokens, and what it refuses to answer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from engines.api import Trial
from engines.toolbox import heads, trials
from plugins.embeddings.lookup import Lookup
from plugins.softmax import nce, negative_sampling
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets


def build(trial: Trial = EXACT, **parameters: object) -> negative_sampling.NegativeSampler:
    with trials.seeded(trial):
        return negative_sampling.NegativeSampling(**{"samples": 8, **parameters}).build(trials.site(trial))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(negative_sampling))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


TEXT = "the cat sat on the mat and the dog sat on the log and the cat saw the dog on the mat and the log"


def test_the_optimum_on_a_text_is_the_matrix_of_shifted_pointwise_mutual_information() -> None:
    """Counts of the word after each word; negatives in the very numbers that are expected, k q_i whole; free scores; Newton's method by LBFGS."""
    tokens = TEXT.split()
    words = sorted(set(tokens))
    index = {word: i for i, word in enumerate(words)}
    size = len(words)
    count_CV = torch.zeros(size, size, dtype=torch.float64)
    for context, word in pairwise(tokens):
        count_CV[index[context], index[word]] += 1
    k = int(count_CV.sum())  # so that k q_i is the number of times that i follows something
    sample = torch.repeat_interleave(torch.arange(size), count_CV.sum(0).long())
    trial = Trial(vocabulary=size, width=size)
    head = build(trial, samples=k, bias=False)
    head.output.weight.data.zero_()
    # a row for each time that a pair occurs: its context as a unit vector, so that every score is a weight of its own
    context_N, word_N = (each.repeat_interleave(count_CV.flatten().long()) for each in torch.cartesian_prod(torch.arange(size), torch.arange(size)).T)
    h_ND = F.one_hot(context_N, size).double()
    optimizer = torch.optim.LBFGS(head.parameters(), lr=1, max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = head.loss_on(h_ND, word_N, sample)
        value.backward()
        return value

    optimizer.step(loss)
    learned_CV = head.scores(torch.eye(size, dtype=torch.float64)).detach()
    seen = count_CV > 0
    p_VC = count_CV / count_CV.sum(1, keepdim=True)
    information_CV = torch.log(p_VC / (count_CV.sum(0) / k))
    torch.testing.assert_close(learned_CV[seen], (information_CV - torch.log(torch.tensor(float(k))))[seen], rtol=0, atol=1e-4)
    # pairs that never occur have information of minus infinity
    assert learned_CV[~seen & (count_CV.sum(0) > 0) & (count_CV.sum(1, keepdim=True) > 0)].max() < learned_CV[seen].min()


def test_it_is_nce_where_k_q_is_one_and_nce_with_another_bias_everywhere() -> None:
    h_ND, y_N = rows_and_targets(EXACT)
    for proposal, k in (("uniform", EXACT.vocabulary), ("unigram", 7)):
        ours = build(proposal=proposal, power=0.75, samples=k)
        with trials.seeded(EXACT):
            theirs = nce.NoiseContrastive(proposal=proposal, power=0.75, samples=k, unique=False).build(trials.site(EXACT))
        theirs.load_state_dict(ours.state_dict())
        log_c_V = theirs.sampler.log_expected_V
        if proposal == "uniform":
            assert log_c_V.abs().max() < 1e-12
        theirs.output.bias.data += log_c_V
        sample = ours.sampler.draw()
        wanted = [h_ND, *ours.parameters()]
        gradients = torch.autograd.grad(ours.loss_on(h_ND, y_N, sample), wanted)
        expected = torch.autograd.grad(theirs.loss_on(h_ND, y_N, sample), [h_ND, *theirs.parameters()])
        torch.testing.assert_close(ours.loss_on(h_ND, y_N, sample), theirs.loss_on(h_ND, y_N, sample))
        for one, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(one, other)


def test_its_order_is_that_of_probabilities_only_under_uniform_noise() -> None:
    """At the optimum for one known distribution: of two tokens, the rarer one in the noise is put first although the other is likelier."""
    p_V = torch.tensor([0.5, 0.3, 0.1, 0.1]).double()
    q_V = torch.tensor([0.85, 0.05, 0.05, 0.05]).double()
    assert (p_V / 0.25).log().argsort(descending=True)[0] == 0
    assert (p_V / q_V).log().argsort(descending=True)[0] == 1
    trial = Trial(vocabulary=4, width=2)
    order = {}
    for name, each in (("uniform", torch.full_like(q_V, 0.25)), ("skewed", q_V)):
        head = build(trial, samples=200)
        head.output.weight.data.zero_()
        sample = torch.repeat_interleave(torch.arange(4), (200 * each).round().long())
        y_N = torch.repeat_interleave(torch.arange(4), (10 * p_V).round().long())
        optimizer = torch.optim.LBFGS([head.output.bias], max_iter=200, line_search_fn="strong_wolfe")

        def loss(optimizer=optimizer, head=head, y_N=y_N, sample=sample) -> torch.Tensor:
            optimizer.zero_grad()
            value = head.loss_on(torch.zeros(10, 2).double(), y_N, sample)
            value.backward()
            return value

        optimizer.step(loss)
        order[name] = head.topk(torch.zeros(1, 2).double(), 1)[1].item()
        assert head.rank(torch.zeros(1, 2).double(), torch.tensor([0])).item() == (1 if name == "uniform" else 4)
    assert order == {"uniform": 0, "skewed": 1}


def test_the_untrained_head_without_input_is_at_the_optimum_for_frequencies() -> None:
    head = build(samples=11, power=0.5)
    with trials.seeded(EXACT):
        counts = torch.tensor(trials.site(EXACT).vocabulary.counts).double()
    share = (counts + 1) / (counts + 1).sum()
    q = counts.sqrt() / counts.sqrt().sum()
    torch.testing.assert_close(head.scores(torch.zeros(1, EXACT.width).double())[0], torch.log(share / (11 * q)))


def test_there_is_no_distribution_to_ask_for() -> None:
    head = build()
    assert not head.normalised
    assert not hasattr(head, "nll")
    assert not hasattr(head, "log_prob")
    h_ND, y_N = rows_and_targets(EXACT)
    values, ids = head.topk(h_ND, 3)
    assert torch.equal(values, head.scores(h_ND).gather(1, ids))
    best = head.rank(h_ND, ids[:, 0])
    assert (best == 1).all()
    assert head.rank(h_ND, y_N).shape == y_N.shape


@pytest.mark.parametrize("shared", [True, False])
def test_padding_costs_nothing(shared: bool) -> None:
    head = build(shared=shared)
    h_ND, y_N = rows_and_targets(EXACT, ignored=5)
    sample = torch.tensor([0, 3, 17]) if shared else torch.arange(3 * len(y_N)).view(-1, 3) % EXACT.vocabulary
    loss = head.loss_on(h_ND, y_N, sample)
    torch.testing.assert_close(loss, head.loss_on(h_ND[5:], y_N[5:], sample if shared else sample[5:]))
    assert (torch.autograd.grad(loss, h_ND)[0][:5] == 0).all()
    assert head.loss(h_ND, torch.full_like(y_N, heads.IGNORED)) == 0


def test_sparse_gradients_and_tying() -> None:
    with trials.seeded(EXACT):
        embedding = Lookup(width=5).build(trials.site(EXACT))
        head = negative_sampling.NegativeSampling(samples=3, tied=True, sparse=True).build(trials.site(EXACT, embedding=embedding))
    assert head.output.weight is embedding.weight
    h_ND, y_N = rows_and_targets(EXACT)
    head.loss_on(h_ND, y_N, torch.tensor([1, 2, 1])).backward()
    gradient = embedding.weight.grad
    assert gradient.is_sparse
    assert set(gradient.coalesce().indices()[0].tolist()) == {1, 2, *y_N.tolist()}


def test_half_precision_and_autocast() -> None:
    trial = Trial(dtype="float32", vocabulary=300)
    h_ND, y_N = rows_and_targets(trial)
    for shared in (True, False):
        head = build(trial, shared=shared)
        with trials.seeded(trial):
            exact = head.loss(h_ND, y_N)
        with trials.seeded(trial), torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = head.loss(h_ND, y_N)
        mixed.backward()
        assert mixed.dtype == torch.float32
        assert trials.relative_error(mixed, exact) < 0.01


def test_under_autocast_many_targets_are_summed_in_float32() -> None:
    trial = Trial(dtype="float32", vocabulary=300)
    head = build(trial, samples=20, negatives=5)
    h_ND, _ = rows_and_targets(trial)
    row_M, y_M = torch.arange(len(h_ND)).repeat_interleave(7), torch.arange(7 * len(h_ND)) % 300
    with torch.autocast("cpu", dtype=torch.bfloat16):
        at_once, one_by_one = head.loss_many_on(h_ND, row_M, y_M, torch.arange(20)), head.loss_on(h_ND[row_M], y_M, torch.arange(20))
    assert at_once.dtype == torch.float32
    assert trials.relative_error(at_once, one_by_one) < 1e-5
