"""Which rule judges a quantity, and what it says when there is not enough to go by."""

from __future__ import annotations

import json
import math

import pytest

from engines.judging import Measured, baseline_entry, entry, kind_of

SEEDS = range(5)


def seeds(*values, better="lower", unit=""):
    return Measured(unit, better, dict(enumerate(values)))


def rounds(values, better="higher"):
    return Measured("tokens/s", better, {0: 1.0}, dict(enumerate(values)))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("size/parameters", "counts"), ("size/model_mib@phone", "counts"), ("compute/flops_per_token", "counts"), ("cost/train_tokens", "counts"),
        ("cost/train_flops", "counts"), ("cost/train_s", "timed"), ("speed/train_tokens_per_s", "timed"), ("latency/p50_ms@one core", "timed"),
        ("energy/joules_per_token", "timed"), ("quality/test_perplexity", "paired"), ("memory/train_peak_host_mib", "paired"),
    ],
)  # fmt: skip
def test_a_key_says_how_it_is_judged(key, kind):
    assert kind_of(key) == kind


def test_counts_are_judged_from_one_value():
    found = entry("size/model_mib", seeds(15.0), seeds(30.0), 0.02)
    assert (found["verdict"], found["ratio"], found["ratio_low"], found["ratio_high"]) == ("better", 0.5, 0.5, 0.5)
    assert entry("size/model_mib", seeds(30.3), seeds(30.0), 0.02)["verdict"] == "no practical difference"
    assert entry("size/nonzero_parameters", seeds(31.0), seeds(30.0), 0.02)["verdict"] == "worse"


def test_counts_that_differ_between_seeds_span_their_ratios():
    found = entry("size/nonzero_parameters", seeds(50.0, 70.0), seeds(100.0, 100.0), 0.02)
    assert (found["low"], found["high"]) == (50.0, 70.0)
    assert found["ratio_low"] == pytest.approx(0.5)
    assert found["ratio_high"] == pytest.approx(0.7)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_fewer_than_five_seeds_carry_no_interval_and_no_verdict(count):
    found = entry("quality/test_perplexity", seeds(*[90.0] * count), seeds(*[180.0] * count), 0.02)
    assert found["verdict"] == "not enough data"
    assert found["ratio"] == pytest.approx(0.5)
    assert found["ratio_low"] is None
    assert found["low"] is None
    assert found["n"] == count
    assert "a verdict needs 5" in found["reason"]


def test_five_seeds_with_a_clear_difference_carry_a_verdict():
    baseline = seeds(180.0, 181.0, 179.5, 180.4, 179.9)
    found = entry("quality/test_perplexity", seeds(160.0, 160.9, 159.7, 160.2, 160.1), baseline, 0.02)
    assert found["verdict"] == "better"
    assert found["ratio_low"] < found["ratio"] < found["ratio_high"] < 1 / 1.02
    assert found["reason"] == ""
    # A reader who divides the two figures gets the ratio.
    assert found["ratio"] == pytest.approx(found["value"] / baseline_entry("quality/test_perplexity", baseline)["value"])


def test_five_seeds_that_scatter_say_so():
    found = entry("quality/test_perplexity", seeds(100, 220, 150, 190, 170), seeds(180, 181, 179, 180, 180), 0.02)
    assert found["verdict"] == "not enough data"
    assert "margin of 2.0%" in found["reason"]


def test_only_seeds_of_both_are_paired():
    variant = Measured("", "lower", {1: 90.0, 2: 91.0, 3: 92.0, 4: 93.0, 5: 94.0})
    found = entry("quality/test_perplexity", variant, seeds(100, 100, 100, 100, 100), 0.02)
    assert found["pairs"] == 4
    assert found["n"] == 5
    assert found["verdict"] == "not enough data"


def test_no_common_seed_leaves_a_plain_quotient():
    found = entry("quality/test_perplexity", Measured("", "lower", {7: 90.0}), seeds(180.0), 0.02)
    assert found["ratio"] == pytest.approx(0.5)
    assert "share no finished seed" in found["reason"]


