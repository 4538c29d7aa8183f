"""What x may count: steps, tokens, seconds on the wall clock, or seconds of training alone. Each run has its own clock from steps to these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEPS, TOKENS, WALL, TRAINING = "steps", "tokens", "seconds since the start", "seconds of training"
AXES = (STEPS, TOKENS, WALL, TRAINING)
TOKEN_SERIES, RATE_SERIES = "progress/tokens", "speed/train_tokens_per_s"
NEEDED = {STEPS: (), TOKENS: (TOKEN_SERIES,), WALL: (TOKEN_SERIES,), TRAINING: (TOKEN_SERIES, RATE_SERIES)}
"""The series that a clock is read from."""


@dataclass(frozen=True)
class Clock:
    """steps (n,) rising, values (n,): what x is there. Between them x is interpolated, beyond them it goes on at the mean pace."""

    steps: np.ndarray
    values: np.ndarray

    def at(self, steps: np.ndarray) -> np.ndarray:
        """x of steps; NaN where nothing is known yet."""
        if len(self.steps) < 1:
            return np.full(len(steps), np.nan)
        found = np.interp(steps, self.steps, self.values)
        reach = self.steps[-1] - self.steps[0]
        if reach > 0:
            pace = (self.values[-1] - self.values[0]) / reach
            found = np.where(steps > self.steps[-1], self.values[-1] + pace * (steps - self.steps[-1]), found)
        return found

    def steps_at(self, x: float) -> float:
        """The step that an x stands for."""
        return float(np.interp(x, self.values, self.steps)) if len(self.steps) else x


def clock(axis: str, tokens: tuple[np.ndarray, np.ndarray, np.ndarray], rates: tuple[np.ndarray, np.ndarray, np.ndarray], started: float) -> Clock:
    """The clock of a run from its series of tokens and of throughput (steps, unix seconds, values; empty where there are none)."""
    steps, times, seen = tokens
    if axis == TOKENS:
        return _from_zero(steps, seen)
    if axis == WALL:
        return _from_zero(steps, times - started)
    # The rate is tokens over seconds of training since the point before it.
    at, _, rate = rates
    if not len(at) or not len(steps):
        return Clock(np.empty(0), np.empty(0))
    added = np.diff(_from_zero(steps, seen).at(at), prepend=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        taken = np.where(rate > 0, added / rate, 0.0)
    return _from_zero(at, np.cumsum(np.nan_to_num(taken)))


def _from_zero(steps: np.ndarray, values: np.ndarray) -> Clock:
    """Steps begin at zero, where tokens and training seconds are; one point a step."""
    if not len(steps):
        return Clock(np.empty(0), np.empty(0))
    last = np.append(steps[1:] != steps[:-1], True)
    steps, values = steps[last], np.maximum.accumulate(values[last])
    if steps[0] > 0:
        begin = max(0.0, values[0] - (values[-1] - values[0]) / max(1.0, steps[-1] - steps[0]) * steps[0]) if len(steps) > 1 else 0.0
        steps, values = np.concatenate(([0.0], steps)), np.concatenate(([begin], values))
    return Clock(steps, values)
