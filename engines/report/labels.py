"""Keys, figures and verdicts as people read them; the same words in the terminal, the page and the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_NAMES = {
    "quality/test_perplexity": ("test perplexity", "test ppl"),
    "quality/valid_perplexity": ("validation perplexity", "valid ppl"),
    "quality/test_bits_per_char": ("test bits per character", "test bits/char"),
    "quality/valid_bits_per_char": ("validation bits per character", "valid bits/char"),
    "quality/test_unigram_perplexity": ("test perplexity of word frequencies alone", "unigram ppl"),
    "quality/valid_unigram_perplexity": ("validation perplexity of word frequencies alone", "valid unigram ppl"),
    "quality/test_reciprocal_rank": ("test reciprocal rank", "test recip. rank"),
    "quality/valid_reciprocal_rank": ("validation reciprocal rank", "valid recip. rank"),
    "quality/test_unigram_reciprocal_rank": ("test reciprocal rank of word frequencies alone", "unigram recip. rank"),
    "quality/valid_unigram_reciprocal_rank": ("validation reciprocal rank of word frequencies alone", "valid unigram recip. rank"),
    "quality/test_accuracy": ("test accuracy", "test accuracy"),
    "quality/test_recall_at_1": ("share of best tokens that the search finds", "test recall@1"),
    "quality/valid_recall_at_1": ("share of best tokens that the search finds, validation", "valid recall@1"),
    "quality/test_recall_at_10": ("share of the ten best tokens that the search finds", "test recall@10"),
    "quality/valid_recall_at_10": ("share of the ten best tokens that the search finds, validation", "valid recall@10"),
    "quality/test_log_z_error": ("error of the estimated log Z", "test log Z error"),
    "quality/valid_log_z_error": ("error of the estimated log Z, validation", "valid log Z error"),
    "quality/valid_accuracy": ("validation accuracy", "valid accuracy"),
    "quality/test_macro_f1": ("test macro F1", "test macro F1"),
    "quality/valid_macro_f1": ("validation macro F1", "valid macro F1"),
    "quality/test_nll": ("test nats per text", "test nll"),
    "quality/valid_nll": ("validation nats per text", "valid nll"),
    "quality/test_majority_accuracy": ("test accuracy of the most frequent class", "majority accuracy"),
    "quality/valid_majority_accuracy": ("validation accuracy of the most frequent class", "valid majority accuracy"),
    "quality/test_context_perplexity": ("test perplexity of words near each other", "test context ppl"),
    "quality/valid_context_perplexity": ("validation perplexity of words near each other", "valid context ppl"),
    "quality/test_context_unigram_perplexity": ("test perplexity of word frequencies alone, near each other", "unigram context ppl"),
    "quality/valid_context_unigram_perplexity": ("validation perplexity of word frequencies alone, near each other", "valid unigram context ppl"),
    "quality/test_context_reciprocal_rank": ("test reciprocal rank of words near each other", "test context rec. rank"),
    "quality/valid_context_reciprocal_rank": ("validation reciprocal rank of words near each other", "valid context rec. rank"),
    "quality/test_context_unigram_reciprocal_rank": ("test reciprocal rank of word frequencies alone, near each other", "unigram context rec. rank"),
    "quality/valid_context_unigram_reciprocal_rank": (
        "validation reciprocal rank of word frequencies alone, near each other", "valid unigram context rec. rank"
    ),
    "quality/test_context_accuracy": ("test accuracy on words near each other", "test context accuracy"),
    "quality/valid_context_accuracy": ("validation accuracy on words near each other", "valid context accuracy"),
    "quality/test_spearman": ("test rank correlation with people (Spearman)", "test Spearman"),
    "quality/valid_spearman": ("validation rank correlation with people (Spearman)", "valid Spearman"),
    "quality/test_pearson": ("test correlation with people (Pearson)", "test Pearson"),
    "quality/valid_pearson": ("validation correlation with people (Pearson)", "valid Pearson"),
    "quality/test_squared_error": ("test squared error of cosines", "test sq. error"),
    "quality/valid_squared_error": ("validation squared error of cosines", "valid sq. error"),
    "quality/similarity_rho": ("rank correlation with people's similarity", "similarity rho"),
    "quality/similarity_pairs": ("known pairs of the similarity list", "similarity pairs"),
    "quality/analogy_accuracy": ("analogies answered", "analogy accuracy"),
    "quality/analogy_questions": ("known questions of the analogy list", "analogy questions"),
    "speed/train_tokens_per_s": ("training speed", "train tokens/s"),
    "speed/infer_tokens_per_s": ("inference speed", "infer tokens/s"),
    "speed/generate_tokens_per_s": ("generation speed", "generate tokens/s"),
    "speed/time_to_quality_s": ("time to quality", "time to quality s"),
    "latency/p50_ms": ("median latency", "latency p50 ms"),
    "latency/p95_ms": ("95th percentile of latency", "latency p95 ms"),
    "memory/train_peak_host_mib": ("peak memory in training", "train peak MiB"),
    "memory/infer_peak_host_mib": ("peak memory in inference", "infer peak MiB"),
    "memory/train_peak_device_mib": ("peak device memory in training", "train device MiB"),
    "memory/infer_peak_device_mib": ("peak device memory in inference", "infer device MiB"),
    "size/parameters": ("parameters", "parameters"),
    "size/nonzero_parameters": ("non-zero parameters", "non-zero"),
    "size/packed_mib": ("size of the packed model", "packed MiB"),
    "size/model_mib": ("size of the stored model", "model MiB"),
    "compute/flops_per_token": ("operations per token", "FLOPs/token"),
    "compute/executed_flops_per_token": ("executed operations per token", "executed FLOPs/token"),
    "compute/bytes_per_token": ("bytes moved per token", "B/token"),
    "cost/train_s": ("training time", "train s"),
    "cost/train_tokens": ("training tokens", "trained tokens"),
    "cost/train_flops": ("training operations", "train FLOPs"),
    "energy/joules_per_token": ("energy per token", "J/token"),
    "energy/infer_joules_per_token": ("energy per token in inference", "infer J/token"),
    "nominal/bits": ("bits of all weights, as stated", "bits"),
    "executed/training_flops": ("operations per token in training", "training FLOPs/token"),
    "moved/training_bytes": ("bytes moved per token in training", "training bytes/token"),
}

SIGNS = {"better": "+", "worse": "-", "no practical difference": "=", "not enough data": "?"}
LEGEND = "+ better   - worse   = no practical difference   ? not enough data"
OVER = "over a limit"
"""What stands beside the name of a variant that exceeds a limit of a target."""


def name(key: str) -> str:
    """quality/test_perplexity@one core -> test perplexity on one core."""
    bare, _, target = key.partition("@")
    label, batch = _names(bare)[0], _batch(bare)
    label = f"{label} at batch {batch}" if batch else label
    return f'{label} on target "{target}"' if target else label


def short(key: str) -> str:
    """A column head."""
    bare, _, target = key.partition("@")
    label, batch = _names(bare)[1], _batch(bare)
    label = f"{label} b{batch}" if batch else label
    return f"{label} @{target}" if target else label


def _names(bare: str) -> tuple[str, str]:
    """(name, column head) of a key without its target; of one batch size, those of the quantity itself."""
    plain = bare.removesuffix(f"/batch_{_batch(bare)}")
    if plain.startswith("quality/") and plain not in _NAMES:
        # The figure of a function of the user's own.
        words = plain.removeprefix("quality/").replace("_", " ")
        return words.replace("valid ", "validation ", 1) if words.startswith("valid ") else words, words
    return _NAMES.get(plain, (plain.replace("/", ": ").replace("_", " "), plain.split("/")[-1].replace("_", " ")))


def _batch(bare: str) -> str:
    """The batch size that a key names (".../batch_16"); empty where it names none."""
    last = bare.rsplit("/", 1)[-1]
    size = last.removeprefix("batch_")
    return size if size != last and size.isdigit() else ""


def figure(value: float | None) -> str:
    """Four significant figures, thousands grouped, large numbers with a suffix: 1234567 -> 1.235M."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value)
    for limit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size >= limit:
            return f"{value / limit:.4g}{suffix}"
    if size >= 1000:
        return f"{value:,.0f}"
    if 0 < size < 1e-3:
        return f"{value:.3e}"
    return f"{value:.4g}"


