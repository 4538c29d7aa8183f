"""Claims, bytes, work and speed side by side; what exists on paper alone says so."""

from __future__ import annotations

import pytest

from engines.judging import Measured, baseline_entry, entry
from engines.savings import GROUPS, savings, shown, zero_share

PLAIN = {
    "size/parameters": 1000.0, "size/nonzero_parameters": 1000.0, "size/model_mib": 4000 / 2**20, "compute/flops_per_token": 2000.0,
    "quality/test_perplexity": 50.0, "cost/train_s": 10.0,
}  # fmt: skip


def results(**factors):
    """Results of the baseline, and of a variant whose figures are these times the baseline's (key with / and dots as __)."""
    named = {key.replace("__", "/"): factor for key, factor in factors.items()}
    base = {key: Measured("", "lower", dict.fromkeys(range(5), value)) for key, value in PLAIN.items()}
    own = {key: Measured("", "lower", {seed: value * named.get(key, 1.0) for seed, value in each.by_seed.items()}) for key, each in base.items()}
    speed = Measured("tokens/s", "higher", {}, dict.fromkeys(range(10), 100.0))
    base["speed/infer_tokens_per_s"] = speed
    own["speed/infer_tokens_per_s"] = Measured("tokens/s", "higher", {}, {n: 100.0 * named.get("speed", 1.0) for n in range(10)})
    return {key: entry(key, each, base[key], 0.02) for key, each in own.items()}, {key: baseline_entry(key, each) for key, each in base.items()}


def effect(technique, **facts):
    return {"technique": technique, "hook": "finish", "sentence": "", "facts": facts}


def changed(technique, nonzero=(1000, 1000), held=(4000, 4000), parameters=(1000, 1000)):
    pairs = {"nonzero": nonzero, "bytes": held, "parameters": parameters}
    return effect(technique, **{f"{name}_{when}": pair[index] for name, pair in pairs.items() for index, when in enumerate(("before", "after"))})


def row(found, group, key):
    return next(each for each in found[group] if each["key"] == key)


def test_every_group_is_there_and_holds_ratios_with_verdicts():
    own, base = results(size__model_mib=0.6, speed=1.5)
    found = savings(own, base)
    assert tuple(found) == GROUPS
    stored = row(found, "stored", "size/model_mib")
    assert (stored["ratio"], stored["low"], stored["verdict"], stored["simulated"]) == (pytest.approx(0.6), pytest.approx(0.6), "better", False)
    assert row(found, "measured", "speed/infer_tokens_per_s")["ratio"] == pytest.approx(1.5)
    assert row(found, "quality", "quality/test_perplexity")["verdict"] == "no practical difference"
    assert found["moved"] == []  # not measured, so absent


def test_zeros_in_a_dense_model_are_simulated():
    own, base = results(size__nonzero_parameters=0.2)
    assert zero_share(own) == pytest.approx(0.8)
    for effects in ([], [changed("theirs/zeroing", nonzero=(1000, 200))]):
        assert row(savings(own, base, effects), "nominal", "size/nonzero_parameters")["simulated"]


def test_zeros_stay_simulated_where_another_technique_shrank_the_file():
    own, base = results(size__nonzero_parameters=0.2, size__model_mib=0.3)
    effects = [changed("theirs/zeroing", nonzero=(1000, 200)), changed("theirs/coarse", nonzero=(200, 200), held=(4000, 1200))]
    assert row(savings(own, base, effects), "nominal", "size/nonzero_parameters")["simulated"]
    assert not row(savings(own, base, effects[1:]), "nominal", "size/nonzero_parameters")["simulated"]


def test_weights_that_are_gone_are_not_simulated():
    own, base = results(size__nonzero_parameters=0.5, size__parameters=0.5, size__model_mib=0.5, compute__flops_per_token=0.5)
    effects = [changed("theirs/structured", nonzero=(1000, 500), held=(4000, 2000), parameters=(1000, 500))]
    assert not any(each["simulated"] for each in savings(own, base, effects)["nominal"])


def test_stated_bits_count_against_the_bits_of_the_baseline_and_need_a_smaller_file():
    own, base = results()
    found = row(savings(own, base, [effect("theirs/rounding", bits=4, weights=500)]), "nominal", "nominal/bits")
    assert found["ratio"] == pytest.approx((500 * 4 + 500 * 32) / (1000 * 32))
    assert found["simulated"]
    own, base = results(size__model_mib=0.6)
    assert not row(savings(own, base, [effect("theirs/packing", bits=4, weights=500)]), "nominal", "nominal/bits")["simulated"]


def test_stated_bits_are_borne_out_by_narrower_numbers_alone():
    rounding = [effect("theirs/rounding", bits=4, weights=500)]
    fewer = {"size__parameters": 0.5, "size__nonzero_parameters": 0.5, "size__model_mib": 0.5, "compute__flops_per_token": 0.5}
    own, base = results(**fewer)
    work, baseline_work = ({"per_token": {"training_flops": flops}} for flops in (300, 600))
    assert row(savings(own, base, rounding, work=work, baseline_work=baseline_work), "nominal", "nominal/bits")["simulated"]
    own, base = results(**fewer | {"size__model_mib": 0.3})
    assert not row(savings(own, base, rounding), "nominal", "nominal/bits")["simulated"]


def test_recorded_work_is_held_against_the_baselines():
    own, base = results()
    found = savings(own, base, work={"per_token": {"training_flops": 300, "training_bytes": 8}}, baseline_work={"per_token": {"training_flops": 600}})
    assert row(found, "executed", "executed/training_flops")["ratio"] == 0.5
    assert found["moved"] == []


def test_the_column_is_of_the_target_that_most_variants_were_measured_on():
    def measured(*keys):
        return {"savings": {"measured": [{"key": key} for key in keys]}}

    infer = "speed/infer_tokens_per_s"
    variants = {"a": measured(f"{infer}@graph", f"{infer}@plain"), "b": measured(f"{infer}@plain"), "c": measured(f"{infer}@graph/batch_1")}
    assert shown({"variants": variants, "metrics": [infer]}) == [("measured", f"{infer}@plain")]
    del variants["b"]
    assert shown({"variants": variants, "metrics": [infer]}) == [("measured", f"{infer}@graph")]
