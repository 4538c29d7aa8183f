"""Intervals cover what they say, verdicts follow the margin, the Pareto front equals brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import statistics as s


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    # Tables of Student's t, two-sided 5% (NIST/SEMATECH e-Handbook 1.3.6.7.2).
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (19, 2.093), (30, 2.042), (100, 1.984)],
)
def test_student_quantile_equals_the_tables(degrees, quantile):
    assert s.student_quantile(0.975, degrees) == pytest.approx(quantile, abs=6e-4)


def test_student_quantile_of_one_degree_is_the_cauchy_quantile():
    for probability in (0.5, 0.6, 0.9, 0.975, 0.999):
        assert s.student_quantile(probability, 1) == pytest.approx(math.tan(math.pi * (probability - 0.5)), rel=1e-9, abs=1e-12)


def coverage(interval, draw, truth, trials, seed):
    generator = np.random.default_rng(seed)
    hits = 0
    for _ in range(trials):
        found = interval(draw(generator))
        hits += found.low <= truth <= found.high
    return hits / trials


@pytest.mark.parametrize("n", [5, 8, 20])
def test_student_interval_of_paired_differences_covers_95_percent(n):
    # 4000 trials: the standard error of a share of 0.95 is 0.0034.
    share = coverage(s.student_interval, lambda g: g.normal(0.3, 1.7, n), 0.3, 4000, seed=n)
    assert 0.94 <= share <= 0.96


SHAPES = {
    "normal": (lambda g, n: g.normal(0, 1, n), 0.0),
    "heavy tails": (lambda g, n: g.standard_t(2, n), 0.0),
    "skewed, as slow rounds are": (lambda g, n: g.exponential(1, n), math.log(2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 7, 10, 21, 40])
@pytest.mark.parametrize("shape", SHAPES)
def test_median_interval_covers_at_least_its_level_and_is_not_absurdly_wide(shape, n):
    draw, truth = SHAPES[shape]
    share = coverage(lambda x: s.median_interval(x, resamples=1000), lambda g: draw(g, n), truth, 1000, seed=n)
    assert 0.93 <= share <= 0.995


def test_a_bootstrap_of_five_seeds_would_cover_too_little_which_is_why_t_is_used():
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(600):
        x = generator.normal(0, 1, 5)
        means = x[generator.integers(0, 5, (500, 5))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        hits += low <= 0 <= high
    assert hits / 600 < 0.90


def test_median_interval_is_seeded_and_refuses_few_rounds():
    rounds = np.random.default_rng(1).normal(size=15)
    assert s.median_interval(rounds) == s.median_interval(rounds)
    assert s.median_interval(rounds) == s.median_interval(rounds[::-1])
    few = s.median_interval(rounds[: s.FEWEST_ROUNDS - 1])
    assert few.value == np.median(rounds[: s.FEWEST_ROUNDS - 1])
    assert not few.known
    assert s.median_interval(rounds[: s.FEWEST_ROUNDS]).known
    assert s.median_interval([]).n == 0
    assert not s.student_interval([2.0]).known


def test_pairing_removes_what_the_pairs_share():
    generator = np.random.default_rng(3)
    drift = np.exp(generator.normal(0, 0.5, 30))  # a machine whose speed wanders by a factor
    baseline = 100 * drift
    variant = 125 * drift * np.exp(generator.normal(0, 0.01, 30))
    found = s.median_ratio(variant, baseline)
    assert found.low < 1.25 < found.high
    assert found.high / found.low < 1.03
    assert s.verdict(found.low, found.high, 0.02, "higher") == "better"


def test_paired_ratio_is_the_geometric_mean_with_a_t_interval():
    found = s.paired_ratio([2.0, 4.0, 8.0], [1.0, 1.0, 1.0])
    assert found.value == pytest.approx(4.0)
    half = 4.302652729911275 * math.log(2) / math.sqrt(3)
    assert math.log(found.high) == pytest.approx(math.log(4) + half, rel=1e-9)
    assert found.n == 3


@pytest.mark.parametrize(("values", "baseline"), [([1.0], [0.0]), ([-1.0], [1.0]), ([math.nan], [1.0]), ([1.0, 2.0], [1.0])])
def test_ratios_without_a_logarithm_are_refused(values, baseline):
    with pytest.raises(ValueError, match=r"Ratios need|Pairs need"):
        s.log_ratios(values, baseline)


@pytest.mark.parametrize(
    ("low", "high", "better", "expected"),
    [
        (0.90, 0.97, "lower", "better"),
        (0.90, 0.97, "higher", "worse"),
        (1.03, 1.2, "lower", "worse"),
        (1.03, 1.2, "higher", "better"),
        (0.99, 1.01, "lower", "no practical difference"),
        (1 / 1.02, 1.02, "higher", "no practical difference"),
        (0.97, 1.0, "lower", "not enough data"),
        (1.001, 1.5, "higher", "not enough data"),
        (0.5, 2.0, "lower", "not enough data"),
        (math.nan, 1.0, "lower", "not enough data"),
        (0.1, 0.2, "none", "not enough data"),
    ],
)
def test_verdict_needs_the_interval_to_clear_the_margin(low, high, better, expected):
    assert s.verdict(low, high, 0.02, better) == expected


def test_verdict_of_exact_values_needs_no_margin_where_none_is_asked():
    assert s.verdict(1.0, 1.0, 0.0, "lower") == "no practical difference"
    assert s.verdict(0.999, 0.999, 0.0, "lower") == "better"
    with pytest.raises(ValueError, match="margin"):
        s.verdict(1, 1, -0.1, "lower")


ratios = st.floats(0.05, 20)


@given(ratios, ratios, st.floats(0, 0.5))
def test_verdict_turns_over_with_the_direction_and_with_the_ratio(a, b, margin):
    low, high = min(a, b), max(a, b)
    opposite = {"better": "worse", "worse": "better"}
    found = s.verdict(low, high, margin, "lower")
    assert s.verdict(low, high, margin, "higher") == opposite.get(found, found)


values = st.one_of(st.integers(0, 4).map(float), st.just(math.nan))


@settings(max_examples=200)
@given(st.lists(st.tuples(values, values, values), max_size=8), st.tuples(*[st.sampled_from(["lower", "higher"])] * 3))
def test_pareto_front_equals_brute_force(points, better):
    def beats(a, b):
        signed = [(x, y) if direction == "lower" else (-x, -y) for x, y, direction in zip(a, b, better, strict=True)]
        return all(x <= y for x, y in signed) and any(x < y for x, y in signed)

    usable = [p for p in points if not any(math.isnan(x) for x in p)]
    expected = [not any(math.isnan(x) for x in p) and not any(beats(q, p) for q in usable) for p in points]
    assert s.pareto(points, better).tolist() == expected


def test_pareto_keeps_the_best_of_each_dimension():
    points = list(itertools.product([1.0, 2.0, 3.0], repeat=2))
    assert s.pareto(points, ["lower", "higher"]).nonzero()[0].tolist() == [points.index((1.0, 3.0))]
    with pytest.raises(ValueError, match="directions"):
        s.pareto(points, ["lower"])


def rounds_of(rows, launches):
    """Sequences of log-figures as mappings of round to figure, and the first round of each launch."""
    starts = [sum(launches[:n]) for n in range(len(launches))]
    return [dict(enumerate(np.exp(row))) for row in rows], starts


def test_launches_are_the_sample():
    rows, starts = rounds_of([[0.0] * 6, [0.01, 0.02, 0.03, 0.06, 0.07, 0.08]], (3, 3))
    pair = s.paired(rows[1], rows[0])
    between = s.between_launches([pair], starts)
    # Medians 0.02 and 0.07: mean 0.045, variance 0.00125, one degree of freedom (t = 12.7062).
    assert (between.variance, between.degrees, between.starts) == (pytest.approx(0.00125), 1, (0, 3))
    found = s.interleaved_ratio(rows[1], rows[0], between)
    assert np.log(found.value) == pytest.approx(0.045)
    assert np.log(found.high / found.value) == pytest.approx(12.7062 * np.sqrt(0.00125 / 2), rel=1e-5)


def test_a_pair_that_scatters_more_than_the_others_keeps_its_own_variance():
    rows, starts = rounds_of([[0.0] * 6, [0.01] * 3 + [0.011] * 3, [0.0] * 3 + [0.1] * 3], (3, 3))
    pairs = [s.paired(row, rows[0]) for row in rows[1:]]
    between = s.between_launches(pairs, starts)
    calm, wild = (s.interleaved_ratio(row, rows[0], between) for row in rows[1:])
    assert between.degrees == int(2 / 1.25)
    assert np.log(wild.high / wild.value) == pytest.approx(12.7062 * np.sqrt(0.005 / 2), rel=1e-5)
    assert np.log(calm.high / calm.value) == pytest.approx(12.7062 * np.sqrt(between.variance / 2), rel=1e-5)


def test_a_single_launch_falls_back_on_its_rounds():
    rows, starts = rounds_of([[0.0] * 6, [0.01, 0.02, 0.03] * 2], (6,))
    between = s.between_launches([s.paired(rows[1], rows[0])], starts)
    assert between.degrees == 0
    assert s.interleaved_ratio(rows[1], rows[0], between) == s.median_ratio(list(rows[1].values()), [1.0] * 6)


def test_pairs_of_rounds_are_those_that_both_have():
    assert s.paired({0: 2.0, 1: 4.0, 3: 0.0, 4: 1.0}, {1: 2.0, 2: 1.0, 3: 1.0, 4: 1.0}) == {1: pytest.approx(np.log(2)), 4: 0.0}
    assert s.between_launches([], [0, 3]) == s.Between(starts=(0, 3))
    assert s.between_launches([{0: 1.0, 1: 1.0}, {7: 2.0}], [0, 5]).degrees == 0


@pytest.mark.parametrize("luck", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("launches", [(3, 3), (2, 2, 2, 2, 2)])
def test_the_interval_covers_the_truth_where_processes_are_lucky(luck, launches):
    """luck: standard deviation of a launch's log-ratio over that of a round. Baseline, control and a variant, as the smallest session has."""
    draw, trials, covered, plain = np.random.default_rng(3), 300, 0, 0
    launch = np.repeat(np.arange(len(launches)), launches)
    for _ in range(trials):
        figures = draw.normal(0, luck, (3, len(launches)))[:, launch] + draw.normal(0, 1, (3, len(launch)))
        (base, again, own), starts = rounds_of(0.01 * figures, launches)
        between = s.between_launches([s.paired(again, base), s.paired(own, base)], starts)
        found, narrow = s.interleaved_ratio(own, base, between), s.interleaved_ratio(own, base, s.Between())
        covered += found.low <= 1 <= found.high
        plain += narrow.low <= 1 <= narrow.high
    assert covered / trials >= 0.93
    if luck == 2.0:
        assert plain / trials < 0.9  # rounds alone understate it


