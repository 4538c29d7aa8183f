"""Partitions of a vocabulary: shares, sizes, vectors and the files they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engines.toolbox import clusters, trials

COUNTS = trials.zipf_vocabulary(1000).counts


@pytest.mark.parametrize("count", [1, 2, 31, 999, 1000])
def test_every_partition_has_as_many_classes_as_asked_for(count: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((1000, 4))
    for class_V in (
        clusters.mass_clusters(COUNTS, count),
        clusters.random_clusters(1000, count, 3),
        clusters.bisected_clusters(vectors, count),
        clusters.kmeans_clusters(vectors, count, 0, iterations=3),
    ):
        sizes = np.bincount(class_V, minlength=count)
        assert len(sizes) == count
        assert sizes.min() >= 1


def test_mass_classes_hold_equal_shares_where_no_token_is_heavier_than_one() -> None:
    for weights in (COUNTS, np.sqrt(COUNTS), np.ones(1000)):
        class_V = clusters.mass_clusters(weights, 8)
        share = np.bincount(class_V, weights=weights) / weights.sum()
        heavy = weights.max() / weights.sum()
        assert np.abs(share - 1 / 8).max() <= max(heavy, 0.02)
    assert clusters.mass_clusters(np.array([1.0, 100.0, 1.0, 1.0, 1.0]), 3).tolist() == [1, 0, 1, 2, 2]


def test_classes_by_root_of_frequency_are_more_even_than_by_frequency() -> None:
    by_mass, by_root = (np.bincount(clusters.mass_clusters(weights, 32)) for weights in (COUNTS, np.sqrt(COUNTS)))
    assert by_root.max() < by_mass.max() / 2


def test_random_and_bisected_classes_have_equal_sizes() -> None:
    vectors = np.random.default_rng(1).standard_normal((1000, 5))
    for class_V in (clusters.random_clusters(1000, 7, 0), clusters.bisected_clusters(vectors, 7)):
        sizes = np.bincount(class_V)
        assert sizes.max() - sizes.min() <= 2
    assert (clusters.random_clusters(1000, 7, 0) != clusters.random_clusters(1000, 7, 1)).any()


def planted(groups: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around well separated centres, and which centre."""
    draw = np.random.default_rng(2)
    which = draw.permutation(np.arange(groups * each) % groups)
    centre = 10 * draw.standard_normal((groups, 6))
    return centre[which] + 0.1 * draw.standard_normal((groups * each, 6)), which


def test_planted_groups_are_found() -> None:
    vectors, which = planted(4, 25)
    for class_V in (clusters.kmeans_clusters(vectors, 4, 0), clusters.bisected_clusters(vectors, 4)):
        assert len({(a, b) for a, b in zip(class_V.tolist(), which.tolist(), strict=True)}) == 4


def test_kmeans_ends_where_every_token_is_nearest_to_the_mean_of_its_class() -> None:
    vectors = np.random.default_rng(4).standard_normal((300, 3))
    class_V = clusters.kmeans_clusters(vectors, 6, 0, iterations=200)
    centre = np.stack([vectors[class_V == k].mean(axis=0) for k in range(6)])
    assert (((vectors[:, None] - centre) ** 2).sum(axis=2).argmin(axis=1) == class_V).all()


def test_equal_vectors_leave_no_class_empty() -> None:
    same = np.zeros((20, 3))
    assert np.bincount(clusters.kmeans_clusters(same, 5, 0), minlength=5).min() >= 1
    assert np.bincount(clusters.bisected_clusters(same, 5), minlength=5).tolist() == [4, 4, 4, 4, 4]


def test_the_principal_direction_is_the_leading_eigenvector() -> None:
    draw = np.random.default_rng(5)
    x = draw.standard_normal((500, 4)) * np.array([9.0, 2.0, 1.0, 0.5])
    x -= x.mean(axis=0)
    _, _, vt = np.linalg.svd(x, full_matrices=False)
    assert abs(clusters.principal_direction(x) @ vt[0]) > 0.999


def test_directions_have_length_one_and_tokens_without_a_vector_none(tmp_path: Path) -> None:
    weight = torch.randn(12, 3)
    weight[5] = 0
    save_file({"embedding.weight": weight, "head.output.weight": torch.randn(12, 3)}, tmp_path / "weights.safetensors")
    found = clusters.directions(tmp_path, trials.zipf_vocabulary(12))
    np.testing.assert_allclose(found[:5], (weight[:5] / weight[:5].norm(dim=1, keepdim=True)).numpy(), rtol=1e-6)
    assert (found[5] == 0).all()
    with torch.device("meta"):
        np.testing.assert_array_equal(clusters.directions(tmp_path, trials.zipf_vocabulary(12)), found)


def test_more_classes_than_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="5 tokens cannot be cut into 6 classes: take 1 to 5"):
        clusters.mass_clusters(np.ones(5), 6)
