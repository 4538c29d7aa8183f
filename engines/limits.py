"""Limits of targets: what a finished variant must not exceed where it is to run (`max_memory`, `max_latency_ms` of a `[[target]]`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LATENCY = "latency/p95_ms"
HOST_MEMORY, DEVICE_MEMORY = "memory/infer_peak_host_mib", "memory/infer_peak_device_mib"


def held_against(targets: Iterable[Mapping[str, Any]], results: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(violations, limits that could not be checked) of one variant, in sentences.

    targets: the `targets` of its plan. results: its entries in the comparison by key@target, each with value, low and high. Memory is the
    peak of the device where a GPU was measured, else that of the host, in MiB; latency is that of 95 of 100 next-token steps, in ms.
    """
    exceeded, unchecked = [], []
    for target in targets:
        name = target.get("name", "")
        on_gpu = str(target.get("device") or "").startswith("cuda") or f"{DEVICE_MEMORY}@{name}" in results
        memory = (DEVICE_MEMORY, "peak device memory") if on_gpu else (HOST_MEMORY, "peak memory")
        for limit, unit, (key, what) in (("max_memory", "MiB", memory), ("max_latency_ms", "ms", (LATENCY, "95th percentile of latency"))):
            most = target.get(limit)
            if most is None:
                continue
            result = results.get(f"{key}@{name}")
            if result is None:
                unchecked.append(f'{limit} = {most:g} of target "{name}" is not checked: its {what} was not measured.')
            elif result["value"] > most:
                figure = f"{what[0].upper()}{what[1:]} {result['value']:.4g} {unit}"
                exceeded.append(f'{figure} is over {limit} = {most:g} of target "{name}"{_doubt(result, most)}.')
    return exceeded, unchecked


def _doubt(result: Mapping[str, Any], most: float) -> str:
    """What to add where the interval of the figure reaches down to the limit."""
    low, high = result.get("low"), result.get("high")
    if low is None or high is None or low > most:
        return ""
    return f"; its interval, {low:.4g} to {high:.4g}, includes the limit"
