"""A comparison made by the real judging from made-up measurements: two techniques, a hostile name, a failed variant."""

from __future__ import annotations

import numpy as np
import pytest

from engines.case import Case
from engines.explaining import explanations
from engines.judging import Measured, baseline_entry, entry
from engines.savings import savings

HOSTILE = '<script>alert("x")</script> & $50_%'


def measured(generator, scale, learned=True):
    def seeds(middle, spread, unit, better, factor=1.0):
        values = middle * factor * np.exp(generator.normal(0, spread, 5))
        return Measured(unit, better, {seed: float(v) for seed, v in enumerate(values)})

    def rounds(middle, unit, better):
        values = middle * np.exp(generator.normal(0, 0.004, 12))
        return Measured(unit, better, {0: middle}, {n: float(v) for n, v in enumerate(values)})

    def exactly(value, unit):
        return Measured(unit, "lower", dict.fromkeys(range(5), value))

    return {
        "quality/test_perplexity": seeds(180.0, 0.004, "", "lower", 1 + 0.1 * (1 - scale)),
        "quality/test_unigram_perplexity": seeds(700.0, 0, "", "none"),
        "speed/train_tokens_per_s": seeds(5200 / scale, 0.01, "tokens/s", "higher"),
        "speed/infer_tokens_per_s": rounds(15000 / scale, "tokens/s", "higher"),
        "latency/p50_ms": rounds(2.1 * scale, "ms", "lower"),
        "memory/train_peak_host_mib": seeds(640 * scale, 0.003, "MiB", "lower"),
        "size/model_mib": seeds(30.5 * scale, 0, "MiB", "lower"),
        "size/parameters": seeds(8_000_000 * scale, 0, "", "lower"),
        "size/nonzero_parameters": exactly(8_000_000 * (scale if scale < 0.9 else 0.2 if scale < 1 else 1), ""),
        "compute/flops_per_token": exactly(16e6 * scale, "FLOP/token"),
        "cost/train_s": seeds(60 * scale, 0.01, "s", "lower"),
        "cost/train_tokens": seeds(2_000_000, 0, "tokens", "lower"),
    }


@pytest.fixture
def comparison():
    generator = np.random.default_rng(7)
    base = measured(generator, 1.0)
    variants = {"full": ({key: baseline_entry(key, m) for key, m in base.items()}, [])}
    for name, scale in (("adaptive", 0.55), (HOSTILE, 0.999)):
        own = measured(generator, scale)
        variants[name] = ({key: entry(key, m, base[key], 0.02) for key, m in own.items()}, [])
    metrics = ["quality/test_perplexity", "speed/train_tokens_per_s", "speed/infer_tokens_per_s", "latency/p50_ms",
               "memory/train_peak_host_mib", "size/model_mib"]  # fmt: skip
    failure = {"run": 4, "seed": 0, "status": "failed", "reason": "Killed by the system: out of memory.", "advice": "Use a smaller batch."}
    variants["broken"] = ({}, [failure])
    return {
        "experiment": "Which output layer for 10k words?", "baseline": "full", "experiments": [1], "margin": 0.02, "level": 0.95, "trials": [],
        "metrics": metrics,
        "warnings": ["1 of 4 runs is not finished yet."],
        "control": {"latency/p50_ms": {"ratio": 1.0, "ratio_low": 0.99, "ratio_high": 1.01, "n": 12}},
        "verdicts": {"made": 14, "exact": 6, "all": {}, "judging": {}},
        "variants": {
            name: {
                "runs": [number], "status": {"failed": 1} if failures else {"done": 1}, "failures": failures, "techniques": ["optimization/adam"],
                "effects": [{"technique": "pruning/magnitude", "hook": "finish", "sentence": "Non-zero: 8,000,000 to 1,600,000.", "facts": {}}],
                "notes": [], "results": results, "savings": savings(results, variants["full"][0], metrics=metrics),
                "explanations": explanations(Case(results, variants["full"][0], 0.02, metrics)) if name != "full" else [],
                "differences": [{"key": "model.head", "old": {"id": "softmax/full"}, "new": {"id": f"softmax/{name}"}}] if name != "full" else [],
            }
            for number, (name, (results, failures)) in enumerate(variants.items(), start=1)
        },
    }  # fmt: skip
