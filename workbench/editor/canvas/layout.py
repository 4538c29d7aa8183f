"""Where the blocks of a model stand on the canvas, and what is written in them. Lengths are in lines of text, so that it grows with the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PySide6.QtCore import QPointF, QRectF

from engines.merging import Index, Merged, Part
from workbench.editor.draft import parameters, raw_layers, short_id, values_words
from workbench.widgets.text import number, short

WIDTH, HEIGHT = 9.6, 6.2
ADD = 2.0
"""Width of the place where a layer without feed-forward could have one."""
LEAST_MIB = 0.001
"""An owner that holds less is not named."""
MOST_SUMMED = 1000
"""Repetitions of a layer whose memory is looked up: whoever types more has no prediction either."""
HEADING, ARC, PAD, GAP, NORM = 1.5, 1.1, 0.6, 1.9, 0.45
Figures = Mapping[str, Mapping[str, Any]]
"""Rows of the inspector's `shapes` by the name of the module."""
Memory = Mapping[str, Mapping[str, float]]
"""MiB by owner of each module, as `engines.predicting.memory_within` gives it."""


@dataclass(frozen=True)
class Piece:
    """A block of the model. key: "embedding", "head", "model" or "layer/3/mixer"; slot: what fits in it; empty: nothing stands there yet."""

    key: str
    slot: str
    area: QRectF
    title: str = ""
    lines: tuple[str, ...] = ()
    words: str = ""
    residual: bool = False
    norm: bool = False
    fan: int = 0
    """Experts beside each other, drawn as sheets behind the block."""
    empty: bool = False
    wrong: str = ""


@dataclass(frozen=True)
class Frame:
    """An entry of `layers`."""

    number: int
    area: QRectF
    repeat: int
    caption: str


@dataclass(frozen=True)
class Arrow:
    start: QPointF
    end: QPointF
    shape: str


@dataclass
class Layout:
    pieces: list[Piece] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    gaps: list[QRectF] = field(default_factory=list)
    """Where a layer may be put: gap n stands in front of layer n."""
    size: QRectF = field(default_factory=QRectF)

    def piece(self, key: str) -> Piece | None:
        return next((piece for piece in self.pieces if piece.key == key), None)


def layer_of(key: str) -> int | None:
    """The number of the layer that a piece belongs to."""
    parts = key.split("/")
    return int(parts[1]) if parts[0] == "layer" else None


def lay_out(merged: Merged, index: Index, figures: Figures, wrong: Mapping[str, str], memory: Memory) -> Layout:
    """figures, memory: of the modules, empty while they are not known. wrong: sentences about pieces by key."""
    top = HEADING + ARC + 0.4
    found = Layout()

    def piece(key: str, slot: str, part: Part | None, modules: list[str], x: float, **more: Any) -> Piece:
        area = QRectF(x, top, WIDTH, HEIGHT)
        if part is None:
            return Piece(key, slot, area, "nothing chosen", (), f"{slot}: nothing chosen", empty=True, wrong=wrong.get(key, ""))
        entry, row = index.entry(part.id) or {}, figures.get(modules[0], {})
        lines = (chosen_words(part, index), *figure_words(row), memory_words(modules, memory))
        said = (f"{slot}: {entry.get('title') or part.id}", *lines, owners_words(modules, memory), shape_words(row, "shape_in", "takes"))
        words = ", ".join(text for text in said if text)
        title = str(entry.get("title") or short_id(part.id))
        return Piece(key, slot, area, title, tuple(line for line in lines if line), words, wrong=wrong.get(key, ""), **more)

    if merged.whole is not None:
        found.pieces.append(piece("model", "model", merged.whole, [""], 0.4))
        found.size = QRectF(0, 0, WIDTH + 0.8, top + HEIGHT + PAD)
        return found
    found.pieces.append(piece("embedding", "embedding", merged.embedding, ["embedding"], 0.4))
    x, module = 0.4 + WIDTH, 0
    shape = shape_of(figures.get("embedding", {}))
    middle = top + HEIGHT / 2
    for place, (layer, table) in enumerate(zip(merged.layers or [], raw_layers(merged), strict=True)):
        found.gaps.append(QRectF(x, top - ARC, GAP, HEIGHT + ARC + PAD))
        found.arrows.append(Arrow(QPointF(x, middle), QPointF(x + GAP, middle), shape))
        x += GAP
        left, repeat = x, table.get("repeat", 1) if isinstance(table.get("repeat", 1), int) else 1
        x += PAD
        for slot, part in (("mixer", layer.mixer), ("feedforward", layer.feedforward)):
            key = f"layer/{place}/{slot}"
            if part is None and slot == "feedforward":
                found.pieces.append(Piece(key, slot, QRectF(x, top, ADD, HEIGHT), "+", (), f"layer {place + 1} has no feed-forward", empty=True))
                x += ADD
                continue
            residual = table.get("residual")
            residual = bool((index.entry(part.id) or {}).get("residual")) if part and residual is None else bool(residual)
            norm = (table.get("norm") or ("layer" if residual else "none")) != "none"
            x += NORM if norm else 0
            fan = _experts(part, index) if part else 0
            modules = [f"layers.{module + i}.{slot}" for i in range(min(max(repeat, 1), MOST_SUMMED))]
            found.pieces.append(piece(key, slot, part, modules, x, residual=residual, norm=norm, fan=fan))
            x += WIDTH + PAD
        row = figures.get(f"layers.{module}", {})
        shape = shape_of(row) or shape
        area = QRectF(left, 0.2, x - left + (PAD if found.pieces[-1].empty else 0), top + HEIGHT + PAD - 0.2)
        found.frames.append(Frame(place, area, repeat, parameters_words(row)))
        x, module = area.right() + (0.5 if repeat > 1 else 0), module + repeat
    found.gaps.append(QRectF(x, top - ARC, GAP, HEIGHT + ARC + PAD))
    found.arrows.append(Arrow(QPointF(x, middle), QPointF(x + GAP, middle), shape))
    found.pieces.append(piece("head", "head", merged.head, ["head"], x + GAP))
    found.size = QRectF(0, 0, x + GAP + WIDTH + 0.4, top + HEIGHT + PAD + 0.6)
    return found


