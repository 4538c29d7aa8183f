"""Partitions of a vocabulary: by frequency, by chance, by vectors that describe the tokens.

Everything here is numpy on the CPU, the same for the same input on one machine, and runs once when a head is built.

Shapes: V tokens, C clusters, D width of the vectors. A partition is class_V, the cluster of each token, with no cluster empty.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.api import Vocabulary
from engines.toolbox.word_vectors import read_vectors

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

POWER_STEPS = 8
"""Products with the covariance that a principal direction is found by: a direction to cut along, not an eigenvector to the last digit."""


def frequency_order(counts: np.ndarray) -> Ids:
    """Ids by falling count, equal ones by id."""
    order: Ids = np.argsort(-counts.astype(np.int64), kind="stable")
    return order


def mass_clusters(weights: np.ndarray, count: int) -> Ids:
    """Clusters of about equal total weight, taken off a list of the tokens by falling weight: few heavy ones first, many light ones last.

    Each cluster is filled until it holds its share of what is left, so a token heavier than a share stands alone.
    """
    size = len(weights)
    refuse_count(count, size)
    order = np.argsort(-np.asarray(weights, dtype=np.float64), kind="stable")
    cumulated = np.cumsum(np.asarray(weights, dtype=np.float64)[order])
    class_V = np.empty(size, dtype=np.int64)
    low = 0
    for k in range(count):
        left = count - 1 - k
        before = cumulated[low - 1] if low else 0.0
        share = before + (cumulated[-1] - before) / (left + 1)
        high = size if not left else min(max(int(np.searchsorted(cumulated, share)) + 1, low + 1), size - left)
        class_V[order[low:high]] = k
        low = high
    return class_V


def random_clusters(size: int, count: int, seed: int) -> Ids:
    """Clusters of equal size, give or take one, drawn by chance."""
    refuse_count(count, size)
    class_V: Ids = np.random.default_rng(seed).permutation(np.arange(size, dtype=np.int64) % count)
    return class_V


def principal_direction(x_ND: Floats) -> Floats:
    """The direction in which centred rows vary most, (D,), by power iteration from the row that is farthest from the mean."""
    direction_D: Floats = x_ND[int((x_ND * x_ND).sum(axis=1).argmax())]
    for _ in range(POWER_STEPS):
        direction_D = x_ND.T @ (x_ND @ direction_D)
        length = float(np.linalg.norm(direction_D))
        if length == 0.0:
            return direction_D
        direction_D = direction_D / length
    return direction_D


def along_principal_direction(vectors_VD: Floats, ids: Ids) -> Ids:
    """The ids in the order in which their vectors lie along the direction of most variance."""
    x_ND = vectors_VD[ids]
    x_ND = x_ND - x_ND.mean(axis=0)
    ordered: Ids = ids[np.argsort(x_ND @ principal_direction(x_ND), kind="stable")]
    return ordered


def bisected_clusters(vectors_VD: Floats, count: int) -> Ids:
    """Clusters of equal size, give or take one: the tokens are cut in two along their direction of most variance, and so on with each part.

    Boley (1998), Principal direction divisive partitioning, with cuts at the median instead of the mean.
    """
    refuse_count(count, len(vectors_VD))
    class_V = np.empty(len(vectors_VD), dtype=np.int64)
    parts: list[tuple[Ids, int, int]] = [(np.arange(len(vectors_VD), dtype=np.int64), 0, count)]
    while parts:
        ids, low, high = parts.pop()
        if high - low == 1:
            class_V[ids] = low
            continue
        ids, middle = along_principal_direction(vectors_VD, ids), (low + high) // 2
        cut = len(ids) * (middle - low) // (high - low)
        parts += [(ids[:cut], low, middle), (ids[cut:], middle, high)]
    return class_V


def kmeans_clusters(vectors_VD: Floats, count: int, seed: int, iterations: int = 20) -> Ids:
    """Lloyd's k-means from k-means++ starts; sizes are as they come. A cluster that runs empty takes the token farthest from its own centre."""
    size = len(vectors_VD)
    refuse_count(count, size)
    draw = np.random.default_rng(seed)
    square_V = (vectors_VD**2).sum(axis=1)
    centre_CD = np.empty((count, vectors_VD.shape[1]))
    nearest_V = np.full(size, np.inf)
    chosen = int(draw.integers(size))
    for k in range(count):
        centre_CD[k] = vectors_VD[chosen]
        nearest_V = np.minimum(nearest_V, np.maximum(square_V - 2 * vectors_VD @ centre_CD[k] + square_V[chosen], 0.0))
        nearest_V[chosen] = 0.0
        total = nearest_V.sum()
        chosen = int(draw.choice(size, p=nearest_V / total)) if total > 0 else int(draw.integers(size))
    class_V = np.full(size, -1, dtype=np.int64)
    for _ in range(iterations):
        distance_VC = square_V[:, None] - 2 * vectors_VD @ centre_CD.T + (centre_CD**2).sum(axis=1)
        found_V = distance_VC.argmin(axis=1)
        fill_empty(found_V, distance_VC[np.arange(size), found_V], count)
        if (found_V == class_V).all():
            break
        class_V = found_V
        order = np.argsort(class_V, kind="stable")
        sizes = np.bincount(class_V, minlength=count)
        centre_CD = np.add.reduceat(vectors_VD[order], np.cumsum(sizes) - sizes, axis=0) / sizes[:, None]
    return class_V


def fill_empty(class_V: Ids, distance_V: Floats, count: int) -> None:
    """Give each empty cluster the farthest token of a cluster that has others left, in place."""
    sizes = np.bincount(class_V, minlength=count)
    far = iter(np.argsort(-distance_V, kind="stable"))
    for empty in np.flatnonzero(sizes == 0):
        token = next(token for token in far if sizes[class_V[token]] > 1)
        sizes[class_V[token]] -= 1
        class_V[token], sizes[empty] = empty, 1


def refuse_count(count: int, size: int) -> None:
    """Raise ValueError with a sentence where there are more clusters than tokens."""
    if not 1 <= count <= size:
        raise ValueError(f"A vocabulary of {size:,} tokens cannot be cut into {count:,} classes: take 1 to {size:,}.")


def directions(path: Path, vocabulary: Vocabulary) -> Floats:
    """Vectors of length 1 that describe the tokens, (V, D), from a file as `read_vectors` takes it; zero where a token has none.

    Lengths are left out: those of trained rows tell frequency more than meaning.
    """
    table_VD, _ = read_vectors(path, vocabulary)
    vectors_VD = table_VD.double().numpy()
    length_V1 = np.linalg.norm(vectors_VD, axis=1, keepdims=True)
    unit_VD: Floats = vectors_VD / np.where(length_V1 == 0, 1.0, length_V1)
    return unit_VD
