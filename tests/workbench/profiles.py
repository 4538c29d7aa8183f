"""A profile of a small transformer as the engine writes it, with figures that hang together, and the rows of a store that point at it."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path
from typing import Any

from engines.store import commands
from engines.store.database import Store
from engines.store.rows import RunRow

PEAKS = {
    "device": "cpu", "threads": 1, "flops_per_s": {"float32": 9.1e10, "bfloat16": 2.4e11, "int8": 3.9e11}, "bytes_per_s": 1.15e10, "launch_us": 3.4,
    "measured": 1.76e9, "load_percent": 4.0,
}  # fmt: skip
TIMES = {
    "mixer_norm": 0.4, "mixer.query": 2.1, "mixer.key": 2.0, "mixer.value": 2.0, "mixer": 3.1, "mixer.out": 2.1,
    "feedforward_norm": 0.4, "feedforward.inner": 6.2, "feedforward": 1.3, "feedforward.outer": 6.0,
}  # fmt: skip


def profile(layers: int = 6, *, peaks: bool = True, instants: int = 900) -> dict[str, Any]:
    """profile.json; times in milliseconds of one step."""
    drawn = random.Random(0)
    rows = [_row("embedding", "Embedding", 0.9, 1.6, 2_560_000, 0.0, 4.1e6)]
    for layer in range(layers):
        for part, ms in TIMES.items():
            linear = part.count(".") == 1
            flops = ms * 5.2e7 if linear else ms * 4e6
            name = f"layers.{layer}.{part}"
            kind = "Linear" if linear else "LayerNorm" if part.endswith("norm") else "FullAttention" if part == "mixer" else "Dense"
            forward = ms * drawn.uniform(0.95, 1.05)
            rows.append(_row(name, kind, forward, 1.9 * forward, 262_656 if linear else 0, flops, ms * (1.1e6 if linear else 5.5e6)))
    rows.append(_row("final_norm", "LayerNorm", 0.4, 0.8, 512, 1e6, 4e6))
    rows.append(_row("head", "FullSoftmax", 24.0, 41.0, 2_570_000, 1.6e9, 3.1e7))
    forward, backward = sum(row["forward_ms"] for row in rows), sum(row["backward_ms"] for row in rows)
    step = {"data": 3.2, "forward": forward, "backward": backward, "optimizer": 14.5, "other": 4.1}
    names = ["aten::addmm", "aten::mm", "aten::_softmax", "aten::native_layer_norm", "aten::copy_", "aten::mul", "aten::_foreach_addcdiv_"]
    names += [f"aten::operator_{number}" for number in range(40)]
    operators = [
        {"name": name, "calls": 6 + place, "self_ms": 90.0 / (place + 1) ** 1.4, "total_ms": 100.0 / (place + 1) ** 1.2, "flops": 2e9 / (place + 1)}
        for place, name in enumerate(names)
    ]
    return {
        "version": 1, "steps": 10, "device": "cpu", "threads": 1, "batch": 16, "length": 64,
        "step_ms": {"median": sum(step.values()), **step, "quartiles": {phase: [0.9 * ms, 1.1 * ms] for phase, ms in step.items()}},
        "layers": rows, "operators": operators, "flame": _flame(rows, step),
        "memory": _memory(step, instants), "profiled": {"steps": 3, "step_ms": 1.21 * sum(step.values())},
        "roofline": {"peaks": PEAKS if peaks else None, "layers": [_bound(row) for row in rows if row["flops"]]},
        "uncounted": {"aten::_flash_attention_for_cpu": 12, "aten::_foreach_norm": 10}, "cost": {"seconds": 17.3, "bytes": 6.2e6},
    }  # fmt: skip


def _row(name: str, kind: str, forward: float, backward: float, parameters: int, flops: float, moved: float) -> dict[str, Any]:
    return {
        "name": name, "type": kind, "parameters": parameters, "forward_ms": forward, "backward_ms": backward, "calls": 1, "flops": 3 * flops,
        "bytes": 3 * moved,
    }  # fmt: skip


def _bound(row: dict[str, Any]) -> dict[str, Any]:
    rate = row["flops"] / ((row["forward_ms"] + row["backward_ms"]) / 1000)
    intensity = row["flops"] / row["bytes"]
    roof = min(PEAKS["flops_per_s"]["float32"], PEAKS["bytes_per_s"] * intensity)  # type: ignore[index, operator]
    bound = "launch" if rate < 0.05 * roof else "memory" if roof < PEAKS["flops_per_s"]["float32"] else "compute"  # type: ignore[index]
    return {
        "name": row["name"], "flops": row["flops"], "bytes": row["bytes"], "intensity": intensity, "flops_per_s": rate,
        "attainable_share": rate / roof, "bound": bound,
    }  # fmt: skip


def _flame(rows: list[dict[str, Any]], step: dict[str, float]) -> dict[str, Any]:
    def tree(key: str) -> list[dict[str, Any]]:
        blocks: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            block = ".".join(row["name"].split(".")[:2]) if row["name"].startswith("layers") else row["name"]
            half = row[key] / 2
            operators = [{"name": "aten::addmm", "ms": half, "children": []}, {"name": "aten::copy_", "ms": half / 3, "children": []}]
            blocks.setdefault(block, []).append({"name": row["name"], "ms": row[key], "children": operators})
        return [{"name": block, "ms": sum(child["ms"] for child in inside), "children": inside} for block, inside in blocks.items()]

    children = [
        {"name": "data", "ms": step["data"], "children": []},
        {"name": "forward", "ms": step["forward"], "children": tree("forward_ms")},
        {"name": "backward", "ms": step["backward"], "children": tree("backward_ms")[::-1]},
        {"name": "optimizer", "ms": step["optimizer"], "children": [{"name": "aten::_foreach_addcdiv_", "ms": 9.0, "children": []}]},
    ]
    return {"name": "step", "ms": sum(step.values()), "children": children}


def _memory(step: dict[str, float], instants: int) -> dict[str, Any]:
    whole, timeline = sum(step.values()), []
    for number in range(instants):
        ms = whole * number / instants
        ahead = min(1.0, ms / (step["data"] + step["forward"]))
        back = max(0.0, min(1.0, (ms - step["data"] - step["forward"]) / step["backward"]))
        timeline.append(
            {"ms": ms, "parameters": 38.2, "optimizer": 76.4, "gradients": 38.2 * back, "activations": 160 * (ahead - back) * ahead, "other": 2.0}
        )
    top = max(timeline, key=lambda point: sum(value for key, value in point.items() if key != "ms"))
    owners = {key: value for key, value in top.items() if key != "ms"}
    modules = [{"name": f"layers.{layer}.mixer", "mib": 19.0 + layer} for layer in range(6)] + [{"name": "head", "mib": 48.8}]
    return {"timeline": timeline, "peak": {"total_mib": sum(owners.values()), "owners": owners, "modules": modules}}


def store_profile(store: Store, run: RunRow, data: dict[str, Any]) -> Path:
    """Write the files of a profile beside the store and their rows, as the engine does."""
    folder = Path(store.folder) / "runs" / str(run.id) / "profile"
    folder.mkdir(parents=True, exist_ok=True)
    path, trace = folder / "profile.json", folder / "trace.json.gz"
    path.write_text(json.dumps(data), encoding="utf-8")
    trace.write_bytes(gzip.compress(b'{"traceEvents": []}'))
    for kind, file in (("profile", path), ("trace", trace)):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        commands.add_artifact(store, run.id, kind, kind, file, file.stat().st_size, digest)
    return path
