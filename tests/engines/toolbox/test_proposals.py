"""Proposals: probabilities, inclusion, alias tables, and draws that follow them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engines.toolbox.proposals import Independent, Poisson, ProposalKind, alias_table, inclusion, proposal

COUNTS = np.maximum(1, 5000 // np.arange(1, 401))
KINDS: tuple[ProposalKind, ...] = ("uniform", "unigram", "log_uniform")


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_sum_to_one_and_fall(kind: ProposalKind) -> None:
    q = proposal(kind, COUNTS, 0.75)
    assert q.sum() == pytest.approx(1.0, abs=1e-12)
    assert (np.diff(q) <= 1e-18).all()
    assert (q > 0).all()


def test_power_is_the_exponent_of_counts() -> None:
    q = proposal("unigram", np.array([16, 1, 0]), 0.5)
    assert q.tolist() == pytest.approx([4 / 6, 1 / 6, 1 / 6])
    assert proposal("unigram", COUNTS, 0.0).tolist() == pytest.approx(proposal("uniform", COUNTS).tolist())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 7, 200, 399])
def test_inclusion_adds_up_to_the_samples_asked_for(kind: ProposalKind, k: int) -> None:
    pi = inclusion(proposal(kind, COUNTS, 1.0), k)
    assert pi.sum() == pytest.approx(k, rel=1e-9)
    assert ((pi > 0) & (pi <= 1)).all()
    assert pi[-1] < 1


def test_inclusion_limits() -> None:
    q = proposal("unigram", COUNTS, 1.0)
    assert (inclusion(q, 400) == 1).all()
    assert inclusion(proposal("uniform", COUNTS), 100).tolist() == pytest.approx([0.25] * 400)
    # few samples of many tokens: nearly k q
    assert inclusion(q, 1)[200:] == pytest.approx(q[200:] * inclusion(q, 1)[-1] / q[-1], rel=1e-2)


def test_the_alias_table_gives_back_q_exactly() -> None:
    for kind in KINDS:
        q = proposal(kind, COUNTS, 1.0)
        accept, other = alias_table(q)
        rebuilt = accept.copy()
        np.add.at(rebuilt, other, 1.0 - accept)
        assert rebuilt / 400 == pytest.approx(q, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_follow_what_is_expected(kind: ProposalKind) -> None:
    """Chi-squared of 400 tokens within 6 standard deviations of its mean."""
    torch.manual_seed(0)
    q = proposal(kind, COUNTS, 1.0)
    for sampler, rounds in ((Poisson(q, 40), 4000), (Independent(q, 40), 4000)):
        drawn = torch.bincount(torch.cat([sampler.draw() for _ in range(rounds)]), minlength=400).double()
        expected = sampler.log_expected_V.double().exp() * rounds
        spread = expected * (1 - expected / rounds) if isinstance(sampler, Poisson) else expected * (1 - torch.tensor(q))
        chi_squared = ((drawn - expected) ** 2 / spread).sum()
        assert abs(chi_squared - 400) < 6 * (2 * 400) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_alias_draws_are_distributed_as_torchs_multinomial(kind: ProposalKind) -> None:
    """Both counts of 400,000 draws against each other: chi-squared of 400 tokens within 6 standard deviations of its mean."""
    torch.manual_seed(1)
    q = proposal(kind, COUNTS, 0.75)
    ours = torch.bincount(Independent(q, 400_000).draw(), minlength=400).double()
    theirs = torch.bincount(torch.multinomial(torch.tensor(q), 400_000, replacement=True), minlength=400).double()
    chi_squared = ((ours - theirs) ** 2 / (ours + theirs)).sum()
    assert abs(chi_squared - 400) < 6 * (2 * 400) ** 0.5


def test_draws_for_each_row_are_of_their_own() -> None:
    torch.manual_seed(2)
    q = proposal("unigram", COUNTS, 1.0)
    drawn = Independent(q, 40).draw(3000)
    assert drawn.shape == (3000, 40)
    assert len(drawn.unique(dim=0)) == 3000
    expected = torch.tensor(q) * drawn.numel()
    chi_squared = ((torch.bincount(drawn.flatten(), minlength=400) - expected) ** 2 / expected).sum()
    assert abs(chi_squared - 400) < 6 * (2 * 400) ** 0.5


def test_poisson_samples_differ_and_keep_their_number_on_average() -> None:
    torch.manual_seed(0)
    sampler = Poisson(proposal("unigram", COUNTS, 1.0), 40)
    samples = [sampler.draw() for _ in range(300)]
    assert all(len(ids.unique()) == len(ids) for ids in samples)
    assert np.mean([len(ids) for ids in samples]) == pytest.approx(40, abs=1.5)


def test_samplers_live_where_the_model_lives() -> None:
    sampler = Independent(proposal("uniform", COUNTS), 5).to("meta")
    assert sampler.draw().device.type == "meta"


def test_coins_fall_as_often_as_their_correction_says_however_rare_the_token() -> None:
    """What torch.rand draws are multiples of 2**-24: a chance between two of them would fall as often as the upper one."""
    q = np.array([1.0, 1e-3, 1e-9, 3e-12])
    sampler = Poisson(q / q.sum(), 2)
    steps = sampler.chance_V.double() * 2**24
    assert torch.equal(steps, steps.round())
    assert steps.min() == 1
    torch.testing.assert_close(sampler.log_expected_V.double(), sampler.chance_V.double().log(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("make", [Poisson, Independent])
def test_a_model_cast_to_half_precision_draws_what_it_drew_before(make: type[Poisson] | type[Independent]) -> None:
    q = proposal("unigram", COUNTS, 2.0)
    drawn = []
    for sampler in (make(q, 40), make(q, 40).bfloat16(), make(q, 40).half().double()):
        torch.manual_seed(3)
        drawn.append(torch.cat([sampler.draw() for _ in range(20)]))
        assert sampler.log_expected_V.dtype in (torch.float32, torch.float64)
    torch.testing.assert_close(sampler.log_expected_V.float(), make(q, 40).log_expected_V)
    assert torch.equal(drawn[0], drawn[1])
    if make is Poisson:
        assert len(drawn[0]) < 1.2 * 20 * 40
