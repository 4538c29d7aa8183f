"""quantization/kmeans: how good the clusters are, what is trained on, what is stored."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.api import Trial
from engines.toolbox.specimen import Surroundings, specimen
from plugins.quantization.kmeans import KMeans, cluster, pooled
from tests.engines.runtime import session as small

TRIAL = Trial(width=24, vocabulary=60, dtype="float32")


def optimum(x: np.ndarray, k: int) -> float:
    """The least sum of squares of k clusters on a line, by dynamic programming over all borders."""
    x = np.sort(x)
    first, second = (np.concatenate([[0.0], np.cumsum(part)]) for part in (x, x**2))
    n = len(x)
    low, high = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    size = np.maximum(high - low, 1)
    cost = np.where(high > low, second[high] - second[low] - (first[high] - first[low]) ** 2 / size, np.inf)
    best = cost[0]
    for _ in range(k - 1):
        best = np.minimum(best, (best[:, None] + cost).min(axis=0))
    return float(best[-1])


def inertia(weight: torch.Tensor, k: int, initial: str) -> float:
    values, code = cluster(weight, k, initial)  # type: ignore[arg-type]
    return float((weight - values[code]).double().square().sum())


@pytest.mark.parametrize("k", [2, 4, 8])
def test_clusters_are_near_the_best_there_are(k: int) -> None:
    weight = torch.randn(20, 12, generator=torch.Generator().manual_seed(k))
    best = optimum(weight.flatten().double().numpy(), k)
    found = min(inertia(weight, k, "linear"), inertia(weight, k, "quantile"))
    assert best * (1 - 1e-6) <= found <= 1.15 * best


def test_pruned_weights_keep_zero_and_one_code() -> None:
    weight = torch.randn(30, 30, generator=torch.Generator().manual_seed(0))
    weight[weight.abs() < 0.8] = 0
    values, code = cluster(weight, 8, "linear")
    assert len(values) == 8
    assert torch.equal(values[code] == 0, weight == 0)
    zeros, code = cluster(torch.zeros(3, 3), 4, "linear")
    assert zeros[code].eq(0).all()


def test_sums_and_means_by_hand() -> None:
    x, code = torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([1, 1, 0, -1])
    assert pooled(x, code, mean=False).tolist() == [3.0, 3.0, 4.0, 0.0]
    assert pooled(x, code, mean=True).tolist() == [1.5, 1.5, 4.0, 0.0]


def test_the_file_has_codes_and_lists_and_the_entropy_is_less() -> None:
    module = specimen(TRIAL).eval()
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)  # of even weights every code is as frequent as any other
    context = Surroundings(module)
    original = copy.deepcopy(module)
    module, record = KMeans(bits=3, layer_bits={"head*": 5}).finish(module, context)
    sentence, figures = context.effects[0]
    sizes = {name: each["size"] for name, each in record["matrices"].items()}
    assert 28 <= sizes["head.output.weight"] <= 32  # an empty cluster is not stored
    assert sizes["layers.0.feedforward.linear.weight"] == 8
    weights = {name: original.get_parameter(name).numel() for name in sizes}
    assert figures["stored_bytes"] == sum(n * (5 if "head" in name else 3) / 8 + 4 * sizes[name] for name, n in weights.items())
    assert context.logged[0][1] < figures["bits"]
    assert "(stated, not stored)" in sentence


def test_fine_tuning_moves_values_and_leaves_codes_and_zeros(tmp_path: Path) -> None:
    recipe = [{"id": "optimization/adam", "lr": 0.01}, {"id": "pruning/magnitude", "sparsity": 0.5, "fine_tune_tokens": 0}]
    found = {}
    for tokens in (0, 20 * 8 * 12):
        own = {"id": "quantization/kmeans", "bits": 2, "fine_tune_tokens": tokens, "fine_tune_lr": 1.0}
        trainer = small.trainer(tmp_path / str(tokens), small.plan([*recipe, own], budget={"steps": 30}))
        trainer.train()
        trainer.pipeline.finish()
        found[tokens] = trainer.held_out()[0].value, dict(trainer.session.model.state_dict())
    (before, plain), (after, tuned) = found.values()
    assert after < before
    codes = [name for name in plain if name.endswith("packed")]
    assert codes
    assert all(torch.equal(plain[name], tuned[name]) for name in codes)
    values = [name for name in plain if name.endswith("values")]
    assert all(not torch.equal(plain[name], tuned[name]) for name in values)
    assert all(torch.equal(plain[name] == 0, tuned[name] == 0) for name in values)
