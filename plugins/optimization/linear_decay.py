"""Linear schedule with warm-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox.specimen import Surroundings, specimen


class LinearDecay(Technique):
    """Linear learning rate decay with warm-up

    Mikolov et al. (2013), word2vec, whose rate falls from 0.025 to 0.0001 over the words that are read; with a warm-up it is the schedule of
    Devlin, Chang, Lee, Toutanova (2019), BERT.

    Equations, for the share p of the budget that is spent:

        m(p) = s + (1 - s) p / w                                       p < w    (1)  warm-up
        m(p) = f + (1 - f) (1 - p) / (1 - w)                           p >= w   (2)  decay

    Symbols: m multiplier of every learning rate, w share of the budget that warms up, s and f the shares of the rate at start and end.
    Cost: none.
    Does nothing when: warmup = 0 and floor = 1.
    Parameters: warmup w, start s, floor f.

    A budget in seconds makes p, and so the learning rates, depend on the machine's speed; tokens, steps and epochs do not.
    """

    paper: ClassVar[str] = (
        "Mikolov et al. (2013), Efficient estimation of word representations in vector space, https://arxiv.org/abs/1301.3781; "
        "Devlin et al. (2019), BERT, https://arxiv.org/abs/1810.04805"
    )
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
        return self.floor + (1 - self.floor) * max(0.0, 1 - p) / (1 - self.warmup)  # (2)


@certificate("Starts at s, reaches 1 at the end of the warm-up, the mean of 1 and f half-way, f at the end and after it", tolerance=1e-12)
def corners(trial: Trial) -> float:
    """Largest deviation at the five points that the equations fix."""
    technique = LinearDecay(warmup=0.2, start=0.1, floor=0.04)
    m = technique.schedule(lambda p: 1.0, Surroundings(specimen(trial)))
    return max(abs(m(0.0) - 0.1), abs(m(0.2) - 1.0), abs(m(0.6) - 0.52), abs(m(1.0) - 0.04), abs(m(1.5) - 0.04))


@certificate("Without warm-up and floor it falls as word2vec's rate does, in proportion to what is left", tolerance=1e-12)
def falls_with_what_is_left(trial: Trial) -> float:
    m = LinearDecay().schedule(lambda p: 1.0, Surroundings(specimen(trial)))
    return max(abs(m(p / 10) - (1 - p / 10)) for p in range(11))
