"""Profiles that runs left, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engines.store import queries
from engines.store.database import Store

VERSION = 1


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
