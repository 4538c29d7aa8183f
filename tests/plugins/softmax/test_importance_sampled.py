"""Sampled heads: convergence to the full softmax, no gradient at the truth, padding, hits, sparse gradients, tying."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from engines.api import Trial
from engines.toolbox import heads, trials
from plugins.embeddings.lookup import Lookup
from plugins.softmax import importance_sampled
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets

WIDE = Trial(batch=4, length=16, width=8, vocabulary=300, seed=11)


def build(trial: Trial = EXACT, **parameters: object) -> importance_sampled.SampledSoftmax:
    with trials.seeded(trial):
        return importance_sampled.ImportanceSampled(**{"samples": 8, **parameters}).build(trials.site(trial))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(importance_sampled))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


def mean_gradient_error(head: importance_sampled.SampledSoftmax, draws: int) -> float:
    """How far the mean gradient of the output bias over many samples is from the full softmax's, relative to the latter's length."""
    h_ND, y_N = rows_and_targets(WIDE)
    (full,) = torch.autograd.grad(F.cross_entropy(head.output(h_ND), y_N, reduction="sum"), head.output.bias)
    mean = torch.zeros_like(full)
    for _ in range(draws):
        mean += torch.autograd.grad(head.loss(h_ND, y_N), head.output.bias)[0] / draws
    return float((mean - full).norm() / full.norm())


@pytest.mark.parametrize("proposal", ["uniform", "unigram", "log_uniform"])
@pytest.mark.parametrize("estimator", ["sampled", "ratio"])
@pytest.mark.parametrize("unique", [True, False])
def test_the_gradient_converges_to_the_full_one_as_samples_grow(estimator: str, proposal: str, unique: bool) -> None:
    with trials.seeded(WIDE):
        few, many = (mean_gradient_error(build(WIDE, samples=k, estimator=estimator, proposal=proposal, unique=unique), 40) for k in (8, 200))
    assert many < (0.3 if proposal == "uniform" else 0.06)  # a uniform sample often misses the tokens that matter
    assert many < 0.5 * few


@pytest.mark.parametrize("unique", [True, False])
def test_sampled_has_no_expected_gradient_where_the_model_is_the_truth(unique: bool) -> None:
    """Targets drawn from the model itself: the mean gradient is as short as chance makes it. The uncorrected loss, for contrast, pulls."""
    head = build(WIDE, samples=10, unique=unique)
    h_ND = rows_and_targets(WIDE)[0][:1].detach().expand(2000, -1)
    p = head.log_prob(h_ND[:1]).exp().squeeze(0).detach()

    def length_over_chance() -> float:
        """The length of the mean gradient over that expected of a mean of as many zero-mean gradients."""
        targets = (torch.multinomial(p, 2000, replacement=True) for _ in range(120))
        gradients = torch.stack([torch.autograd.grad(head.loss(h_ND, y_N), head.output.bias)[0] for y_N in targets])
        return float(gradients.mean(0).norm() / (gradients.var(0).sum() / 120).sqrt())

    with trials.seeded(WIDE):
        assert length_over_chance() < 2.0
        head.sampler.log_expected_V.zero_()
        assert length_over_chance() > 3.5


def test_the_ratio_estimates_the_normaliser_without_bias() -> None:
    for unique in (True, False):
        head = build(WIDE, samples=40, estimator="ratio", unique=unique)
        h_ND, y_N = rows_and_targets(WIDE)
        with trials.seeded(WIDE), torch.no_grad():
            s = head.output(h_ND[:1])
            log_z = s.logsumexp(-1)
            estimates = torch.stack([(head.loss(h_ND[:1], y_N[:1]) + s[0, y_N[0]]).exp() for _ in range(500)])
        standard_error = estimates.std() / 500**0.5
        assert (estimates.mean() - log_z.exp()).abs() < 4 * standard_error
        assert standard_error < 0.05 * log_z.exp()


@pytest.mark.parametrize("estimator", ["sampled", "ratio", "blackout"])
def test_a_sample_for_all_and_one_for_each_have_the_same_mean_gradient(estimator: str) -> None:
    """300 draws each: their means differ by what chance explains. Sharing correlates tokens, so the shared ones scatter more."""
    h_ND, y_N = rows_and_targets(WIDE)
    drawn = {}
    for shared in (True, False):
        head = build(WIDE, samples=20, estimator=estimator, unique=False, shared=shared)
        with trials.seeded(WIDE):
            drawn[shared] = torch.stack([torch.autograd.grad(head.loss(h_ND, y_N), head.output.bias)[0] for _ in range(300)])
    variance = {shared: float(each.var(0).sum()) / 300 for shared, each in drawn.items()}
    difference = drawn[True].mean(0) - drawn[False].mean(0)
    assert difference.norm() < 1.5 * (variance[True] + variance[False]) ** 0.5
    assert variance[True] > 3 * variance[False]


def test_each_token_has_a_sample_of_its_own() -> None:
    head = build(WIDE, samples=5, unique=False, shared=False)
    h_ND, y_N = rows_and_targets(WIDE)
    samples = torch.arange(64 * 5).view(64, 5) % 300
    each = torch.stack([head.loss_on(h_ND[i : i + 1], y_N[i : i + 1], samples[i]) for i in range(64)])
    torch.testing.assert_close(head.loss_on(h_ND, y_N, samples), each.sum())
    with pytest.raises(ValidationError, match="set unique = false, or shared = true"):
        importance_sampled.ImportanceSampled(shared=False)


def test_blackout_tells_each_negative_apart() -> None:
    """Equation 5 by hand, with a hit that is left out, and with a token that takes all."""
    head = build(estimator="blackout")
    h_ND, _ = rows_and_targets(EXACT)
    s, c = head.output(h_ND[:1])[0], head.sampler.log_expected_V
    p = torch.stack([s[2] - c[2], s[5] - c[5], s[9] - c[9]]).softmax(0)
    expected = -p[0].log() - (1 - p[1]).log() - (1 - p[2]).log()
    torch.testing.assert_close(head.loss_on(h_ND[:1], torch.tensor([2]), torch.tensor([5, 2, 9])), expected)
    with torch.no_grad():
        head.output.bias[5] = 200.0
    certain = head.loss_on(h_ND[:1], torch.tensor([2]), torch.tensor([5, 9]))
    assert certain.isfinite()
    assert torch.autograd.grad(certain, h_ND)[0].isfinite().all()


def test_hits_are_left_out_where_unique_and_kept_in_independent_draws() -> None:
    h_ND, _ = rows_and_targets(EXACT)
    y_1, sample = torch.tensor([2]), torch.tensor([2, 5])
    for unique in (True, False):
        head = build(unique=unique)
        c = head.sampler.log_expected_V
        s = head.output(h_ND[:1])[0]
        others = [s[5] - c[5]] if unique else [s[2] - c[2], s[5] - c[5]]
        expected = torch.stack([s[2] - c[2], *others]).logsumexp(0) - (s[2] - c[2])
        torch.testing.assert_close(head.loss_on(h_ND[:1], y_1, sample), expected)
    only_hit = build().loss_on(h_ND[:1], y_1, torch.tensor([2]))
    assert only_hit == 0
    assert torch.isfinite(torch.autograd.grad(only_hit, h_ND)[0]).all()


@pytest.mark.parametrize("estimator", ["sampled", "ratio", "blackout"])
def test_padding_costs_nothing(estimator: str) -> None:
    head = build(estimator=estimator)
    h_ND, y_N = rows_and_targets(EXACT, ignored=5)
    sample = torch.tensor([0, 3, 17])
    loss = head.loss_on(h_ND, y_N, sample)
    torch.testing.assert_close(loss, head.loss_on(h_ND[5:], y_N[5:], sample))
    (gradient,) = torch.autograd.grad(loss, h_ND)
    assert (gradient[:5] == 0).all()
    assert head.loss(h_ND, torch.full_like(y_N, heads.IGNORED)) == 0
    empty = head.loss_on(h_ND, y_N, torch.tensor([], dtype=torch.int64))
    assert empty == 0
    assert torch.isfinite(torch.autograd.grad(empty, h_ND)[0]).all()


def test_sparse_gradients_are_the_dense_ones_and_touch_few_rows() -> None:
    dense, sparse = build(WIDE, samples=12), build(WIDE, samples=12, sparse=True)
    h_ND, y_N = rows_and_targets(WIDE)
    sample = torch.arange(0, 300, 25)
    dense.loss_on(h_ND, y_N, sample).backward()
    sparse.loss_on(h_ND, y_N, sample).backward()
    gradient = sparse.output.weight.grad
    assert gradient.is_sparse
    assert len(gradient.coalesce().indices()[0]) <= 64 + 12
    torch.testing.assert_close(gradient.to_dense(), dense.output.weight.grad)


def test_half_precision_and_autocast() -> None:
    trial = Trial(dtype="float32", vocabulary=300)
    h_ND, y_N = rows_and_targets(trial)
    for parameters in ({}, {"unique": False, "shared": False}, {"estimator": "blackout"}):
        head = build(trial, **parameters)
        with trials.seeded(trial):
            exact = head.loss(h_ND, y_N)
        with trials.seeded(trial), torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = head.loss(h_ND, y_N)
        mixed.backward()
        assert mixed.dtype == torch.float32
        assert trials.relative_error(mixed, exact) < 0.01


def test_tied_with_projection() -> None:
    with trials.seeded(EXACT):
        embedding = Lookup(width=5).build(trials.site(EXACT))
        head = importance_sampled.ImportanceSampled(samples=EXACT.vocabulary, tied=True).build(trials.site(EXACT, embedding=embedding))
    assert head.output.weight is embedding.weight
    h_ND, y_N = rows_and_targets(EXACT)
    torch.testing.assert_close(head.loss(h_ND, y_N), head.nll(h_ND, y_N).sum())


def test_more_samples_than_tokens_are_all_tokens() -> None:
    head = build(samples=10_000)
    assert head.sampler.draw().tolist() == list(range(EXACT.vocabulary))


def test_buffers_are_not_part_of_the_saved_model() -> None:
    assert sorted(build().state_dict()) == ["output.bias", "output.weight"]


@pytest.mark.slow
def test_training_by_samples_learns_the_distribution() -> None:
    """A table of context -> next token; the exact nll after training on samples comes close to that of training on everything."""
    trial = Trial(vocabulary=200, width=8, seed=4)
    found = {}
    for samples in (20, 200):
        head = build(trial, samples=samples)
        with trials.seeded(trial):
            context = torch.nn.Embedding(4, 8)
            truth = (torch.randn(4, 200) * 2).softmax(-1)
            optimizer = torch.optim.Adam([*head.parameters(), *context.parameters()], lr=0.05)
            for _ in range(200):
                c = torch.randint(4, (256,))
                y = torch.multinomial(truth[c], 1).squeeze(1)
                optimizer.zero_grad()
                (head.loss(context(c), y) / 256).backward()
                optimizer.step()
            cross = -(truth * head.log_prob(context.weight)).sum(-1).mean()
        found[samples] = float(cross.detach() + (truth * truth.log()).sum(-1).mean())
    assert found[200] < 0.1
    assert found[20] < 0.25
