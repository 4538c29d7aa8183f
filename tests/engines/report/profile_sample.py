"""A made-up profile with everything that one can hold."""

from __future__ import annotations

import math
from typing import Any

_NAMES = {"embedding": "Embedding", "layers.0.mixer": "LSTM", "layers.1.mixer": "LSTM", "head": "Head"}


def profile() -> dict[str, Any]:
    """A step of 24 ms on four layers."""
    layers = [
        {
            "name": name, "type": kind, "parameters": 1000 * (n + 1), "forward_ms": 1.0 + n, "backward_ms": 1.5 + n, "calls": 1.0,
            "flops": 1e7 * 4**n, "bytes": 1e6 * (n + 1),
        }
        for n, (name, kind) in enumerate(_NAMES.items())
    ]  # fmt: skip
    kernels = [{"name": f"aten::mm<{n}>", "ms": 1.0, "children": [{"name": "sgemm", "ms": 0.7, "children": []}]} for n in range(4)]
    parts = [
        {"name": name, "ms": ms, "children": kernels if ms > 4 else []} for name, ms in (("forward", 9.0), ("backward", 11.0), ("optimizer", 3.0))
    ]
    return {
        "version": 1, "steps": 10, "device": "cpu", "threads": 1, "batch": 16, "length": 32,
        "step_ms": {"median": 24.0, "data": 0.5, "forward": 9.0, "backward": 11.0, "optimizer": 3.0, "other": 0.5},
        "layers": layers, "operators": [{"name": "aten::mm", "calls": 8.0, "self_ms": 6.0, "total_ms": 8.0, "flops": 4e8}],
        "flame": {"name": "step", "ms": 24.0, "children": parts},
        "memory": {
            "timeline": [
                {
                    "ms": float(t), "parameters": 12.0, "gradients": 12.0 * t / 24, "optimizer": 24.0,
                    "activations": 40 * math.sin(math.pi * t / 24), "other": 1.0,
                }
                for t in range(25)
            ],
            "peak": {"total_mib": 83.0, "owners": {"parameters": 12.0, "activations": 40.0}, "modules": [{"name": "head", "mib": 30.0}]},
        },
        "roofline": {
            "peaks": {"flops_per_s": {"float32": 1e11}, "bytes_per_s": 2e10, "launch_us": 2.0},
            "layers": [
                {
                    "name": row["name"], "flops": row["flops"], "bytes": row["bytes"], "intensity": row["flops"] / row["bytes"],
                    "flops_per_s": row["flops"] / row["forward_ms"] * 1e3, "attainable_share": 0.4, "bound": "memory" if n < 2 else "compute",
                }
                for n, row in enumerate(layers)
            ],
        },
        "uncounted": {"aten::strange": 3}, "cost": {"seconds": 4.0, "bytes": 120_000},
    }  # fmt: skip
