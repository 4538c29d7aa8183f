"""What schedules of the learning rate share: a linear warm-up, and then a fall over the rest of the budget, which is the plugin's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from engines.api import Context, Technique, param


class Falling(Technique):
    """m(p), the multiplier of every learning rate when the share p of the budget is spent: up from s to 1 by w, then down to f.

        m(p) = s + (1 - s) p / w                                       p < w    (1)
        m(p) = f + (1 - f) left((p - w) / (1 - w))                     p >= w   (2)
    """

    group: ClassVar[str] = "schedule"

    warmup: float = param(0.0, "Share of the budget over which the rate rises.", unit="share", symbol="w", ge=0, lt=1)
    start: float = param(0.01, "Share of the rate at the first update of a warm-up.", unit="share", symbol="s", ge=0, le=1)
    floor: float = param(0.0, "Share of the rate at the end.", unit="share", symbol="f", ge=0, le=1)

    def schedule(self, multiplier: Callable[[float], float], ctx: Context) -> Callable[[float], float]:
        """The multiplier it gets, times m(p)."""

        def scaled(p: float) -> float:
            return multiplier(p) * self.at(p)

        return scaled

    def at(self, p: float) -> float:
        """m(p) for p in 0..1; beyond 1 the floor."""
        if p < self.warmup:
            return self.start + (1 - self.start) * p / self.warmup  # (1)
        q = min(1.0, (p - self.warmup) / (1 - self.warmup))
        return self.floor + (1 - self.floor) * self.left(q)  # (2)

    def left(self, q: float) -> float:
        """How much of the way down is left after the share q of it: 1 at 0, 0 at 1."""
        raise NotImplementedError
