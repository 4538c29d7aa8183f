"""The roofline: how fast work of a given intensity can be on a machine with known peaks, and what holds it back. Arithmetic alone, no torch.

    intensity  I = operations / bytes                                   (1)
    attainable A = min(peak, I bandwidth)                               (2)
    time at least  t = max(operations / peak, bytes / bandwidth)        (3)

Williams, Waterman and Patterson (2009), Roofline: an insightful visual performance model for multicore architectures, CACM 52 (4). To their
two roofs comes the time that starting an operator takes: small operators spend more on it than on their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Bound = Literal["compute", "memory", "launch", "data"]


@dataclass(frozen=True)
class Attained:
    """intensity: operations a byte, None where no byte moved. flops_per_s: attained. attainable_share: the least time by (3) over the time it
    took, which is attained over attainable operations a second where there are operations. bound: what takes longest by the peaks.
    """

    intensity: float | None
    flops_per_s: float
    attainable_share: float
    bound: Bound


def peak_of(peaks: Mapping[str, Any], dtype: str = "float32") -> float:
    """Operations a second of a number format; that of float32 where the format was not measured. Raises KeyError where neither was."""
    table = peaks["flops_per_s"]
    return float(table[dtype] if dtype in table else table["float32"])


def least_seconds(flops: float, bytes: float, launches: float, peaks: Mapping[str, Any], dtype: str = "float32") -> dict[Bound, float]:
    """The time that each bound alone asks for."""
    return {
        "compute": flops / peak_of(peaks, dtype),
        "memory": bytes / float(peaks["bytes_per_s"]),
        "launch": launches * float(peaks["launch_us"]) * 1e-6,
    }


def attained(
    flops: float, bytes: float, milliseconds: float, launches: float, peaks: Mapping[str, Any], dtype: str = "float32"
) -> Attained:
    """Where a layer stands under the roof. launches: operators it started. Raises ValueError for a time that is not above zero."""
    if milliseconds <= 0:
        raise ValueError(f"A layer that took {milliseconds} ms has no place under a roof: a time must be above 0.")
    seconds = milliseconds / 1e3
    bounds = least_seconds(flops, bytes, launches, peaks, dtype)
    return Attained(
        intensity=flops / bytes if bytes else None,
        flops_per_s=flops / seconds,
        attainable_share=max(bounds["compute"], bounds["memory"]) / seconds,
        bound=max(bounds, key=lambda name: bounds[name]),
    )


def rows(
    layers: Iterable[Mapping[str, Any]], peaks: Mapping[str, Any] | None, *, step_ms: Mapping[str, float] | None = None, dtype: str = "float32"
) -> list[dict[str, Any]]:
    """[{"name", "flops", "bytes", "intensity", "flops_per_s", "attainable_share", "bound"}] of layers that hold "name", "flops", "bytes",
    "calls" and their time ("ms", or "forward_ms" and "backward_ms"), each without the layers inside it. "operators" counts what a layer
    started; where it is missing each call counts as one. Without peaks what needs them is absent; layers without a time are left out.

    step_ms: {"median", "data", ...} of the whole step. Where waiting for data takes half of it or more, a row "step" says so.
    """
    found = []
    for layer in layers:
        milliseconds = float(layer["ms"]) if "ms" in layer else float(layer.get("forward_ms") or 0) + float(layer.get("backward_ms") or 0)
        if milliseconds > 0:
            launches = float(layer.get("operators") or layer.get("calls") or 0)
            found.append(_row(str(layer["name"]), float(layer["flops"]), float(layer["bytes"]), milliseconds, launches, peaks, dtype))
    if step_ms and 2 * step_ms.get("data", 0.0) >= step_ms["median"] > 0:
        step = _row("step", sum(row["flops"] for row in found), sum(row["bytes"] for row in found), step_ms["median"], 0, peaks, dtype)
        found.append({**step, "bound": "data"})
    return found


def _row(
    name: str, flops: float, bytes: float, milliseconds: float, launches: float, peaks: Mapping[str, Any] | None, dtype: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "flops": flops, "bytes": bytes, "flops_per_s": flops / (milliseconds / 1e3)}
    if bytes:
        row["intensity"] = flops / bytes
    if peaks is not None:
        place = attained(flops, bytes, milliseconds, launches, peaks, dtype)
        row |= {"attainable_share": place.attainable_share, "bound": place.bound}
    return row
