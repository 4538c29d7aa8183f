"""What a study says while it is measured, gathered into an object like its result. No Qt.

The lines are described in `engines.runtime.study`, the result in `engines.runtime.outcome`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Hearing:
    """One measurement from its first line to its last."""

    def __init__(self) -> None:
        self.result: dict[str, Any] = {"curves": [], "not_shown": []}
        self.number: int | None = None
        self.progress = "Starting …"
        self.share = 0.0
        self.ending: dict[str, Any] = {}
        """The last line: {"status", "reason"}, or status "refused" where it was refused; empty until then."""

    def hear(self, line: str) -> bool:
        """Take a line; whether the picture changed. What is no line of a study (a library that prints) is passed over."""
        try:
            said = json.loads(line)
            event = said["event"]
        except (ValueError, TypeError, KeyError):
            return False
        if event == "waiting":
            self.progress = said["sentence"]
        elif event == "begun":
            self.number = said["id"]
            self.result |= {"title": said["title"], "x": said["x"], "y": said["y"], "settings": {"parameters": said["parameters"]}}
            self.progress = "Measuring …"
        elif event == "progress":
            self.share = said["done"] / max(1, said["total"])
            # Without an x: the steps, or alternatives whose place is known only when they are measured.
            where = (said["curves"][-1] if said["curves"] else "the end") if said["x"] is None else f"{self.result['x']['name']} {said['x']:g}"
            self.progress = f"{said['done']} of {said['total']}: {where}"
        elif event == "left":
            where = "" if said["x"] is None else f" at {said['x']:g}"
            self.result["not_shown"].append(f"{said['curve']}: left out{where}: {said['why']}.")
        elif event == "point":
            known = ("x", "value", "low", "high", "n", "setting", "facts")
            self._curve(said["curve"])["points"].append({key: said[key] for key in known if key in said})
            return True
        elif event == "ended":
            self.ending = {"status": said["status"], "reason": said["reason"]}
        elif event == "refused":
            self.ending = {"status": "refused", "reason": said["sentence"]}
        return event in ("begun", "left")

    def _curve(self, name: str) -> dict[str, Any]:
        for curve in self.result["curves"]:
            if curve["name"] == name:
                found: dict[str, Any] = curve
                return found
        fresh: dict[str, Any] = {"name": name, "points": [], "exponent": None, "note": ""}
        self.result["curves"].append(fresh)
        return fresh


def exponent_words(curve: dict[str, Any], x_name: str) -> str:
    """ "time grows as size^2.87 [2.80, 2.93]"; empty where none was fitted. A curve of something else than time says what in `grows`."""
    found = curve.get("exponent")
    if not found:
        return ""
    interval = f" [{found['low']:.2f}, {found['high']:.2f}]" if found.get("low") is not None and found.get("high") is not None else ""
    return f"{curve.get('grows', 'time')} grows as {x_name}^{found['value']:.2f}{interval}"


def memory_of(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result with the peak memory of a call in place of the figures; None where it was not measured."""
    curves = []
    for curve in result.get("curves", []):
        points = [
            {"x": point["x"], "value": point["memory_bytes"] / 2**20, "low": None, "high": None, "n": 1}
            for point in curve["points"] if point.get("memory_bytes") is not None
        ]  # fmt: skip
        if points:
            curves.append({"name": curve["name"], "points": points, "exponent": curve.get("memory_exponent"), "note": "", "grows": "memory"})
    if not curves:
        return None
    axis = {"name": "peak memory of one call", "unit": "MiB", "log": True, "better": "lower"}
    return {**result, "y": axis, "curves": curves, "speedups": [], "lines": []}


def parameter_words(parameters: dict[str, Any], schema: dict[str, Any]) -> str:
    """The parameters that differ from their defaults: "largest=1024, dtypes=[float32]"; "defaults" where none does."""
    known = schema.get("properties", {})
    changed = [f"{key}={_plain(value)}" for key, value in parameters.items() if value != known.get(key, {}).get("default")]
    return ", ".join(changed) or "defaults"


def _plain(value: Any) -> str:
    return "[" + ", ".join(map(str, value)) + "]" if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)
