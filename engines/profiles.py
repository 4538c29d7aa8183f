"""Profiles that runs left, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.machinestate import BUSY_PERCENT
from engines.store import queries
from engines.store.database import Store

VERSION = 1
SCATTER = 1.5
"""Where the upper quartile of the steps is longer than this many lower ones, something else than the step decided how long they took."""


def read_profile(store: Store, run_id: int | None) -> dict[str, Any] | None:
    """The profile of a run: times and work of layers and operators, flame graph, memory, roofline. None where there is none to be read."""
    if run_id is None:
        return None
    row = next((row for row in reversed(queries.artifacts(store, run_id)) if row.kind == "profile"), None)
    if row is None:
        return None
    path = Path(row.path)
    try:
        found = json.loads((path if path.is_absolute() else store.folder / path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Its file was removed or cut off: the comparison stands without it.
        return None
    return found if isinstance(found, dict) and found.get("version") == VERSION else None


def doubts(profile: Mapping[str, Any]) -> list[str]:
    """Why the times of a profile are no more than a hint, in sentences; empty where the machine was calm and the steps alike, as far as is known."""
    found = []
    low, high = ((profile.get("step_ms") or {}).get("quartiles") or {}).get("step", (0.0, 0.0))
    if high > SCATTER * low:
        found.append(f"The middle half of the steps took from {low:,.1f} to {high:,.1f} ms.")
    busy = (profile.get("load") or {}).get("machine_percent", 0.0)
    if busy > BUSY_PERCENT:
        found.append(f"Other work used {busy:.0f}% of the machine.")
    return found


def outside(peak: Mapping[str, Any]) -> list[str]:
    """What the memory of a profiled step was beside its tensors, in sentences: what the process, the allocator and the CUDA context held.

    peak: `memory.peak` of a profile; of what was not measured nothing is said.
    """
    words = {
        "resident_peak_mib": "The process held at most {:,.1f} MiB in the step, interpreter, libraries and text included.",
        "allocated_peak_mib": "The allocator of the GPU counted at most {:,.1f} MiB.",
        "reserved_mib": "It had taken {:,.1f} MiB from the GPU for it.",
        "context_mib": "The CUDA context takes {:,.1f} MiB more.",
    }
    # Of a GPU's step the host's memory is not what one asks for.
    shown = [key for key in words if key in peak and not (key == "resident_peak_mib" and "allocated_peak_mib" in peak)]
    return [words[key].format(peak[key]) for key in shown]
