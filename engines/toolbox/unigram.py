"""What knowing how often each token occurs is worth: the floor that a model of a text has to beat. Shapes: V vocabulary size, N targets."""

from __future__ import annotations

import numpy as np

from engines.toolbox.heads import perplexity as exp_of_mean


def perplexity(count_V: np.ndarray, target_N: np.ndarray) -> float:
    """exp of the mean -log of (count + 1) / sum over all tokens of (count + 1)."""
    smoothed_V = np.asarray(count_V, dtype=np.float64) + 1
    return exp_of_mean(-float(np.log(smoothed_V / smoothed_V.sum())[target_N].mean()))


def reciprocal_rank(count_V: np.ndarray, target_N: np.ndarray) -> float:
    """Mean of 1 / place in the order of falling counts; half a place for each other token of an equal count."""
    falling_V = -np.asarray(count_V)
    ascending = np.sort(falling_V)
    above, through = np.searchsorted(ascending, falling_V, "left"), np.searchsorted(ascending, falling_V, "right")
    rank_V = 1 + above + (through - above - 1) / 2
    return float((1 / rank_V[target_N]).mean())
