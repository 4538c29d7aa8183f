"""Binary trees whose leaves are the tokens of a vocabulary, and the paths to them.

Everything here is numpy on the CPU, deterministic for the same input, and runs once when a head is built.

Shapes: V tokens, V - 1 inner nodes, L the longest path, P the sum of all path lengths.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.toolbox.clusters import Floats, Ids, along_principal_direction

SMALL = 32
"""Nodes with at most so many tokens are cut along the direction of their parent: too few vectors to find a better one."""


@dataclass(frozen=True)
class Tree:
    """children: (V - 1, 2), left and right child of each inner node; from 0 on an inner node, below 0 token -1 - child.

    Inner nodes are numbered level by level, the root is 0, and children follow their parents' order.
    """

    children: Ids

    @property
    def size(self) -> int:
        return len(self.children) + 1

    def levels(self) -> list[tuple[int, int]]:
        """First inner node and the one after the last of each level, from the root down."""
        found, low, high = [], 0, 1
        while low < high:
            found.append((low, high))
            low, high = high, high + int((self.children[low:high] >= 0).sum())
        return found

    def paths(self) -> Paths:
        """The way to every token."""
        parent, side = np.full(self.size - 1, -1, dtype=np.int64), np.zeros(self.size - 1, dtype=np.int8)
        node_V, sign_V = np.empty(self.size, dtype=np.int64), np.empty(self.size, dtype=np.int8)
        for child, sign in zip(self.children.T, (1, -1), strict=True):
            inner, above = np.flatnonzero(child >= 0), np.flatnonzero(child < 0)
            parent[child[inner]], side[child[inner]] = inner, sign
            node_V[-1 - child[above]], sign_V[-1 - child[above]] = above, sign
        # from all leaves at once up to the root
        climbed: list[tuple[Ids, Ids, npt.NDArray[np.int8]]] = []
        length_V, token, node, way = np.zeros(self.size, dtype=np.int64), np.arange(self.size), node_V, sign_V
        while len(token):
            length_V[token] += 1
            climbed.append((token, node, way))
            below = parent[node] >= 0
            token, way, node = token[below], side[node[below]], parent[node[below]]
        begin_V = np.cumsum(length_V) - length_V
        node_P, sign_P = np.empty(int(length_V.sum()), dtype=np.int64), np.empty(int(length_V.sum()), dtype=np.int8)
        for steps, (token, node, way) in enumerate(climbed):
            place = begin_V[token] + length_V[token] - 1 - steps
            node_P[place], sign_P[place] = node, way
        return Paths(begin_V, length_V, node_P, sign_P)


@dataclass(frozen=True)
class Paths:
    """Paths from the root, one after the other: that of token v is node_P[begin_V[v] : begin_V[v] + length_V[v]], with sign 1 to the left."""

    begin_V: Ids
    length_V: Ids
    node_P: Ids
    sign_P: npt.NDArray[np.int8]


def huffman(weights: np.ndarray) -> Tree:
    """The tree with the shortest mean path under the weights: the two lightest parts are joined, again and again (Huffman, 1952)."""
    heap = [(float(weight), -1 - token) for token, weight in enumerate(weights)]
    heapq.heapify(heap)
    joined: list[tuple[int, int]] = []
    while len(heap) > 1:
        light, first = heapq.heappop(heap)
        heavier, second = heap[0]
        heapq.heapreplace(heap, (light + heavier, len(joined)))
        joined.append((second, first))
    return _by_levels(joined)


def _by_levels(joined: list[tuple[int, int]]) -> Tree:
    """The tree of joined pairs, the last of which is the root, with its nodes numbered level by level."""
    rows: list[tuple[int, int]] = []
    queue = [len(joined) - 1] if joined else []
    for node in queue:  # grows while it is read
        numbers = []
        for child in joined[node]:
            numbers.append(child if child < 0 else len(queue))
            if child >= 0:
                queue.append(child)
        rows.append((numbers[0], numbers[1]))
    return Tree(np.array(rows, dtype=np.int64).reshape(-1, 2))


def bisected(order: np.ndarray, weights: np.ndarray | None = None) -> Tree:
    """The tree over tokens in a given order: every part is cut in the middle of its weight, without weights in the middle of its tokens."""
    total = np.concatenate(([0.0], np.cumsum(np.ones(len(order)) if weights is None else np.asarray(weights, dtype=np.float64)[order])))
    rows: list[tuple[int, int]] = []
    parts = [(0, len(order))]
    for low, high in parts:  # grows while it is read: level by level
        cut = middle(total, low, high)
        children = []
        for a, b in ((low, cut), (cut, high)):
            children.append(-1 - int(order[a]) if b - a == 1 else len(parts))
            if b - a > 1:
                parts.append((a, b))
        rows.append((children[0], children[1]))
    return Tree(np.array(rows, dtype=np.int64).reshape(-1, 2))


def middle(total: Floats, low: int, high: int) -> int:
    """Where to cut [low, high) so that both sides weigh most alike, neither being empty. total: the weight before each place."""
    half = (total[low] + total[high]) / 2
    cut = int(np.searchsorted(total[low + 1 : high], half)) + low + 1
    if cut > low + 1 and half - total[cut - 1] <= total[min(cut, high)] - half:
        cut -= 1
    return min(cut, high - 1)


def semantic(vectors_VD: Floats, weights: np.ndarray) -> Tree:
    """Similar tokens below the same nodes: every part is cut along the direction in which its vectors vary most, in the middle of its weight."""
    weights = np.asarray(weights, dtype=np.float64)
    rows: list[tuple[int, int]] = []
    parts = [along_principal_direction(vectors_VD, np.arange(len(weights), dtype=np.int64))]
    for ids in parts:  # grows while it is read: level by level
        cut = middle(np.concatenate(([0.0], np.cumsum(weights[ids]))), 0, len(ids))
        children = []
        for side in (ids[:cut], ids[cut:]):
            children.append(-1 - int(side[0]) if len(side) == 1 else len(parts))
            if len(side) > 1:
                parts.append(along_principal_direction(vectors_VD, side) if len(side) > SMALL else side)
        rows.append((children[0], children[1]))
    return Tree(np.array(rows, dtype=np.int64).reshape(-1, 2))


def entropy_bits(weights: np.ndarray) -> float:
    """-sum p log2 p of weights that are made to sum to 1: no code has a shorter mean length."""
    p = np.asarray(weights, dtype=np.float64)
    p = p[p > 0] / p.sum()
    return float(-(p * np.log2(p)).sum())


def mean_length(tree: Tree, weights: np.ndarray) -> float:
    """Mean length of a path under the weights, in nodes."""
    p = np.asarray(weights, dtype=np.float64)
    return float((p * tree.paths().length_V).sum() / p.sum())
