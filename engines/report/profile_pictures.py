"""Pictures of a profiled training step: flame graph, memory by owner over the step, roofline, and the layers that take the time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from engines.report import labels
from engines.report.drawing import Drawing, Shape, dot, line, path, rect, series, shortened, words
from engines.report.figures import Scale

WIDTH = 1060.0
LAYER = 21.0
DEPTH = 14
"""Deeper calls are not drawn: at this depth they are kernels a few pixels wide."""
NARROW = 1.0
"""A part of the flame narrower than this, in pixels, is not drawn."""
NAME = 180.0
"""Width of a name beside its point, in pixels."""
OWNERS = ("parameters", "gradients", "optimizer", "activations", "other", "workspace")
LAYERS = 12
"""Rows of the table of layers; what is left is told in one more."""


def pictures(profile: Mapping[str, Any]) -> list[Drawing]:
    """What the profile has figures for."""
    return [found for found in (flame(profile), memory(profile), roofline(profile)) if found is not None]


def flame(profile: Mapping[str, Any]) -> Drawing | None:
    """The step from the top down: each part as wide as its time, its parts below it."""
    root = profile.get("flame")
    if not root or not root.get("ms"):
        return None
    shapes = list(_flame(root, 0.0, 0, WIDTH / root["ms"], root["ms"]))
    height = max(shape.attributes["y"] for shape in shapes if shape.element == "rect") + LAYER + 2
    return Drawing(f"Where a step of {labels.figure(root['ms'])} ms goes", WIDTH, height, shapes)


def _flame(node: Mapping[str, Any], x: float, depth: int, scale: float, whole: float) -> Iterator[Shape]:
    width = node["ms"] * scale
    if width < NARROW or depth >= DEPTH:
        return
    y = depth * LAYER
    share = node["ms"] / whole
    hint = f"{node['name']}: {labels.figure(node['ms'])} ms, {share:.1%}"
    yield rect(x, y, max(width - 1, 0.5), LAYER - 1, f"flame depth-{depth % 4}", hint, rx=2)
    if text := shortened(node["name"], width - 10):
        yield words(x + 5, y + LAYER - 7, text, "in-flame")
    for child in node.get("children", ()):
        yield from _flame(child, x, depth + 1, scale, whole)
        x += child["ms"] * scale


def memory(profile: Mapping[str, Any]) -> Drawing | None:
    """Tensors alive over the step, by owner, one on the other."""
    timeline = (profile.get("memory") or {}).get("timeline") or []
    if len(timeline) < 2:
        return None
    owners = [owner for owner in OWNERS if any(point.get(owner) for point in timeline)]
    times = np.array([point["ms"] for point in timeline], dtype=float)
    stack = np.cumsum([[float(point.get(owner, 0.0)) for point in timeline] for owner in owners], axis=0)
    if not owners or times.max() <= times.min() or stack.max() <= 0:
        return None
    height, left, bottom = 240.0, 60.0, 200.0
    x_scale = Scale(float(times.min()), float(times.max()), left, WIDTH - 10)
    y_scale = Scale(0.0, float(stack.max()) * 1.05, bottom, 30.0)
    shapes = [*_axes(x_scale, y_scale, left, bottom, "ms of the step", "MiB")]
    floor = np.zeros(len(times))
    for index, owner in enumerate(owners):
        upper = _points(x_scale(times), y_scale(stack[index]))
        lower = _points(x_scale(times)[::-1], y_scale(floor)[::-1])
        peak = float(np.max(stack[index] - floor))
        hint = f"{owner}: up to {labels.figure(peak)} MiB"
        shapes.append(path("M" + "L".join(upper + lower) + "Z", "owner", hint, style=f"fill: {series(index)}"))
        shapes += [rect(left + 130 * index, 4, 11, 11, style=f"fill: {series(index)}", rx=2), words(left + 130 * index + 17, 14, owner, "tick")]
        floor = stack[index]
    return Drawing(f"Memory of a step by owner, {labels.figure(float(stack.max()))} MiB at its peak", WIDTH, height, shapes)


def roofline(profile: Mapping[str, Any]) -> Drawing | None:
    """Layers by operations per byte and operations per second, under what the machine attained where that was measured."""
    found = profile.get("roofline") or {}
    rows = [row for row in found.get("layers", ()) if (row.get("intensity") or 0) > 0 and (row.get("flops_per_s") or 0) > 0]
    if not rows:
        return None
    peaks = found.get("peaks") or {}
    top = (peaks.get("flops_per_s") or {}).get("float32")
    bandwidth = peaks.get("bytes_per_s")
    xs, ys = [row["intensity"] for row in rows], [row["flops_per_s"] for row in rows]
    if top and bandwidth:
        xs, ys = [*xs, top / bandwidth], [*ys, top]
    height, left, bottom = 330.0, 76.0, 280.0
    x_scale = Scale(min(xs) / 2, max(xs) * 2, left, WIDTH - 20, logarithmic=True)
    y_scale = Scale(min(ys) / 2, max(ys) * 2, bottom, 16.0, logarithmic=True)
    shapes = [*_axes(x_scale, y_scale, left, bottom, "operations per byte moved", "operations a second")]
    if top and bandwidth:
        shapes += _roof(x_scale, y_scale, top, bandwidth)
    spent = {row["name"]: row["forward_ms"] + row["backward_ms"] for row in profile.get("layers", ())}
    named = set(sorted((row["name"] for row in rows), key=lambda name: -spent.get(name, 0.0))[:6])
    placed: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: -row["flops_per_s"]):
        x, y = float(x_scale(row["intensity"])), float(y_scale(row["flops_per_s"]))
        attained = f", {row['attainable_share']:.0%} of what it could attain" if row.get("attainable_share") is not None else ""
        limit = f", limited by {row['bound']}" if row.get("bound") else ""
        shapes.append(
            dot(x, y, 5, "known", f"{row['name']}: {labels.figure(row['flops_per_s'])} FLOP/s{attained}{limit}", style=f"--mark: {series(0)}")
        )
        if row["name"] in named:
            right = x > WIDTH - 220
            # From the top down: a name that would lie on another moves below it.
            height_of_name = max([y + 4, *(other + 14 for near, other in placed if abs(near - x) < NAME and abs(other - y - 4) < 14)])
            placed.append((x, height_of_name))
            shapes.append(words(x + (-9 if right else 9), height_of_name, row["name"], "name", "end" if right else "start"))
    title = "Roofline" if top and bandwidth else "Operations of the layers (the machine's peaks were not measured)"
    return Drawing(title, WIDTH, height, shapes)


def _roof(x_scale: Scale, y_scale: Scale, top: float, bandwidth: float) -> list[Shape]:
    ridge = top / bandwidth
    # The slope begins where it enters the picture, from the left or from below.
    begin = max(x_scale.low, y_scale.low / bandwidth)
    corners = [(begin, begin * bandwidth), (ridge, top), (x_scale.high, top)]
    data = "M" + "L".join(_points(x_scale(np.array([x for x, _ in corners])), y_scale(np.array([y for _, y in corners]))))
    text = f"measured: {labels.figure(top)} FLOP/s, {labels.figure(bandwidth)} B/s"
    return [path(data, "roof", text), words(float(x_scale(x_scale.high)) - 4, float(y_scale(top)) - 7, text, "tick", "end")]


def _axes(x_scale: Scale, y_scale: Scale, left: float, bottom: float, x_title: str, y_title: str) -> Iterator[Shape]:
    for x, text in x_scale.ticks():
        yield line(x, y_scale.end, x, bottom, "grid")
        yield words(x, bottom + 17, text, "tick", "middle")
    for y, text in y_scale.ticks():
        yield line(left, y, x_scale.end, y, "grid")
        yield words(left - 7, y + 4, text, "tick", "end")
    yield line(left, bottom, x_scale.end, bottom)
    yield words((left + x_scale.end) / 2, bottom + 35, x_title, "axis-title", "middle")
    yield words(0, 0, y_title, "axis-title", "middle", transform=f"translate(13 {(y_scale.end + bottom) / 2:.0f}) rotate(-90)")


def _points(x: np.ndarray, y: np.ndarray) -> list[str]:
    return [f"{px:.1f} {py:.1f}" for px, py in zip(np.asarray(x).tolist(), np.asarray(y).tolist(), strict=True)]


def layers(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layers by time, the dearest first: {name, type, parameters, forward_ms, backward_ms, share, flops, bytes, bound}; absent is None."""
    rows: Sequence[Mapping[str, Any]] = profile.get("layers") or ()
    bounds = {row["name"]: row.get("bound") for row in (profile.get("roofline") or {}).get("layers", ())}
    total = math.fsum(row["forward_ms"] + row["backward_ms"] for row in rows)
    found = [
        {
            **{key: row.get(key) for key in ("name", "type", "parameters", "forward_ms", "backward_ms", "flops", "bytes")},
            "share": (row["forward_ms"] + row["backward_ms"]) / total if total else None, "bound": bounds.get(row["name"]),
        }
        for row in rows
    ]  # fmt: skip
    found.sort(key=lambda row: -(row["share"] or 0.0))
    return found[:LAYERS]
