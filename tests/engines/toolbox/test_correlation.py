"""Rank correlation against scipy's, and its bootstrap: coverage, pairing, what is kept of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from engines.toolbox import correlation
from engines.toolbox.correlation import bounds, interval, kept, mean_ranks, pearson, resampled, spearman


def test_correlations_equal_scipys_with_ties_too() -> None:
    draw = np.random.default_rng(0)
    for _ in range(5):
        one, other = draw.standard_normal(200), draw.integers(0, 6, 200).astype(float)
        assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic, abs=1e-12)
        assert pearson(one, other) == pytest.approx(stats.pearsonr(one, other).statistic, abs=1e-12)
    assert mean_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]
    for bad in ([1.0, 1.0, 1.0], [1.0, np.nan, 1.0]):
        assert spearman(np.array(bad), np.array([1.0, 2.0, 3.0])) is None


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Pairs of a normal distribution with correlation 0.5, whose rank correlation is 6 / pi asin(0.25)."""
    draw, truth, hits = np.random.default_rng(1), 6 / np.pi * np.arcsin(0.25), 0
    for _ in range(40):
        x, noise = draw.standard_normal((2, 100))
        low, high = interval(x, 0.5 * x + np.sqrt(0.75) * noise)
        hits += low <= truth <= high
    assert hits >= 34


def test_resamples_of_two_models_are_pairs() -> None:
    """A model that differs by little is far nearer resample by resample than the width of either interval."""
    draw = np.random.default_rng(2)
    y = draw.standard_normal(300)
    one = y + draw.standard_normal(300)
    other = one + 0.01 * draw.standard_normal(300)
    a, b = resampled(spearman, one, y), resampled(spearman, other, y)
    low, high = bounds(b - a)
    wide = np.subtract(*bounds(a)[::-1])
    assert (high - low) < 0.05 * wide
    assert low <= spearman(other, y) - spearman(one, y) <= high  # type: ignore[operator]
    # As scipy's, whose resamples are its own: both ends within a tenth of the width.
    theirs = stats.bootstrap(
        (one, y), lambda x, y: stats.spearmanr(x, y).statistic, paired=True, vectorized=False, n_resamples=1000, method="percentile", rng=0
    ).confidence_interval  # fmt: skip
    assert bounds(a) == pytest.approx((theirs.low, theirs.high), abs=0.1 * wide)


def test_what_is_kept_is_plain_and_sealed_by_what_was_judged_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation, "RESAMPLES", 20)
    y = np.arange(8.0)
    detail = kept(resampled(spearman, np.ones(8), y), y)
    assert json.loads(json.dumps(detail, allow_nan=False)) == detail
    assert detail["resampled"] == [None] * 20
    assert detail["drawn"] == kept(np.ones(20), y)["drawn"] != kept(np.ones(20), y[::-1])["drawn"]
