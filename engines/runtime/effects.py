"""What a technique really changed in a model: modules, parameters, non-zeros, bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from engines.toolbox.packed import bytes_of, matrices_in


@dataclass(frozen=True)
class Effect:
    """A measured or stated change. `facts` are plain numbers and texts."""

    technique: str
    hook: str
    sentence: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Structure:
    """A model's make-up at one moment."""

    types: Counter[str]
    parameters: int
    nonzero: int
    bytes: int

    @classmethod
    def of(cls, module: nn.Module) -> Structure:
        packed = {id(matrix.packed): matrix for matrix in matrices_in(module)}
        parameters = [packed[id(p)].dense() if id(p) in packed else p for p in module.parameters()]
        return cls(
            types=Counter(type(m).__name__ for m in module.modules()),
            parameters=sum(p.numel() for p in parameters),
            nonzero=sum(int(p.detach().count_nonzero()) for p in parameters if not p.is_meta),
            bytes=bytes_of(module),
        )


def difference(before: Structure, after: Structure) -> tuple[str, dict[str, Any]]:
    """The change in one sentence, and its figures."""
    gone, new = before.types - after.types, after.types - before.types
    facts: dict[str, Any] = {
        "parameters_before": before.parameters, "parameters_after": after.parameters,
        "nonzero_before": before.nonzero, "nonzero_after": after.nonzero,
        "bytes_before": before.bytes, "bytes_after": after.bytes,
        "modules_removed": dict(gone), "modules_added": dict(new),
    }
    parts = []
    if gone or new:
        parts.append(f"modules: {_names(gone) or 'none'} became {_names(new) or 'none'}")
    for name, old, now in (
        ("parameters", before.parameters, after.parameters),
        ("non-zero parameters", before.nonzero, after.nonzero),
        ("bytes", before.bytes, after.bytes),
    ):
        if old != now:
            parts.append(f"{name}: {old:,} to {now:,}")
    told = "; ".join(parts)
    return (f"{told[0].upper()}{told[1:]}." if told else "Changed no module, parameter or byte of the model."), facts


def _names(types: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(types.items()))
