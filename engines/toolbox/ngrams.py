"""Counting n-grams without collisions, and what smoothing makes of the counts. numpy only; probabilities are looked up in `plugins/baselines`.

Shapes: T tokens, V vocabulary size, N_k distinct k-grams. A k-gram has a number at its level: its place among all k-grams in the order of their
keys, where

    key(w_1 .. w_k) = number(w_1 .. w_(k-1)) * V + w_k,      key(w) = number(w) = w                              (K)

so that keys are whole numbers below N_(k-1) V, different for different k-grams, and the followers of one history lie side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Smoothing = Literal["kneser_ney", "absolute", "add_k"]
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts of counts 1, 2 and 3 or more where the counts of counts give none (tiny texts)."""


@dataclass(frozen=True)
class Grams:
    """All k-grams of a text, by rising key.

    keys, counts: (N_k,) int64. suffix: (N_k,) number of the last k - 1 words at the level below (k = 1: empty). first: (N_k,) bool, whether it
    begins with the line end before its line, so that no word can stand before it.
    """

    keys: np.ndarray
    counts: np.ndarray
    suffix: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class Level:
    """p(w | h) = share(h w) + backoff(h) p(w | shorter h): the smoothed counts of one k.

    keys: (N_k,) of the k-grams h w. share: (N_k,). backoff: (N_(k-1),), 1 where h was never followed.
    """

    keys: np.ndarray
    share: np.ndarray
    backoff: np.ndarray


def grams(ids_T: np.ndarray, size: int, order: int, line_end: int | None) -> Iterator[Grams]:
    """The k-grams of a text for k = 1 .. order, each token the last of one of each length that fits.

    line_end: the token at which histories begin: the first word of a line has that token alone as its history, and so has the first of the
    text. None: k-grams run on across lines. Raises OverflowError where keys would not fit 64 bits.
    """
    ids = np.asarray(ids_T, dtype=np.int64)
    nothing = np.zeros(0, np.int64)
    yield Grams(np.arange(size), np.bincount(ids, minlength=size), nothing, np.zeros(size, bool))
    place = np.arange(len(ids))
    start = np.zeros(len(ids), np.int64)
    if line_end is not None:
        # One line end before the text, which ends no line and is counted nowhere.
        ids, place = np.concatenate(([line_end], ids)), np.arange(1, len(ids) + 1)
        last_end = np.maximum.accumulate(np.where(ids == line_end, np.arange(len(ids)), 0))
        start = last_end[:-1]
    number, seen = ids.copy(), size
    for k in range(2, order + 1):
        if seen * size >= 2**63:
            raise OverflowError(f"{seen:,} different histories of {k - 1} words and {size:,} words have no keys of 64 bits: ask for a lower order.")
        fits = place - (k - 1) >= start
        place, start = place[fits], start[fits]
        found, where, inverse, counts = np.unique(number[place - 1] * size + ids[place], return_index=True, return_inverse=True, return_counts=True)
        suffix = number[place[where]]
        first = ids[place[where] - (k - 1)] == line_end if line_end is not None else np.zeros(len(found), bool)
        yield Grams(found, counts, suffix, first)
        number = np.full(len(ids), -1, np.int64)
        number[place], seen = inverse, len(found)


def discounts(counts: np.ndarray) -> tuple[tuple[float, float, float], bool]:
    """D_1, D_2, D_3+ of Chen and Goodman (1999), equation 26, and whether they follow from the counts of counts n_1 .. n_4:

        Y = n_1 / (n_1 + 2 n_2),   D_i = i - (i + 1) Y n_(i+1) / n_i
    """
    n = [int((counts == c).sum()) for c in (1, 2, 3, 4)]
    if min(n[:3]) == 0:
        return FALLBACK, False
    y = n[0] / (n[0] + 2 * n[1])
    one, two, three = (i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3))
    if not all(0 < d <= i for i, d in ((1, one), (2, two), (3, three))):
        return FALLBACK, False
    return (one, two, three), True


def discount(counts: np.ndarray) -> tuple[float, bool]:
    """D = n_1 / (n_1 + 2 n_2) of Ney, Essen and Kneser (1994), and whether it follows from the counts."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return (once / (once + 2 * twice), True) if once and twice else (FALLBACK[0], False)


def levels(ids_T: np.ndarray, size: int, order: int, line_end: int | None, smoothing: Smoothing, k: float) -> tuple[list[Level], list[int]]:
    """The smoothed levels of a text, and the orders whose discounts did not follow from the counts."""
    found = list(grams(ids_T, size, order, line_end))
    made, guessed = [], []
    for n, own in enumerate(found, start=1):
        counts = own.counts
        if smoothing == "kneser_ney" and n < order:
            # How many different words stand before it; nothing can stand before what begins a line, so that keeps its count.
            before = np.bincount(found[n].suffix, minlength=len(counts))
            counts = np.where(own.first, counts, before)
        histories = len(found[n - 2].keys) if n > 1 else 1
        history = own.keys // size if n > 1 else np.zeros(size, np.int64)
        total = np.bincount(history, weights=counts, minlength=histories)
        known = total > 0
        divisor = np.where(known, total, 1.0)
        if smoothing == "add_k":
            divisor = divisor + k * size
            share, backoff = counts / divisor[history], np.where(known, k * size / divisor, 1.0)
        else:
            if smoothing == "kneser_ney":
                steps, follows = discounts(counts)
            else:
                one, follows = discount(counts)
                steps = (one, one, one)
            if len(counts) and not follows:
                guessed.append(n)
            less = np.array((0.0, *steps))[np.minimum(counts, 3)]
            share = (counts - less) / divisor[history]
            backoff = np.where(known, np.bincount(history, weights=less, minlength=histories) / divisor, 1.0)
        made.append(Level(own.keys, share, backoff))
    return made, guessed
