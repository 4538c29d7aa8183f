"""How carefully speed is timed, as fields of a form: in the editor for a file, in the comparison for a session on demand."""

from __future__ import annotations

from typing import Any

TIMING: dict[str, dict[str, Any]] = {
    "rounds": {"type": "integer", "minimum": 1, "default": 10, "unit": "rounds", "description": "Interleaved timing rounds, at most."},
    "launches": {
        "type": "integer", "minimum": 1, "default": 5, "unit": "launches",
        "description": "How often the timed processes are started anew among the rounds; intervals narrow with it.",
    },
    "seconds": {
        "type": "number", "exclusiveMinimum": 0, "default": 1.0, "unit": "s",
        "description": "Length of one timed window; those of training last half as long.",
    },
    "limit": {
        "type": "number", "exclusiveMinimum": 0, "default": 300.0, "unit": "s", "description": "What the rounds of one timing session may take.",
    },
    "until_narrow": {
        "type": "boolean", "default": False,
        "description": "Go on after these rounds, within the limit, until every ratio is known as closely as the margin.",
    },
}  # fmt: skip