@pytest.mark.parametrize(("key", "why"), [
    ("speed/infer_tokens_per_s", "Timed in separate runs, not in interleaved rounds."),
    ("speed/train_tokens_per_s", "Timed in separate runs, not in interleaved rounds."),
    ("cost/train_s", "The time of whole runs, made one after another"),
])  # fmt: skip
def test_speed_of_separate_runs_is_shown_and_not_judged(key, why):
    fast, slow = seeds(*[200.0] * 8, better="higher"), seeds(*[100.0] * 8, better="higher")
    found = entry(key, fast, slow, 0.02)
    assert (found["verdict"], found["ratio"], found["ratio_low"]) == ("not enough data", pytest.approx(2.0), None)
    assert why in found["reason"]


def test_speed_of_interleaved_rounds_is_judged():
    drift = [1.0, 0.8, 1.3, 0.9, 1.1, 0.7, 1.2, 1.0]
    found = entry("speed/infer_tokens_per_s", rounds([150 * d for d in drift]), rounds([100 * d for d in drift]), 0.02)
    assert found["verdict"] == "better"
    assert found["interleaved"]
    assert found["n"] == 8
    assert found["ratio_low"] == pytest.approx(1.5)
    lower = entry("latency/p50_ms", rounds(drift, "lower"), rounds([d / 2 for d in drift], "lower"), 0.02)
    assert lower["verdict"] == "worse"


def test_few_interleaved_rounds_decide_nothing():
    found = entry("speed/infer_tokens_per_s", rounds([2.0] * 5), rounds([1.0] * 5), 0.02)
    assert found["verdict"] == "not enough data"
    assert "Only 5 interleaved rounds; a verdict needs 6." in found["reason"]


def test_an_obstacle_keeps_the_figures_and_refuses_the_verdict():
    found = entry("size/model_mib", seeds(15.0), seeds(30.0), 0.02, "Measured on different machines.")
    assert (found["value"], found["ratio"], found["verdict"], found["reason"]) == (15.0, 0.5, "not enough data", "Measured on different machines.")


def test_what_the_baseline_lacks_has_a_value_and_no_ratio():
    found = entry("memory/train_peak_device_mib", seeds(10.0), None, 0.02)
    assert (found["value"], found["ratio"], found["verdict"]) == (10.0, None, "not enough data")


def test_figures_that_are_not_above_zero_have_no_ratio():
    found = entry("quality/test_accuracy", seeds(0.0, 0.1, 0.2, 0.1, 0.1, better="higher"), seeds(*[0.2] * 5, better="higher"), 0.02)
    assert found["value"] == pytest.approx(0.1)
    assert (found["ratio"], found["verdict"]) == (None, "not enough data")


def test_quantities_without_a_better_direction_are_not_judged():
    found = entry("quality/test_unigram_perplexity", seeds(*[700.0] * 5, better="none"), seeds(*[900.0] * 5, better="none"), 0.02)
    assert found["verdict"] == "not enough data"


def test_one_figure_is_shown_exactly_and_everything_is_json():
    value = 179.81010306998482
    found = entry("quality/test_perplexity", seeds(value), seeds(0.1 + 0.2), 0.02)
    assert found["value"] == value
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert not math.isnan(found["value"])


def test_the_baseline_equals_itself():
    found = baseline_entry("speed/train_tokens_per_s", seeds(100.0, better="higher"))
    assert (found["ratio"], found["ratio_low"], found["ratio_high"], found["verdict"]) == (1.0, 1.0, 1.0, "no practical difference")


def test_a_price_is_not_divided_by_that_of_a_baseline_that_was_not_trained():
    found = entry("cost/train_s", seeds(0.2), Measured("s", "lower", {0: 5e-6}, untrained=True), 0.02)
    assert found["ratio"] is None
    assert "no price to divide by" in found["reason"]
    assert entry("size/model_mib", seeds(15.0), Measured("", "lower", {0: 30.0}, untrained=True), 0.02)["ratio"] == 0.5
