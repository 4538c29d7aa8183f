"""Whether the alternatives of a study compute the same: what computes something else is not timed against them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from engines.toolbox.trials import relative_error


def tensors_of(found: Any) -> list[Tensor]:
    """The tensors of a result (one, or tuples and lists of them), on the host; nothing where it holds none."""
    if isinstance(found, Tensor):
        return [found.detach().cpu()]
    return [value for item in found for value in tensors_of(item)] if isinstance(found, (tuple, list)) else []


def disagreement(place: str, values: Sequence[Tensor], first: str, expected: Sequence[Tensor], allowed: float | None) -> str:
    """Why the results of `place` are not those of `first`, a sentence; empty where they agree.

    allowed: the largest relative error; None where results need not be equal but must be finite numbers.
    """
    if allowed is None:
        finite = bool(values) and all(bool(value.isfinite().all()) for value in values)
        return "" if finite else f"{place} gives numbers that are not finite. Nothing was timed."
    if not values or [value.shape for value in values] != [value.shape for value in expected]:
        shapes, wanted = ([tuple(value.shape) for value in each] for each in (values, expected))
        return f"{place} gives other results than {first}: {shapes} instead of {wanted}."
    error = max(relative_error(mine, theirs) for mine, theirs in zip(values, expected, strict=True))
    if error <= allowed:
        return ""
    return f"{place} computes other values than {first}: the error is {error:.3g}, allowed are {allowed:.3g}. Nothing was timed."
