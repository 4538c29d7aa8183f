"""Linear schedule with warm-up."""

from __future__ import annotations

from typing import ClassVar

from engines.api import Trial, certificate
from engines.toolbox.schedules import Falling
from engines.toolbox.specimen import Surroundings, specimen


class LinearDecay(Falling):
    """Linear learning rate decay with warm-up

    Mikolov et al. (2013), word2vec, whose rate falls from 0.025 to 0.0001 over the words that are read; with a warm-up it is the schedule of
    Devlin, Chang, Lee, Toutanova (2019), BERT.

    Equations, for the share p of the budget that is spent:

        m(p) = s + (1 - s) p / w                                       p < w    (1)  warm-up
        q = (p - w) / (1 - w)
        m(p) = f + (1 - f) (1 - q)                                     p >= w   (2)  decay

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

    def left(self, q: float) -> float:
        return 1 - q  # (2)


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
