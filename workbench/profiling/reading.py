"""The profile of a run as the window draws it: read from its file and worked out once, off the window's thread. No Qt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

VERSION = 1
PHASES = ("data", "forward", "backward", "optimizer", "other")
OWNERS = ("parameters", "gradients", "optimizer", "activations", "other", "workspace")
INSTANTS = 2000
"""Of the memory timeline that are drawn at most; each stands for the highest total of its stretch."""


@dataclass(frozen=True)
class Cell:
    """One bar of the flame graph. start, ms: where it lies in the step; own: what its children leave over; parent, children: numbers of cells."""

    name: str
    start: float
    ms: float
    own: float
    depth: int
    phase: str
    parent: int
    children: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Profile:
    """A profile with what is drawn of it. layers, operators: rows with `share` of the step; timeline: milliseconds (n,), MiB by owner (n,) each."""

    data: dict[str, Any]
    layers: list[dict[str, Any]]
    operators: list[dict[str, Any]]
    cells: list[Cell]
    instants: np.ndarray
    owners: dict[str, np.ndarray]
    path: Path
    trace: Path | None = None

    @property
    def step_ms(self) -> float:
        return float(self.data["step_ms"]["median"])


class Files(NamedTuple):
    """Where the profile of a run lies. artifact: its row, another one for every profile."""

    artifact: int
    profile: Path
    trace: Path | None


def stored(store: Any, run_ids: list[int]) -> dict[int, Files]:
    """The profiles of runs, by run."""
    from engines.store import queries

    rows = [row for row in queries.artifacts(store, run_ids) if row.kind in ("profile", "trace")]
    traces = {row.run_id: Path(store.folder) / row.path for row in rows if row.kind == "trace"}
    return {row.run_id: Files(row.id, Path(store.folder) / row.path, traces.get(row.run_id)) for row in rows if row.kind == "profile"}


def read(path: Path, trace: Path | None = None) -> Profile:
    """Raises ValueError with a sentence where the file is gone, damaged, or of a version that this window does not read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"The profile {path} cannot be read ({error.strerror or error}). Profile the run again.") from error
    except ValueError as error:
        raise ValueError(f"The profile {path} is damaged. Profile the run again.") from error
    if data.get("version") != VERSION:
        raise ValueError(f"The profile {path} has version {data.get('version')}, this window reads {VERSION}. Profile the run again.")
    instants, owners = _timeline(data["memory"]["timeline"])
    return Profile(data, _layers(data), _operators(data), flame(data["flame"]), instants, owners, path, trace)


def _layers(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layers in the order of the model; share: of the time of all layers; roofline figures joined by name."""
    bound = {layer["name"]: layer for layer in data["roofline"]["layers"]}
    rows = []
    for place, layer in enumerate(data["layers"]):
        row = {**bound.get(layer["name"], {}), **layer, "place": place}
        row["ms"] = (layer.get("forward_ms") or 0.0) + (layer.get("backward_ms") or 0.0)
        if row.get("flops") and row.get("bytes") and row["ms"]:
            row.setdefault("intensity", row["flops"] / row["bytes"])
            row.setdefault("flops_per_s", 1000.0 * row["flops"] / row["ms"])
        rows.append(row)
    whole = sum(row["ms"] for row in rows)
    for row in rows:
        row["share"] = row["ms"] / whole if whole else 0.0
    return rows


def _operators(data: Mapping[str, Any], most: int = 30) -> list[dict[str, Any]]:
    """The operators with the most time of their own; share: of the own time of all operators."""
    whole = sum(row["self_ms"] for row in data["operators"])
    found = sorted(data["operators"], key=lambda row: -row["self_ms"])[:most]
    return [{**row, "share": row["self_ms"] / whole if whole else 0.0} for row in found]


def flame(root: Mapping[str, Any]) -> list[Cell]:
    """The tree as a list, parents before children, each child beside its elder; a parent is at least as long as its children together."""
    cells: list[Cell] = []

    def put(node: Mapping[str, Any], start: float, depth: int, phase: str, parent: int) -> int:
        number = len(cells)
        inside = sum(child["ms"] for child in node.get("children", ()))
        ms = max(float(node["ms"]), inside)
        phase = node["name"] if depth == 1 else phase
        cells.append(Cell(str(node["name"]), start, ms, ms - inside, depth, phase, parent))
        for child in node.get("children", ()):
            made = put(child, start, depth + 1, phase, number)
            cells[number].children.append(made)
            start += cells[made].ms
        return number

    put(root, 0.0, 0, "", -1)
    return cells


def _timeline(points: list[Mapping[str, float]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Milliseconds and MiB by owner, thinned so that no peak of the total is lost."""
    instants = np.array([point["ms"] for point in points], dtype=float)
    owners = {owner: np.array([point.get(owner) or 0.0 for point in points], dtype=float) for owner in OWNERS}
    if len(instants) <= INSTANTS:
        return instants, owners
    total = np.sum(list(owners.values()), axis=0)
    edges = np.linspace(0, len(instants), INSTANTS + 1).astype(int)
    kept = np.array([first + int(np.argmax(total[first:last])) for first, last in pairwise(edges)])
    return instants[kept], {owner: values[kept] for owner, values in owners.items()}


def parts(layers: list[dict[str, Any]]) -> Iterator[tuple[str, list[tuple[str, list[dict[str, Any]]]]]]:
    """The model's own blocks for its picture: (block, [(part of it, layers inside)]), e.g. ("layers.0", [("mixer", ...), ("feedforward", ...)]).

    A module outside the layers is a block with one part of the empty name.
    """
    blocks: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in layers:
        block, part = split(row["name"])
        blocks.setdefault(block, {}).setdefault(part, []).append(row)
    for block, inside in blocks.items():
        yield block, list(inside.items())


def split(name: str) -> tuple[str, str]:
    """("layers.0", "mixer") of "layers.0.mixer.lstm"; ("head", "") of "head.tail"."""
    pieces = name.split(".")
    numbered = next((place for place, piece in enumerate(pieces) if piece.isdigit()), None)
    if numbered is None:
        return pieces[0], ""
    return ".".join(pieces[: numbered + 1]), pieces[numbered + 1] if len(pieces) > numbered + 1 else ""


def engineering(value: float | None, unit: str) -> str:
    """A figure with a prefix of its unit: 3.2e9, "FLOP" -> "3.20 GFLOP"; None -> a dash."""
    if value is None:
        return "–"
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}" if value else f"0 {unit}"
