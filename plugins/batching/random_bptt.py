"""Segments of random length."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from engines.api import Context, Technique, Trial, certificate, param
from engines.toolbox.batches import Stream

if TYPE_CHECKING:
    from engines.toolbox.batches import SegmentLength

LONGEST = 2.0
"""Segments are cut at T + LONGEST * s: one draw in thirty of a normal variable would otherwise decide the peak of memory."""


class RandomBptt(Technique):
    """Backpropagation through time over segments of random length

    Merity, Keskar and Socher (2018), Regularizing and Optimizing LSTM Language Models, section 4.1.

    Equations, for every segment:

        b = T with probability p, else T / 2                     (1)
        L = max(m, min(round(N(b, s)), T + 2 s))                 (2)
        eta <- eta L / T                                         (3)  for this segment alone

    Symbols: T `training.sequence`, L length of the segment, s spread, m shortest, eta learning rate.
    With fixed segments the same tokens are always first in theirs and never get a gradient from further back; (1) and (2) move the cuts.
    (3) keeps short segments, whose mean gradient counts as much as that of long ones, from being favoured.
    Cost: none a token; a little speed, since shorter segments use the machine less well.
    Does nothing when: p = 1, s = 0 and m <= T.
    Parameters: p, spread s, shortest m, rescale (3) or not.

    Every token of the text is trained on exactly once an epoch, as without it.
    """

    paper: ClassVar[str] = "Merity, Keskar and Socher (2018), Regularizing and Optimizing LSTM Language Models, https://arxiv.org/abs/1708.02182"

    p: float = param(0.95, "Probability of a segment of about the full length.", symbol="p", ge=0, le=1)
    spread: float = param(5.0, "Standard deviation of the length.", unit="tokens", symbol="s", ge=0)
    shortest: int = param(5, "Least length of a segment.", unit="tokens", symbol="m", ge=1)
    rescale: bool = param(True, "Scale the learning rate with the length of the segment, equation (3).")

    def data(self, batches: Stream, ctx: Context) -> Stream:
        """The same stream, cut elsewhere."""
        if not hasattr(batches, "segment_length"):
            raise ValueError(
                "batching/random_bptt cuts contiguous text into segments, but this task trains on "
                f"{type(batches).__name__}: remove it from the recipe."
            )
        draw = batches.segment_length = self.sampler(batches.length)
        lengths = np.array([draw(random.Random(i))[0] for i in range(1000)])
        ctx.effect(
            f"Segments of {lengths.min()} to {lengths.max()} tokens, {lengths.mean():.1f} on average, instead of {batches.length}.",
            mean_length=float(lengths.mean()),
            fixed_length=batches.length,
        )
        return batches

    def sampler(self, length: int) -> SegmentLength:
        """(generator) -> (L, factor of the learning rate), for T = `length`."""

        def draw(generator: random.Random) -> tuple[int, float]:
            base = length if generator.random() < self.p else length / 2  # (1)
            drawn = min(round(generator.gauss(base, self.spread)), round(length + LONGEST * self.spread))
            segment = max(self.shortest, drawn)  # (2)
            return segment, segment / length if self.rescale else 1.0  # (3)

        return draw


@certificate("Every token of an epoch is a target exactly once", tolerance=0.0)
def covers_every_token_once(trial: Trial) -> float:
    """Tokens of the first epoch that are seen more or less than once."""
    size = trial.batch * trial.length * 20 + 1
    stream = Stream(np.arange(size), trial.batch, trial.length, trial.seed)
    stream.segment_length = RandomBptt(p=0.5).sampler(stream.length)
    seen = np.zeros(size, dtype=np.int64)
    while stream.epoch == 0:
        batch = next(stream)
        if stream.epoch == 0:
            np.add.at(seen, batch.targets_BT.numpy(), 1)
    # (size - 1) targets in an epoch; the one token that only ever is an input is never a target.
    return float(abs(int(seen.sum()) - (size - 1)) + int((seen > 1).sum()))


@certificate("p = 1 without spread gives the plain segments and learning rates", tolerance=0.0)
def plain_limit(trial: Trial) -> float:
    """Largest deviation of length and learning rate from the plain ones."""
    draw = RandomBptt(p=1.0, spread=0.0, shortest=1).sampler(trial.length)
    drawn = [draw(random.Random(trial.seed + i)) for i in range(100)]
    return max(abs(length - trial.length) + abs(scale - 1.0) for length, scale in drawn)
