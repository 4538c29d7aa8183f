"""Logarithmic axes that name decades with prefixes (10 G, 100 M) and stay readable at any width."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyqtgraph as pg

PREFIXES = {3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}


def decade(exponent: float) -> str:
    """10**exponent as people write it: 4 -> "10 k", 0.301 -> "2", -2 -> "0.01", -5 -> "1e-05"."""
    whole = 3 * math.floor(math.floor(exponent + 1e-9) / 3)
    if whole not in PREFIXES:
        return f"{10**exponent:.3g}"
    return f"{10 ** (exponent - whole):.3g} {PREFIXES[whole]}"


class LogAxis(pg.AxisItem):
    """Give it to a plot whose data are logarithms to base ten. Few decades get ticks at 2 and 5 between them."""

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        if high <= low:
            return []
        room = max(2, int(size / (64 if self.orientation == "bottom" else 30)))
        step = max(1, math.ceil((high - low) / room))
        first = math.floor(low / step) * step
        decades = [float(tick) for tick in range(first, math.ceil(high) + 1, step) if low <= tick <= high]
        between = [
            base + math.log10(factor)
            for base in range(math.floor(low), math.ceil(high) + 1)
            for factor in ((2, 5) if (high - low) * 3 < room else ())
            if low <= base + math.log10(factor) <= high
        ]
        return [(float(step), sorted(decades + between))]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        return [decade(value) for value in values]


FEWEST = 3
"""Ticks that a logarithmic axis should have at least."""


class ScaleAxis(LogAxis):
    """An axis whose scale can be changed: logarithmic (its data are logarithms to base ten) or plain."""

    logarithmic = False

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        if not self.logarithmic:
            return pg.AxisItem.tickValues(self, low, high, size)
        found = super().tickValues(low, high, size)
        if len(found and found[0][1]) >= FEWEST or high - low > 2:
            return found
        # Within a decade or so the round numbers of a plain axis tell more.
        levels = pg.AxisItem.tickValues(self, 10**low, 10**high, size)
        ticks = [math.log10(value) for value in levels[0][1] if value > 0] if levels else []
        return [(1.0, ticks)] if len(ticks) > len(found and found[0][1]) else found

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        if self.logarithmic:
            return super().tickStrings(values, scale, spacing)
        return pg.AxisItem.tickStrings(self, values, scale, spacing)
