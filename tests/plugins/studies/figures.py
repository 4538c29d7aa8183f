"""Figures of a study as they would have been measured: seconds per curve and x, with a little noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.api import Group, Study
from engines.runtime.outcome import Figures
from engines.runtime.rounds import Times


def figures(
    groups: Sequence[Group], seconds: Mapping[tuple[str, float | None], float], *, noise: float = 0.005, rounds: int = 12, stored: Any = None
) -> Figures:
    """What a study would read, had its cells taken these seconds; cells without seconds were left out."""
    generator = np.random.default_rng(0)
    times = []
    for group in groups:
        here = {cell.curve: seconds[cell.curve, group.x] for cell in group.cells if (cell.curve, group.x) in seconds}
        if here:
            drawn = {name: list(value * np.exp(generator.normal(0, noise, rounds))) for name, value in here.items()}
            times.append(Times(group, drawn))
    return Figures(times, stored or (lambda device, threads: None))


def every(study: Study, seconds: Any) -> dict[tuple[str, float | None], float]:
    """{(curve, x): seconds(curve, x)} of every cell of a study."""
    return {(cell.curve, group.x): seconds(cell.curve, group.x) for group in study.groups(None) for cell in group.cells}
