"""One row tells all: what a variant claims to save, stores, executes, moves, what was measured, and its price in quality and training.

Every entry is a ratio to the baseline with its interval and verdict. A saving that exists on paper alone (zeros in dense weights, values that
were only rounded) is marked as simulated; only what was stored, executed or measured counts as a saving.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engines import statistics
from engines.report import labels

GROUPS = ("nominal", "stored", "executed", "moved", "measured", "quality", "price")
"""In this order from what is claimed to what is paid."""

BITS = "nominal/bits"
"""Bits of all weights as a technique states them: `bits` a weight of so many `weights` among the figures of its effect."""

_KEYS: Mapping[str, tuple[str, ...]] = {
    "nominal": ("size/nonzero_parameters", "size/parameters"),
    "stored": ("size/packed_mib", "size/model_mib"),
    "executed": ("compute/executed_flops_per_token", "compute/flops_per_token"),
    "moved": ("compute/bytes_per_token",),
    "measured": (
        "speed/train_tokens_per_s", "speed/infer_tokens_per_s", "speed/generate_tokens_per_s", "latency/p50_ms", "latency/p95_ms",
        "memory/train_peak_host_mib", "memory/infer_peak_host_mib", "memory/train_peak_device_mib", "memory/infer_peak_device_mib",
        "energy/joules_per_token", "energy/infer_joules_per_token",
    ),
    "price": ("cost/train_s", "cost/train_tokens", "cost/train_flops", "speed/time_to_quality_s"),
}  # fmt: skip
_WORK = (("executed", "training_flops", "operations per token in training"), ("moved", "training_bytes", "bytes moved per token in training"))
"""What the engine's record of work holds beyond the results: group, figure, label."""

Results = Mapping[str, Mapping[str, Any]]


