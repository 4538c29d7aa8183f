"""Two models judged on the same pairs of texts: the paired bootstrap against scipy's, and how the comparison uses it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from engines import overtexts
from engines.judging import Measured, entry
from engines.overtexts import Resamples
from engines.toolbox.correlation import kept, resampled, spearman

KEY = "quality/test_spearman"
PAIRS = 400


@pytest.fixture(scope="module")
def judged() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What people say of the pairs, and the cosines of a model and of one that is a little worse."""
    draw = np.random.default_rng(3)
    gold = draw.uniform(size=PAIRS)
    good = gold + 0.3 * draw.normal(size=PAIRS)
    return gold, good, good + 0.25 * draw.normal(size=PAIRS)


def resamples(cosine: np.ndarray, gold: np.ndarray) -> Resamples:
    found = overtexts.resamples_of(kept(resampled(spearman, cosine, gold), gold) | {"pairs": len(gold)})
    assert found is not None
    return found


def measured(value: float | None, found: Resamples, seeds: int = 1, untrained: bool = True) -> Measured:
    return Measured("", "higher", dict.fromkeys(range(seeds), value or math.nan), resamples=dict.fromkeys(range(seeds), found), untrained=untrained)


def test_the_difference_is_that_of_scipys_paired_bootstrap(judged):
    gold, good, worse = judged
    values = spearman(good, gold), spearman(worse, gold)
    found = overtexts.difference([values[1]], [values[0]], [resamples(worse, gold)], [resamples(good, gold)])

    def apart(one, other, gold):
        return stats.spearmanr(one, gold).statistic - stats.spearmanr(other, gold).statistic

    theirs = stats.bootstrap(
        (worse, good, gold), apart, paired=True, vectorized=False, n_resamples=1000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.value == pytest.approx(apart(worse, good, gold), abs=1e-12)
    # Two sets of 1,000 resamples agree on an interval but for chance.
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.15 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.15 * width)
    assert found.n == PAIRS


def test_pairing_is_what_makes_it_narrow(judged):
    gold, good, worse = judged
    ours = overtexts.difference([0.0], [0.0], [resamples(worse, gold)], [resamples(good, gold)])
    apart = math.hypot(*(float(np.std(resamples(each, gold).figures)) for each in (good, worse)))
    assert ours.high - ours.low < 0.8 * 2 * 1.96 * apart


def test_other_texts_are_no_pairs(judged):
    gold, good, _ = judged
    half = resamples(good[: PAIRS // 2], gold[: PAIRS // 2])
    assert overtexts.difference([0.8], [0.8], [resamples(good, gold)], [half]) is None
    assert overtexts.ratio(0.8, 0.8, resamples(good, gold), half) is None


def test_a_figure_without_resamples_keeps_none():
    assert overtexts.resamples_of({}) is None
    assert overtexts.difference([], [], [], []) is None


def test_too_few_resamples_with_a_figure_carry_no_limits(judged):
    gold, good, _ = judged
    found = resamples(good, gold)
    holes = Resamples(found.drawn, found.pairs, np.where(np.arange(len(found.figures)) % 5 == 0, np.nan, found.figures))
    assert not overtexts.own(0.8, holes).known
    assert overtexts.own(0.8, found).known


def test_untrained_models_are_judged_over_the_texts(judged):
    """One seed says it all where nothing was trained: five would be copies."""
    gold, good, worse = judged
    sides = [measured(spearman(each, gold), resamples(each, gold)) for each in (worse, good)]
    found = entry(KEY, *sides, 0.02)
    assert found["verdict"] == "worse"
    assert found["ratio_low"] < found["ratio"] < found["ratio_high"] < 1
    assert found["over_texts"]["pairs"] == PAIRS
    assert found["over_texts"]["low"] < found["over_texts"]["difference"] < found["over_texts"]["high"] < 0


def test_trained_models_still_need_five_seeds(judged):
    gold, good, worse = judged
    sides = [measured(spearman(each, gold), resamples(each, gold), untrained=False) for each in (worse, good)]
    found = entry(KEY, *sides, 0.02)
    assert found["verdict"] == "not enough data"
    assert found["over_texts"]["high"] < 0


def test_a_model_is_no_different_from_itself(judged):
    gold, good, _ = judged
    side = measured(spearman(good, gold), resamples(good, gold))
    found = entry(KEY, side, side, 0.02)
    assert found["verdict"] == "no practical difference"
    assert found["over_texts"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "pairs": PAIRS}
