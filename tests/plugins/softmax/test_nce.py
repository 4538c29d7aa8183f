"""Noise-contrastive estimation: closed form by draws, the constant log Z, the limit of many samples, padding, sparse gradients, tying."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from engines.api import Trial
from engines.toolbox import heads, trials
from plugins.embeddings.lookup import Lookup
from plugins.softmax import nce
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets

WIDE = Trial(batch=4, length=16, width=8, vocabulary=300, seed=11)


def build(trial: Trial = EXACT, **parameters: object) -> nce.NoiseContrastiveSoftmax:
    with trials.seeded(trial):
        return nce.NoiseContrastive(**{"samples": 8, **parameters}).build(trials.site(trial))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(nce))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


def gradient_of_the_bias(head: nce.NoiseContrastiveSoftmax, h_ND: Tensor, y_N: Tensor) -> Tensor:
    return torch.autograd.grad(head.loss(h_ND, y_N), head.output.bias)[0]


@pytest.mark.parametrize(("unique", "shared"), [(True, True), (False, True), (False, False)])
def test_drawn_gradients_average_to_the_closed_form(unique: bool, shared: bool) -> None:
    """Equation 6, by 400 draws of 10 tokens: as near as chance makes it, and far from the form with another constant."""
    head = build(WIDE, samples=10, unique=unique, shared=shared, log_normaliser=0.5)
    h_1D = rows_and_targets(WIDE)[0][:1].detach()
    p_V = torch.linspace(3, -3, 300, dtype=torch.float64).softmax(0)
    with trials.seeded(WIDE):
        targets = [torch.multinomial(p_V, 50, replacement=True) for _ in range(400)]
        drawn = torch.stack([gradient_of_the_bias(head, h_1D.expand(50, -1), y_N) / 50 for y_N in targets])
    chance = (drawn.var(0).sum() / len(drawn)).sqrt()
    e_V, c_V = (head.scores(h_1D)[0] - 0.5).exp().detach(), head.sampler.log_expected_V.exp()
    closed_V = c_V / (e_V + c_V) * (e_V - p_V)
    assert (drawn.mean(0) - closed_V).norm() < 2 * chance
    wrong_V = c_V / (2 * e_V + c_V) * (2 * e_V - p_V)
    assert (drawn.mean(0) - wrong_V).norm() > 4 * chance


def relative_error(k: int, z_is_off_by: float = 0.0) -> float:
    """How far the expected gradient, equation 6, is from that of maximum likelihood, for a model whose log Z is 0."""
    head = build(WIDE, samples=k, unique=False)
    with trials.seeded(WIDE):
        s_V = torch.randn(300).log_softmax(0)
        p_V = torch.randn(300).softmax(0)
    e_V, c_V = (s_V - z_is_off_by).exp(), head.sampler.log_expected_V.exp()
    full_V = s_V.exp() - p_V
    return float((c_V / (e_V + c_V) * (e_V - p_V) - full_V).norm() / full_V.norm())


def test_the_expected_gradient_becomes_that_of_likelihood_as_samples_grow_where_the_constant_is_right() -> None:
    errors = [relative_error(k) for k in (10, 100, 1000, 100_000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01
    # exp(s - z) sums to exp(-3.2) or exp(3.2) then, so no number of samples helps
    assert relative_error(100_000, 3.2) > 0.5
    assert relative_error(100_000, -3.2) > 5


def test_the_constant_follows_the_bias() -> None:
    assert build().log_normaliser == 0.0
    assert build(bias=False).log_normaliser == log(EXACT.vocabulary)
    assert build(bias=False, log_normaliser=9.0).log_normaliser == 9.0
    for parameters in ({}, {"bias": False}):
        head = build(**parameters)
        log_z = head.scores(torch.zeros(1, EXACT.width, dtype=torch.float64)).logsumexp(1)
        assert log_z.item() == pytest.approx(head.log_normaliser, abs=1e-9), "an untrained head without input is at the constant"


def test_the_penalty_pulls_the_normaliser_to_the_constant() -> None:
    trial = Trial(vocabulary=60, width=8, seed=2)
    spread = {}
    for penalty in (0.0, 1.0):
        head = build(trial, samples=30, penalty=penalty)
        with trials.seeded(trial):
            head.output.weight.data.normal_(std=0.7)
            optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
            for _ in range(80):
                h_ND = torch.randn(64, 8)
                optimizer.zero_grad()
                (head.loss(h_ND, (h_ND[:, 0] > 0).long()) / 64).backward()
                optimizer.step()
            spread[penalty] = float(head.scores(torch.randn(500, 8)).logsumexp(1).square().mean().detach())
    assert spread[1.0] < 0.3 * spread[0.0]


@pytest.mark.parametrize("shared", [True, False])
def test_padding_costs_nothing(shared: bool) -> None:
    head = build(penalty=0.1, unique=False, shared=shared)
    h_ND, y_N = rows_and_targets(EXACT, ignored=5)
    sample = torch.tensor([0, 3, 17]) if shared else torch.arange(3 * len(y_N)).view(-1, 3) % EXACT.vocabulary
    loss = head.loss_on(h_ND, y_N, sample)
    torch.testing.assert_close(loss, head.loss_on(h_ND[5:], y_N[5:], sample if shared else sample[5:]))
    assert (torch.autograd.grad(loss, h_ND)[0][:5] == 0).all()
    assert head.loss(h_ND, torch.full_like(y_N, heads.IGNORED)) == 0
    nothing = head.loss_on(h_ND, y_N, torch.tensor([], dtype=torch.int64))
    assert torch.isfinite(torch.autograd.grad(nothing, h_ND)[0]).all()


@pytest.mark.parametrize("shared", [True, False])
def test_sparse_gradients_are_the_dense_ones_and_touch_few_rows(shared: bool) -> None:
    dense, sparse = (build(WIDE, samples=3, unique=False, shared=shared, sparse=each) for each in (False, True))
    h_ND, y_N = rows_and_targets(WIDE)
    sample = torch.arange(0, 300, 100) if shared else torch.arange(192).view(64, 3)
    for head in (dense, sparse):
        head.loss_on(h_ND, y_N, sample).backward()
    gradient = sparse.output.weight.grad
    assert gradient.is_sparse
    assert len(gradient.coalesce().indices()[0]) <= 64 + sample.numel()
    torch.testing.assert_close(gradient.to_dense(), dense.output.weight.grad)
    before = sparse.output.weight.detach().clone()
    torch.optim.SparseAdam([sparse.output.weight], lr=0.1).step()
    touched = torch.cat((y_N, sample.flatten())).unique()
    moved = (sparse.output.weight != before).any(1).nonzero().squeeze(1)
    assert torch.equal(moved, touched)


def test_tied_with_projection() -> None:
    with trials.seeded(EXACT):
        embedding = Lookup(width=5).build(trials.site(EXACT))
        head = nce.NoiseContrastive(samples=EXACT.vocabulary, tied=True).build(trials.site(EXACT, embedding=embedding))
    assert head.output.weight is embedding.weight
    h_ND, y_N = rows_and_targets(EXACT)
    s_NV = F.linear(h_ND @ head.projection.weight.T, embedding.weight, head.output.bias)
    one_NV = F.one_hot(y_N, EXACT.vocabulary).double()
    both = F.binary_cross_entropy_with_logits(s_NV, one_NV, reduction="none") + F.softplus(s_NV) * one_NV
    torch.testing.assert_close(head.loss(h_ND, y_N), both.sum())


def test_half_precision_and_autocast() -> None:
    trial = Trial(dtype="float32", vocabulary=300)
    h_ND, y_N = rows_and_targets(trial)
    for shared in (True, False):
        head = build(trial, unique=False, shared=shared, penalty=0.1)
        with trials.seeded(trial):
            exact = head.loss(h_ND, y_N)
        with trials.seeded(trial), torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = head.loss(h_ND, y_N)
        mixed.backward()
        assert mixed.dtype == torch.float32
        assert trials.relative_error(mixed, exact) < 0.01
        with trials.seeded(trial):
            assert trials.relative_error(head.bfloat16().loss(h_ND.bfloat16(), y_N), exact) < 0.02


def test_samples_of_their_own_are_independent_draws() -> None:
    with pytest.raises(ValidationError, match="set unique = false, or shared = true"):
        nce.NoiseContrastive(shared=False)
    assert sorted(build().state_dict()) == ["output.bias", "output.weight"]
