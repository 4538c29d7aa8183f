"""Numbers and keys as people read them."""

from __future__ import annotations

import math

import pytest

from engines.report import labels


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (179.81, "179.8"), (5205.4, "5,205"), (8_000_000, "8M"), (1_234_567, "1.235M"), (3.2e12, "3.2T"), (0.00002, "2.000e-05"), (0, "0"),
        (None, "-"), (math.nan, "-"), (999.96, "1000"), (-1500.0, "-1,500"),
    ],
)  # fmt: skip
def test_figures_have_four_digits(value, text):
    assert labels.figure(value) == text


def test_keys_have_names_and_targets():
    assert labels.name("quality/test_perplexity@one core") == 'test perplexity on target "one core"'
    assert labels.short("size/model_mib") == "model MiB"
    assert labels.short("latency/p50_ms@phone") == "latency p50 ms @phone"
    assert labels.name("speed/infer_tokens_per_s/batch_16") == "inference speed at batch 16"
    assert labels.name("speed/infer_tokens_per_s/batch_1@phone") == 'inference speed at batch 1 on target "phone"'
    assert labels.short("speed/infer_tokens_per_s/batch_16") == "infer tokens/s b16"
    assert labels.name("speed/generate_tokens_per_s") == "generation speed"
    assert labels.name("quality/test_something_new") == "test something new"


def test_ratio_and_interval():
    assert labels.ratio({"ratio": 0.5512}) == "0.55x"
    assert labels.ratio({"ratio": 12.34}) == "12.3x"
    assert [labels.times(each) for each in (0.096, 0.094, 0.0047, 0.0)] == ["0.10x", "0.094x", "0.0047x", "0.00x"]
    assert labels.ratio({"ratio": None}) == ""
    assert labels.interval({"ratio_low": 0.51, "ratio_high": 0.6}) == "0.51 to 0.6"
    assert labels.interval({"ratio_low": 0.5, "ratio_high": 0.5}) == ""
    assert labels.interval({"ratio_low": None, "ratio_high": None}) == ""
    assert labels.interval({"ratio_low": 1.00011, "ratio_high": 1.00022}) == "1.0001 to 1.0002"


def test_columns_follow_the_metrics_of_the_experiment_and_spread_over_targets():
    comparison = {
        "metrics": ["latency/p50_ms", "quality/test_perplexity", "size/model_mib"],
        "variants": {
            "a": {"results": {"quality/test_perplexity": {}, "latency/p50_ms@b": {}, "x/y": {}}},
            "b": {"results": {"latency/p50_ms@a": {}}},
        },
    }
    assert labels.columns(comparison) == ["latency/p50_ms@a", "latency/p50_ms@b", "quality/test_perplexity"]
    assert labels.other_keys(comparison, labels.columns(comparison)) == ["x/y"]
