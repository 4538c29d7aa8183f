"""The adaptive softmax: torch's numbers, padding, cutoffs, half precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from engines.api import Trial
from engines.toolbox import heads, trials
from engines.toolbox.adaptive import default_cutoffs, expected_cost, fitted_cutoffs
from plugins.softmax import adaptive
from tests.plugins.checks import EXACT, TRIALS, assert_holds, certificates
from tests.plugins.softmax.rows import rows_and_targets


def build(trial: Trial = EXACT, **parameters: object) -> adaptive.AdaptiveSoftmax:
    with trials.seeded(trial):
        return adaptive.Adaptive(**{"div_value": 2.0, **parameters}).build(trials.site(trial))


@pytest.mark.parametrize("trial", TRIALS)
@pytest.mark.parametrize("certificate", certificates(adaptive))
def test_certificates(certificate: Callable[[Trial], float], trial: Trial) -> None:
    assert_holds(certificate, trial)


@pytest.mark.parametrize("cutoffs", [None, (7,), (1, 2, 39)])
def test_nll_is_the_log_prob_of_the_target_and_padding_costs_nothing(cutoffs: tuple[int, ...] | None) -> None:
    head = build(cutoffs=cutoffs)
    h_ND, y_N = rows_and_targets(EXACT, ignored=3)
    nll_N = head.nll(h_ND, y_N)
    assert (nll_N[:3] == 0).all()
    torch.testing.assert_close(nll_N[3:], -head.log_prob(h_ND)[3:].gather(1, y_N[3:, None]).squeeze(1))
    torch.testing.assert_close(head.loss(h_ND, y_N), nll_N.sum())
    wanted = [h_ND, *head.parameters()]
    # a cluster without a target is not called at all
    ours = torch.autograd.grad(head.loss(h_ND, y_N), wanted, allow_unused=True, materialize_grads=True)
    theirs = torch.autograd.grad(-head.log_prob(h_ND)[3:].gather(1, y_N[3:, None]).sum(), wanted)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert head.loss(h_ND, torch.full_like(y_N, heads.IGNORED)) == 0


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    head = build()
    h_ND, y_N = rows_and_targets(EXACT)
    whole = head.nll(h_ND, y_N), *head.topk(h_ND, 4)
    monkeypatch.setattr(heads, "CHUNK_ELEMENTS", 5 * EXACT.vocabulary)
    for a, b in zip((head.nll(h_ND, y_N), *head.topk(h_ND, 4)), whole, strict=True):
        torch.testing.assert_close(a, b)


def test_default_cutoffs_follow_the_vocabulary() -> None:
    assert default_cutoffs(10_000) == (1000, 4000)
    for size in range(2, 60):
        cutoffs = default_cutoffs(size)
        assert cutoffs[0] > 0
        assert list(cutoffs) == sorted(set(cutoffs))
        assert cutoffs[-1] < size


def test_fitted_cutoffs_cost_least_of_all_pairs_that_keep_four_fifths_in_the_short_list() -> None:
    counts = trials.zipf_vocabulary(90).counts
    share = counts.cumsum() / counts.sum()
    for width, div_value in ((16, 2.0), (200, 4.0), (16, 1.0)):
        pairs = [(a, b) for a in range(1, 90) for b in range(a + 1, 90) if share[a - 1] >= 0.8]
        best = min(expected_cost(pair, counts, width, div_value) for pair in pairs)
        found = fitted_cutoffs(counts, width, div_value)
        assert found in pairs
        assert expected_cost(found, counts, width, div_value) == pytest.approx(best)


def test_expected_cost_counts_multiplications_of_the_modules_that_are_called() -> None:
    trial = Trial(vocabulary=60, width=8)
    counts = trials.site(trial).vocabulary.counts
    head = build(trial, cutoffs=())
    torch_counted = head.softmax.head.weight.numel()
    for tail, (low, high) in zip(head.softmax.tail, zip(head.bounds, head.bounds[1:], strict=False), strict=True):
        torch_counted += sum(p.numel() for p in tail.parameters()) * counts[low:high].sum() / counts.sum()
    assert expected_cost(head.bounds[:-1], counts, 8, 2.0) == pytest.approx(torch_counted / 8)
    assert repr(list(head.bounds[:-1])) in repr(head)


def test_fitted_cutoffs_fit_every_vocabulary() -> None:
    for size in (*range(2, 60), 1000):
        for counts in (trials.zipf_vocabulary(size).counts, np.ones(size, dtype=np.int64), np.eye(size, dtype=np.int64)[0]):
            cutoffs = fitted_cutoffs(counts, 16, 2.0)
            assert cutoffs[0] > 0
            assert list(cutoffs) == sorted(set(cutoffs))
            assert cutoffs[-1] < size


def test_an_untrained_head_without_input_knows_the_share_of_short_list_and_clusters() -> None:
    head = build()
    with trials.seeded(EXACT):
        counts = torch.tensor(trials.site(EXACT).vocabulary.counts).double() + 1.0
        p = head.log_prob(torch.zeros(1, EXACT.width))[0].exp()
    share = counts / counts.sum()
    torch.testing.assert_close(p[:4], share[:4])
    torch.testing.assert_close(p[4:16].sum(), share[4:16].sum())
    torch.testing.assert_close(p[16:].sum(), share[16:].sum())


def test_what_does_not_fit_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"cutoffs \[10, 40\] must stay below the vocabulary size 40; leave them out for \[4, 16\]"):
        build(cutoffs=(10, 40))
    with pytest.raises(ValueError, match=r"div_value 4 leaves cluster 2 no width \(hidden width 8\); take at most 2\.83"):
        build(div_value=4.0)
    for wrong in ((5, 5), (9, 3), (0, 4)):
        with pytest.raises(ValidationError, match="rising whole numbers from 1"):
            adaptive.Adaptive(cutoffs=wrong)


def test_half_precision_and_autocast() -> None:
    trial = Trial(dtype="float32", vocabulary=300)
    head = build(trial)
    h_ND, y_N = rows_and_targets(trial)
    exact = head.loss(h_ND, y_N)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = head.loss(h_ND, y_N)
    mixed.backward()
    assert mixed.dtype == torch.float32
    assert trials.relative_error(mixed, exact) < 0.01
    assert trials.relative_error(head.bfloat16().loss(h_ND.bfloat16(), y_N), exact) < 0.01
