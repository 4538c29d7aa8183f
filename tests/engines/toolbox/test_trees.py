"""Trees over a vocabulary against codes that are built another way, entropy bounds, and paths that are walked by hand."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from engines.toolbox import clusters, trees, trials

DRAW = np.random.default_rng(0)


def code_lengths(weights: np.ndarray) -> list[int]:
    """Lengths of a Huffman code, from a heap of groups whose members all move one step down with every joining."""
    heap = [(int(weight), i, [i]) for i, weight in enumerate(weights)]
    heapq.heapify(heap)
    lengths, fresh = [0] * len(weights), len(weights)
    while len(heap) > 1:
        one, other = heapq.heappop(heap), heapq.heappop(heap)
        for token in one[2] + other[2]:
            lengths[token] += 1
        heapq.heappush(heap, (one[0] + other[0], fresh, one[2] + other[2]))
        fresh += 1
    return lengths


def walked(tree: trees.Tree) -> dict[int, list[tuple[int, int]]]:
    """(node, sign) of every turn towards each token, by going down the tree."""
    found: dict[int, list[tuple[int, int]]] = {}

    def visit(node: int, path: list[tuple[int, int]]) -> None:
        for child, sign in zip(tree.children[node].tolist(), (1, -1), strict=True):
            if child < 0:
                assert -1 - child not in found
                found[-1 - child] = [*path, (node, sign)]
            else:
                visit(child, [*path, (node, sign)])

    visit(0, [])
    return found


def every_tree(size: int) -> list[trees.Tree]:
    counts = trials.zipf_vocabulary(size).counts
    vectors = np.random.default_rng(1).standard_normal((size, 3))
    order = clusters.frequency_order(counts)
    return [trees.huffman(counts), trees.bisected(order), trees.bisected(order, counts), trees.semantic(vectors, counts)]


@pytest.mark.parametrize("size", [2, 3, 50, 211])
def test_every_token_is_one_leaf_and_its_path_is_the_way_down(size: int) -> None:
    for tree in every_tree(size):
        paths, ways = tree.paths(), walked(tree)
        assert sorted(ways) == list(range(size))
        assert paths.length_V.sum() == len(paths.node_P) == len(paths.sign_P)
        for token, way in ways.items():
            part = slice(paths.begin_V[token], paths.begin_V[token] + paths.length_V[token])
            assert list(zip(paths.node_P[part].tolist(), paths.sign_P[part].tolist(), strict=True)) == way
        assert abs(sum(2.0 ** -len(way) for way in ways.values()) - 1) < 1e-12  # Kraft: a full binary tree


def test_nodes_are_numbered_level_by_level() -> None:
    for tree in every_tree(211):
        depth = {0: 0}
        for node, children in enumerate(tree.children.tolist()):
            depth |= {child: depth[node] + 1 for child in children if child >= 0}
        assert [depth[node] for node in range(tree.size - 1)] == sorted(depth.values())
        inner = tree.children[tree.children >= 0].tolist()
        assert inner == list(range(1, tree.size - 1))
        assert tree.levels()[0] == (0, 1)
        assert tree.levels()[-1][1] == tree.size - 1
        assert all(depth[node] == level for level, (low, high) in enumerate(tree.levels()) for node in range(low, high))


@pytest.mark.parametrize("size", [2, 7, 500])
def test_huffman_lengths_are_those_of_another_huffman_code(size: int) -> None:
    weights = np.unique(DRAW.integers(1, 2**40, 2 * size))[:size]  # different, so that no sums tie
    assert trees.huffman(weights).paths().length_V.tolist() == code_lengths(weights)


def test_huffman_is_as_short_as_another_huffman_code_where_weights_tie() -> None:
    counts = np.maximum(1, 40 // np.arange(1, 120))
    ours = (trees.huffman(counts).paths().length_V * counts).sum()
    assert ours == (np.array(code_lengths(counts)) * counts).sum()


def test_mean_path_lies_between_entropy_and_entropy_plus_one() -> None:
    for weights in (trials.zipf_vocabulary(3000).counts, np.ones(1000), DRAW.integers(1, 10**6, 777), np.array([1000, 1])):
        entropy, mean = trees.entropy_bits(weights), trees.mean_length(trees.huffman(weights), weights)
        assert entropy <= mean + 1e-12
        assert mean < entropy + 1
    assert trees.entropy_bits(np.ones(1024)) == trees.mean_length(trees.huffman(np.ones(1024)), np.ones(1024)) == 10


def test_balanced_paths_differ_by_one_at_most() -> None:
    for size in (2, 5, 64, 211):
        length = trees.bisected(np.arange(size)).paths().length_V
        assert length.max() == int(np.ceil(np.log2(size)))
        assert length.max() - length.min() <= 1


def test_cuts_in_the_middle_of_the_weight_stay_within_two_nodes_of_the_entropy() -> None:
    counts = trials.zipf_vocabulary(2000).counts
    vectors = np.random.default_rng(3).standard_normal((2000, 4))
    for tree in (trees.bisected(np.arange(2000), counts), trees.semantic(vectors, counts)):
        assert trees.mean_length(tree, counts) < trees.entropy_bits(counts) + 2


def test_a_semantic_tree_parts_planted_groups_at_the_root() -> None:
    draw = np.random.default_rng(6)
    which = draw.permutation(np.arange(200) % 2)
    vectors = np.where(which[:, None] == 0, 5.0, -5.0) + 0.1 * draw.standard_normal((200, 3))
    paths = trees.semantic(vectors, np.ones(200)).paths()
    first = paths.sign_P[paths.begin_V]
    assert len(set(zip(first.tolist(), which.tolist(), strict=True))) == 2
