"""Verdicts in words."""

from __future__ import annotations

from engines.report import sentences


def test_every_verdict_is_a_sentence_with_its_figures(comparison):
    variant = comparison["variants"]["adaptive"]
    parts = {part["verdict"]: part["text"] for part in sentences.of_variant(variant, sorted(variant["results"]))}
    assert list(parts) == ["better", "worse", "no practical difference", "not enough data"]
    assert "inference speed 27,265 tokens/s (1.83x the baseline, 1.82 to 1.83)" in parts["better"]
    assert parts["worse"].startswith("test perplexity 188.1 (1.05x the baseline")
    assert parts["no practical difference"] == "training tokens 2M tokens (1.00x the baseline)."
    assert parts["not enough data"].endswith("timed in separate runs, not in interleaved rounds.")
    assert "word frequencies" not in " ".join(parts.values())


def test_the_headline_has_one_sentence_a_variant(comparison):
    found = sentences.headline(comparison)
    assert len(found) == 3
    assert found[0].startswith("adaptive: better in inference speed (1.83x, 1.82 to 1.83), median latency (0.55x, 0.547 to 0.553),")
    assert "; worse in test perplexity (1.05x, 1.04 to 1.05); not enough data to judge training speed (1.82x)." in found[0]
    assert found[2] == "broken: has no figures (1 failed)."


def test_the_method_counts_its_verdicts(comparison):
    text = " ".join(sentences.method(comparison))
    assert "makes 14 verdicts in all, 6 of them on exact counts" in text
    assert "up to 0.4 of the others may be wrong by chance" in text
    assert "what was tried before they were written down is not recorded" in text
    assert "trials" not in text
    comparison["trials"] = [{"variants": [f"half {n}" for n in range(9)], "keys": ["training.techniques.pruning/magnitude.sparsity"]}]
    told = sentences.method(comparison)[-1]
    assert told.startswith("half 0, half 1,")
    assert "more differ from one another in numbers alone (training.techniques.pruning/magnitude.sparsity): the best of them is the best of 9" in told
    comparison["verdicts"]["made"] = 1
    assert "makes 1 verdict in all" in " ".join(sentences.method(comparison))


def test_conditions_are_told_as_far_as_they_were_recorded():
    load = {"machine_percent": [1.0, 3.0, 12.0]}
    recorded = {"load": load, "frequency": [2400.0, 2450.0, 2500.0], "throttled": 0, "threads": [1], "observer": 0.004}
    assert sentences.conditions(recorded) == [
        ("other work", "3% of the machine (from 1 to 12)"), ("clock", "2,450 MHz (from 2,400 to 2,500)"), ("throttled", "never"), ("threads", "1"),
        ("observing", "took at most 0.40% of the training time"),
    ]  # fmt: skip
    assert sentences.conditions({}) == []
