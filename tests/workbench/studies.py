"""Results of studies, and what one says while it is measured, in the form the engine gives them."""

from __future__ import annotations

import json
import math
from typing import Any

X = {"name": "size", "unit": "", "log": True, "better": "none"}
Y = {"name": "speed", "unit": "GFLOP/s", "log": True, "better": "higher"}
CURVES = {"cpu float32, 1 thread": 44.0, "cpu float32, 2 threads": 79.0, "cpu bfloat16, 1 thread": 95.0}
SCHEMA = {
    "properties": {
        "seconds": {"type": "number", "default": 1.0, "exclusiveMinimum": 0, "unit": "s", "description": "Time for each cell."},
        "largest": {"type": "integer", "default": 8192, "minimum": 1, "maximum": 65536, "symbol": "n", "description": "Largest n."},
        "dtypes": {"type": "array", "items": {"type": "string"}, "default": ["float32", "bfloat16"], "description": "Number formats."},
        "device": {"enum": ["auto", "cpu", "cuda"], "default": "auto", "description": "Where it runs."},
    }
}
EXPECTS = "Small products are as fast on the CPU as on the GPU, copies counted; from some size on the GPU is faster."
ENTRIES = {
    "studies/matmul": ("Matrix product over sizes", EXPECTS),
    "studies/repeated_operations": ("Don't repeat operations", "The good code is faster for every sentence of more than one word."),
    "studies/threads": ("Threads within an operation", "Two threads are faster for large products only."),
}


def catalogue() -> dict[str, Any]:
    """A catalogue of nothing but studies."""
    plugins = {}
    for plugin_id, (title, expects) in ENTRIES.items():
        card = f"{title}\n\nFor square matrices A, B (n, n):\n\n    C_ij = sum_k A_ik B_kj         (1)\n\nCost: 2 n^3 operations."
        plugins[plugin_id] = {
            "id": plugin_id, "kind": "study", "family": "studies", "title": title, "card": card, "paper": "", "parameters": SCHEMA, "error": "",
            "available": {"ok": True, "reason": ""}, "certificates": [], "expects": expects,
        }  # fmt: skip
    return {"digest": "sample", "plugins": plugins}


def point(peak: float, size: int) -> dict[str, Any]:
    value = peak / (1 + (180 / size) ** 2.2)
    return {"x": float(size), "value": value, "low": 0.93 * value, "high": 1.06 * value, "n": 20, "seconds": 2e-9 * size**3 / value}


def result(*, outcome: str = "not decided") -> dict[str, Any]:
    """A whole result of the matrix product, with a step-by-step example."""
    sizes = [2**power for power in range(4, 14)]
    exponent = {"value": 2.87, "low": 2.8, "high": 2.93, "first": 256.0, "last": 8192.0}
    curves = [
        {"name": name, "points": [point(peak, size) for size in sizes], "exponent": exponent if "float32" in name else None, "note": ""}
        for name, peak in CURVES.items()
    ]
    steps = [("As in the lecture", 812.0), ("W x once for each x", 101.0), ("One product for all pairs", 14.2), ("Tensors made once, early", 11.7)]
    rows: list[dict[str, Any]] = []
    for place, (name, took) in enumerate(steps):
        row: dict[str, Any] = {"name": name, "value": took, "low": 0.96 * took, "high": 1.05 * took, "unit": "ms", "n": 20}
        if place:
            ratio, gain = steps[0][1] / took, steps[place - 1][1] / took
            for key, value in (("ratio", ratio), ("gain", gain)):
                row |= {key: value, f"{key}_low": 0.95 * value, f"{key}_high": 1.05 * value}
        rows.append(row)
    first = next(iter(CURVES))
    speedups = [
        {"name": name, "over": first, "points": [point(peak / CURVES[first], size) | {"n": 20} for size in sizes]}
        for name, peak in CURVES.items()
        if name != first
    ]
    return {
        "title": "Matrix product over sizes", "x": X, "y": Y, "curves": curves, "speedups": speedups,
        "lines": [{"name": "measured peak, cpu float32, 1 thread", "value": 47.3}, {"name": "measured peak, cpu bfloat16, 1 thread", "value": 104.0}],
        "steps": rows, "steps_title": "The slow example, forward and backward",
        "findings": [
            "cpu float32, 1 thread: at most 44 GFLOP/s (n = 4096, 93% of the measured peak); half of that from n = 256 on.",
            "cpu float32, 1 thread: between n = 256 and 8192 a product takes time as n^2.87 [2.80, 2.93]; its operations grow as n^3.",
        ],
        "expectation": {"sentence": EXPECTS, "outcome": outcome, "reason": "There is no CUDA GPU here, so there is no crossover to see."},
        "not_shown": ["A CUDA GPU: this machine has none, so copies and launches are not measured."],
        "machine": {
            "cpu": "Intel(R) Xeon(R) Processor", "cores": 2, "versions": {"torch": "2.13.0", "numpy": "2.4.6"},
            "loads": [{"machine_percent": 2.0}, {"machine_percent": 14.0}],
        },
        "settings": {"parameters": {"seconds": 1.0, "largest": 8192, "dtypes": ["float32", "bfloat16"], "device": "auto"}},
    }  # fmt: skip


def lines(*, sizes: int = 4) -> list[str]:
    """What a study says from its first line to its last but one: waiting, begun, points, one cell left out."""
    said: list[dict[str, Any]] = [
        {"event": "waiting", "sentence": "Another timing goes on on this machine; waiting for timing.lock."},
        {"event": "begun", "id": 1, "study": "studies/matmul", "title": "Matrix product", "parameters": {}, "x": X, "y": Y, "expects": EXPECTS},
    ]
    total = sizes * len(CURVES)
    for place in range(sizes):
        size = 2 ** (4 + 2 * place)
        said.append({"event": "progress", "done": place * len(CURVES), "total": total, "x": float(size), "curves": list(CURVES)})
        said += [{"event": "point", "curve": name, **point(peak, size)} for name, peak in CURVES.items()]
    said.append({"event": "left", "curve": "cpu float32, 1 thread", "x": 65536.0, "why": "needs 34 GiB, free are 20 GiB"})
    assert all(math.isfinite(line["value"]) for line in said if line["event"] == "point")
    return [json.dumps(line) for line in said]
