"""What this machine can do at best, as it was measured: read here by all, written by `workbench doctor --measure`. No torch.

One file a machine in the cache folder, with one entry for each device and number of threads:

    {"device", "threads", "flops_per_s": {"float32": .., "bfloat16": .., "int8": ..}, "bytes_per_s", "launch_us", "measured": unix time,
     "load_percent"}

and, where measured, "cache_bytes_per_s" (data that fit the cache), "spread" ({figure: how far the median of the repeats lay from the best, as
a share of it}), "array_mib" and "cache_mib".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.places import cache_folder

HOW = "“Measure” in the view Machine, or workbench doctor --measure,"
"""What measures it, for sentences that end in "does it"."""


def stored(fingerprint: str, device: str, threads: int) -> dict[str, Any] | None:
    """The peaks of a device at so many threads (which count on the CPU alone); None where they were never measured."""
    return _read(fingerprint).get(_key(device, threads))


def every(fingerprint: str) -> list[dict[str, Any]]:
    """All peaks of a machine."""
    return list(_read(fingerprint).values())


def keep(fingerprint: str, measured: Mapping[str, Any]) -> Path:
    """Store peaks beside those of other devices and numbers of threads; returns the file. Raises OSError where it cannot be written."""
    path = _path(fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {**_read(fingerprint), _key(str(measured["device"]), int(measured["threads"])): dict(measured)}
    fresh = path.with_suffix(f".{os.getpid()}.new")
    fresh.write_text(json.dumps(known, indent=1), encoding="utf-8")
    os.replace(fresh, path)
    return path


def _key(device: str, threads: int) -> str:
    return f"{device}/{threads}" if device == "cpu" else "cuda:0" if device == "cuda" else device


def _path(fingerprint: str) -> Path:
    return cache_folder() / "peaks" / f"{fingerprint}.json"


def _read(fingerprint: str) -> dict[str, dict[str, Any]]:
    """What is stored; a file that is missing or damaged is as if nothing had been measured."""
    try:
        known = json.loads(_path(fingerprint).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