def ratio(result: Mapping[str, Any]) -> str:
    """The ratio to the baseline, "0.62x"; empty where there is none."""
    value = result.get("ratio")
    return "" if value is None else times(value)


def times(value: float) -> str:
    """A ratio, "0.62x": hundredths, and two figures of what is so small that hundredths would say nothing ("0.0047x")."""
    if 0 < value < 0.095:
        return f"{value:.2g}x"
    return f"{value:.2f}x" if value < 9.995 else f"{value:.3g}x"


def interval(result: Mapping[str, Any]) -> str:
    """ "0.60 to 0.64"; empty where the data carry no interval or the ratio is exact."""
    low, high = result.get("ratio_low"), result.get("ratio_high")
    if low is None or high is None or low == high:
        return ""
    return f"{low:.3g} to {high:.3g}" if f"{low:.3g}" != f"{high:.3g}" else f"{low:.5g} to {high:.5g}"


def columns(comparison: Mapping[str, Any]) -> list[str]:
    """The judging keys that were measured, in the experiment's order, each with its targets."""
    present = {key for variant in comparison["variants"].values() for key in variant["results"]}
    return [key for metric in comparison["metrics"] for key in sorted(present) if key == metric or key.startswith(f"{metric}@")]


def other_keys(comparison: Mapping[str, Any], shown: Sequence[str]) -> list[str]:
    """Every measured key that is not among the shown ones."""
    present = {key for variant in comparison["variants"].values() for key in variant["results"]}
    return sorted(present - set(shown))


def over_limits(variant: Mapping[str, Any]) -> Sequence[str]:
    """The limits of targets that a variant exceeds, in sentences."""
    found: Sequence[str] = variant.get("violations", ())
    return found


def runs(variant: Mapping[str, Any]) -> str:
    """ "Run r2", "Runs r2, r8" """
    numbers = [f"r{number}" for number in variant["runs"]]
    return f"Run{'s' if len(numbers) != 1 else ''} {', '.join(numbers) or 'none'}"


def state(variant: Mapping[str, Any]) -> str:
    """ "3 done, 1 failed" """
    return ", ".join(f"{count} {status}" for status, count in variant["status"].items()) or "no runs"
