"""quantization/kmeans against scikit-learn's k-means from the same first centroids."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.quantization.kmeans import cluster

sklearn_cluster = pytest.importorskip("sklearn.cluster")


@pytest.mark.parametrize("k", [4, 16])
def test_inertia_from_the_same_start(k: int) -> None:
    weight = torch.randn(40, 50, generator=torch.Generator().manual_seed(k))
    x = weight.flatten().double().numpy()[:, None]
    start = np.linspace(x.min(), x.max(), k)[:, None]
    theirs = sklearn_cluster.KMeans(k, init=start, n_init=1, max_iter=1000, tol=0).fit(x).inertia_
    values, code = cluster(weight, k, "linear")
    assert float((weight - values[code]).double().square().sum()) == pytest.approx(theirs, rel=1e-3)