def scaled(layout: Layout, unit: float) -> Layout:
    """The same with `unit` pixels for a line of text."""

    def area(rect: QRectF) -> QRectF:
        return QRectF(rect.x() * unit, rect.y() * unit, rect.width() * unit, rect.height() * unit)

    return Layout(
        [replace(piece, area=area(piece.area)) for piece in layout.pieces],
        [replace(frame, area=area(frame.area)) for frame in layout.frames],
        [Arrow(arrow.start * unit, arrow.end * unit, arrow.shape) for arrow in layout.arrows],
        [area(gap) for gap in layout.gaps],
        area(layout.size),
    )


def chosen_words(part: Part, index: Index) -> str:
    """The parameters that the file states, in few words; of a block at its defaults its size where the catalogue tells one."""
    stated = parameters(part.table)
    if not stated:
        properties = index.properties(part.id)
        stated = {key: properties[key]["default"] for key in ("width", "heads", "experts", "samples", "window") if _default(properties, key)}
    return values_words(stated)


def _default(properties: Mapping[str, Any], key: str) -> Any:
    return properties.get(key, {}).get("default")


def _experts(part: Part, index: Index) -> int:
    value = part.table.get("experts", _default(index.properties(part.id), "experts"))
    return value if isinstance(value, int) else 0


def parameters_words(row: Mapping[str, Any]) -> str:
    return f"{short(row['parameters'])} parameters" if row.get("parameters") else ""


def figure_words(row: Mapping[str, Any]) -> tuple[str, str]:
    """Parameters, and operations of a token."""
    return parameters_words(row), f"{short(row['flops_per_token'])} FLOP a token" if row.get("flops_per_token") else ""


def memory_words(modules: Sequence[str], memory: Memory) -> str:
    """What a block holds at the peak of a training step; of a repeated one what one of them holds on average."""
    mib = sum(sum(memory.get(module, {}).values()) for module in modules) / len(modules)
    times = f"{len(modules)} × " if len(modules) > 1 else ""
    return f"{times}{number(mib, 3)} MiB at peak" if mib else ""


def owners_words(modules: Sequence[str], memory: Memory) -> str:
    """The same by owner, all of a repeated block together."""
    owners = {owner: 0.0 for module in modules for owner in memory.get(module, {})}
    for owner in owners:
        owners[owner] = sum(memory.get(module, {}).get(owner, 0.0) for module in modules)
    listed = ", ".join(f"{owner} {number(mib, 3)}" for owner, mib in owners.items() if mib >= LEAST_MIB)
    return f"at the peak of a training step: {listed} MiB" if listed else ""


def shape_of(row: Mapping[str, Any]) -> str:
    """What a module gives for one row of text: "256 × 96"."""
    shape = row.get("shape_out")
    return " × ".join(map(str, shape[1:])) if shape and len(shape) > 1 else ""


def shape_words(row: Mapping[str, Any], key: str, verb: str) -> str:
    shape, gives = row.get(key), row.get("shape_out")
    if not shape:
        return ""
    text = f"{verb} {' × '.join(map(str, shape))}"
    return text + (f", gives {' × '.join(map(str, gives))}" if gives else "")