def test_of_many_launches_the_most_extreme_are_left_out():
    """Yuen's trimmed t by hand: of eight medians the lowest (-0.5) and the highest (0.08) go."""
    rows, starts = rounds_of([[0.0] * 8, [-0.5, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08]], (1,) * 8)
    between = s.between_launches([s.paired(rows[1], rows[0])], starts)
    edged = [0.01, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.06]
    assert between.degrees == 5
    assert between.variance / 8 == pytest.approx(7 * np.var(edged, ddof=1) / (6 * 5))
    found = s.interleaved_ratio(rows[1], rows[0], between)
    assert np.log(found.value) == pytest.approx(0.035)
    assert np.log(found.high / found.value) == pytest.approx(2.570582 * np.sqrt(between.variance / 8), rel=1e-5)


def test_a_disturbed_launch_takes_no_verdict_away():
    """16 launches of a pair that is slower by 5%: other work beside one in ten of them (8% rms) hides it from a plain mean in one case of ten."""
    draw, trials, truth = np.random.default_rng(5), 400, np.log(1 / 1.05)
    found = {"clean": 0, "disturbed": 0}
    covered = dict(found)
    for _ in range(trials):
        clean = truth + draw.normal(0, 0.015, 16)
        for which, medians in (("clean", clean), ("disturbed", clean + draw.normal(0, 0.08, 16) * (draw.random(16) < 0.1))):
            rows, starts = rounds_of([[0.0] * 16, medians], (1,) * 16)
            between = s.between_launches([s.paired(rows[1], rows[0])], starts)
            each = s.interleaved_ratio(rows[1], rows[0], between)
            found[which] += s.verdict(each.low, each.high, 0.02, "higher") == "worse"
            covered[which] += each.low <= np.exp(truth) <= each.high
    assert min(found.values()) >= 0.97 * trials
    assert min(covered.values()) >= 0.93 * trials


def test_pairs_that_share_the_baseline_count_for_less_than_as_many_of_their_own():
    rows, starts = rounds_of([[0.01 * (n % 3) for n in range(9)], *([0.02 * ((n + k) % 3) for n in range(9)] for k in range(5))], (3, 3, 3))
    pairs = [s.paired(row, rows[0]) for row in rows[1:]]
    assert [s.between_launches(pairs[:n], starts).degrees for n in (1, 2, 5)] == [2, 3, 5]
