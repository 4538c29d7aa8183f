"""Cosine schedule with warm-up."""

from __future__ import annotations

import math
from typing import ClassVar

from engines.api import Trial, certificate, param
from engines.toolbox.schedules import Falling
from engines.toolbox.specimen import Surroundings, specimen


class Cosine(Falling):
    """Cosine learning rate with warm-up

    Loshchilov and Hutter (2017), SGDR: Stochastic Gradient Descent with Warm Restarts (one period, no restart); linear warm-up as in
    Goyal et al. (2017).

    Equations, for the share p of the budget that is spent:

        m(p) = s + (1 - s) p / w                                       p < w    (1)  warm-up
        q = (p - w) / (1 - w)
        m(p) = f + (1 - f) (1 + cos(pi q)) / 2                         p >= w   (2)  decay

    Symbols: m multiplier of every learning rate, w share of the budget that warms up, s and f the shares of the rate at start and end.
    Cost: none.
    Does nothing when: warmup = 0 and floor = 1.
    Parameters: warmup w, start s, floor f.

    A budget in seconds makes p, and so the learning rates, depend on the machine's speed; tokens, steps and epochs do not.
    """

    paper: ClassVar[str] = (
        "Loshchilov and Hutter (2017), SGDR, https://arxiv.org/abs/1608.03983; Goyal et al. (2017), https://arxiv.org/abs/1706.02677"
    )

    warmup: float = param(0.05, "Share of the budget over which the rate rises.", unit="share", symbol="w", ge=0, lt=1)

    def left(self, q: float) -> float:
        return (1 + math.cos(math.pi * q)) / 2  # (2)


@certificate("Starts at s, reaches 1 at the end of the warm-up, the mean of 1 and f half-way, f at the end", tolerance=1e-12)
def corners(trial: Trial) -> float:
    """Largest deviation at the four points that the equations fix."""
    technique = Cosine(warmup=0.2, start=0.1, floor=0.04)
    m = technique.schedule(lambda p: 1.0, Surroundings(specimen(trial)))
    return max(abs(m(0.0) - 0.1), abs(m(0.2) - 1.0), abs(m(0.6) - 0.52), abs(m(1.0) - 0.04))