def savings(
    own: Results, baseline: Results, effects: Sequence[Mapping[str, Any]] = (), *, margin: float = 0.02, metrics: Sequence[str] = (),
    work: Mapping[str, Any] | None = None, baseline_work: Mapping[str, Any] | None = None,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """{group: [{key, label, ratio, low, high, verdict, simulated}]} of one variant; an entry that was not measured is absent.

    own, baseline: results of both as `engines.judging.entry` makes them; effects: what the variant's techniques changed; metrics: keys that
    judge, of which the quality ones are shown (all of quality where there is none); work: what the engine recorded about operations and bytes.
    """
    found: dict[str, list[dict[str, Any]]] = {group: [] for group in GROUPS}
    for group, keys in _KEYS.items():
        found[group] = [_of_result(key, own[key]) for bare in keys for key in _with_targets(bare, own)]
    found["quality"] = [_of_result(key, own[key]) for key in _quality(own, metrics)]
    found["nominal"] += _bits(own, baseline, effects, margin)
    for group, figure, label in _WORK:
        found[group] += _recorded(group, figure, label, margin, work, baseline_work)
    _mark_simulated(found, own, effects, margin)
    return found


def zero_share(results: Results) -> float | None:
    """Share of a model's numbers that are zero; None where it was not counted."""
    every, others = results.get("size/parameters"), results.get("size/nonzero_parameters")
    if not every or not others or not every["value"]:
        return None
    return float(1 - others["value"] / every["value"])


def zeroing(effects: Sequence[Mapping[str, Any]], margin: float) -> Iterator[Mapping[str, Any]]:
    """Effects that made weights zero and freed nothing: as many parameters and bytes as before, fewer non-zero ones."""
    for effect in effects:
        facts = effect["facts"]
        if not {"nonzero_before", "nonzero_after", "bytes_before", "bytes_after", "parameters_before", "parameters_after"} <= facts.keys():
            continue
        fewer = facts["nonzero_after"] < facts["nonzero_before"] / (1 + margin)
        freed = facts["bytes_after"] < facts["bytes_before"] / (1 + margin) or facts["parameters_after"] < facts["parameters_before"]
        if fewer and not freed:
            yield effect


def _of_result(key: str, result: Mapping[str, Any]) -> dict[str, Any]:
    return _entry(key, labels.name(key), result["ratio"], result["ratio_low"], result["ratio_high"], result["verdict"])


def _entry(key: str, label: str, ratio: float | None, low: float | None, high: float | None, verdict: str) -> dict[str, Any]:
    return {"key": key, "label": label, "ratio": ratio, "low": low, "high": high, "verdict": verdict, "simulated": False}


def _exact(key: str, label: str, ratio: float, margin: float) -> dict[str, Any]:
    return _entry(key, label, ratio, ratio, ratio, statistics.verdict(ratio, ratio, margin, "lower"))


def _with_targets(bare: str, results: Results) -> list[str]:
    """The key itself, its batch sizes in order, and all of these on targets."""
    mine = [key for key in results if key.split("@")[0] == bare or key.split("@")[0].startswith(f"{bare}/batch_")]
    return sorted(mine, key=lambda key: (key.partition("@")[2], _batch(key)))


def _batch(key: str) -> int:
    size = key.split("@")[0].rpartition("/batch_")[2]
    return int(size) if size.isdigit() else 0


def _quality(results: Results, metrics: Sequence[str]) -> list[str]:
    judged = [key for key in results if key.startswith("quality/") and results[key]["better"] != "none"]
    chosen = [key for key in judged if key.split("@")[0] in metrics]
    return sorted(chosen or judged, key=lambda key: (not key.startswith("quality/test"), key))


def _bits(own: Results, baseline: Results, effects: Sequence[Mapping[str, Any]], margin: float) -> Iterator[dict[str, Any]]:
    """Bits of all weights, where a technique states how many bits it gives to how many weights."""
    stated = [facts for effect in effects if {"bits", "weights"} <= (facts := effect["facts"]).keys()]
    size, count = baseline.get("size/model_mib"), baseline.get("size/parameters")
    if not stated or not size or not count or not count["value"]:
        return
    every = count["value"]
    plain = size["value"] * 2**20 * 8 / every
    weights = min(sum(facts["weights"] for facts in stated), every)
    bits = sum(facts["weights"] * facts["bits"] for facts in stated) + (every - weights) * plain
    yield _exact(BITS, "bits of all weights, as stated", bits / (every * plain), margin)


def _recorded(
    group: str, figure: str, label: str, margin: float, work: Mapping[str, Any] | None, baseline_work: Mapping[str, Any] | None
) -> Iterator[dict[str, Any]]:
    mine, theirs = ((each or {}).get("per_token", {}).get(figure) for each in (work, baseline_work))
    if mine and theirs and math.isfinite(mine / theirs):
        yield _exact(f"{group}/{figure}", label, mine / theirs, margin)


def _mark_simulated(found: Mapping[str, list[dict[str, Any]]], own: Results, effects: Sequence[Mapping[str, Any]], margin: float) -> None:
    """Claims that neither file nor work bears out."""
    bound = 1 / (1 + margin)
    real = [row["ratio"] for group in ("stored", "executed", "moved") for row in found[group] if row["ratio"] is not None]
    borne_out = any(ratio < bound for ratio in real)
    counts = own.get("size/parameters")
    only_zeros = counts is not None and counts["ratio"] is not None and counts["ratio"] >= bound
    # Another technique of the recipe may have shrunk the file: zeros are told by the step that made them.
    packed = any(row["key"].startswith("size/packed_mib") and row["ratio"] is not None and row["ratio"] < bound for row in found["stored"])
    # Scoring alone tells whether zeros are skipped: training has fewer operations for other reasons too (a sampled head).
    fewer = any(row["key"].startswith("compute/") and row["ratio"] is not None and row["ratio"] < bound for row in found["executed"])
    idle_zeros = any(zeroing(effects, margin)) and not packed and not fewer
    for row in found["nominal"]:
        if row["ratio"] is None or row["ratio"] >= bound:
            continue
        if row["key"].startswith("size/nonzero_parameters"):
            row["simulated"] = idle_zeros or (only_zeros and bool(real) and not borne_out)
        elif row["key"] == BITS:
            row["simulated"] = _as_wide(found["stored"], counts, bound)


def _as_wide(stored: Sequence[Mapping[str, Any]], counts: Mapping[str, Any] | None, bound: float) -> bool:
    """Whether no file holds fewer bytes a parameter: fewer parameters or less work do not bear stated bits out."""
    sizes = [row["ratio"] for row in stored if row["ratio"] is not None]
    if not sizes or counts is None or not counts["ratio"]:
        return False
    return not any(size / counts["ratio"] < bound for size in sizes)


_HEADS = {
    "size/nonzero_parameters": "non-zero", BITS: "bits", "size/packed_mib": "packed", "size/model_mib": "MiB", "compute/flops_per_token": "FLOPs",
    "compute/executed_flops_per_token": "FLOPs", "compute/bytes_per_token": "bytes",
    "speed/train_tokens_per_s": "training", "speed/infer_tokens_per_s": "inference",
    "speed/generate_tokens_per_s": "generation", "latency/p50_ms": "latency", "latency/p95_ms": "p95", "memory/train_peak_host_mib": "memory",
    "memory/train_peak_device_mib": "device", "cost/train_s": "seconds", "cost/train_tokens": "tokens",
}  # fmt: skip


def head(group: str, key: str) -> tuple[str, str]:
    """The two lines of a narrow column's head: ("stored", "MiB")."""
    bare = key.split("@")[0]
    return group, _HEADS.get(bare) or labels.short(bare)


def shown(comparison: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(group, key) of the columns of a compact table: the first of each group, of what was measured all that judges.

    Of several targets the one that most variants were measured on, of equals the first.
    """
    columns: list[tuple[str, str]] = []
    for group in GROUPS:
        present = Counter(row["key"] for variant in comparison["variants"].values() for row in variant["savings"].get(group, ()))
        best: dict[str, str] = {}
        for key in present:
            if key != "size/parameters" and "/batch_" not in key and present[key] > present[best.get(key.split("@")[0], "")]:
                best[key.split("@")[0]] = key
        ordered = [best[bare] for bare in (*_KEYS.get(group, ()), *sorted(best)) if bare in best]
        wanted = [key for key in dict.fromkeys(ordered) if group == "nominal" or (group == "measured" and key.split("@")[0] in comparison["metrics"])]
        columns += [(group, key) for key in wanted or ordered[:1]]
    return columns


def cell(variant: Mapping[str, Any], group: str, key: str) -> dict[str, Any] | None:
    """The entry of a column, with the names that a result has; None where it was not measured."""
    row = next((row for row in variant["savings"].get(group, ()) if row["key"] == key), None)
    return row and {**row, "ratio_low": row["low"], "ratio_high": row["high"]}
