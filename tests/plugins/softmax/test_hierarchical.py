"""Hierarchical softmax: the tree that is built, trees from vectors that come with the saved model, row gradients, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from engines.api import Trial
from engines.toolbox import trees, trials
from plugins.softmax import hierarchical
from tests.plugins.checks import EXACT
from tests.plugins.softmax.rows import rows_and_targets


def build(trial: Trial = EXACT, **parameters: object) -> hierarchical.TreeSoftmax:
    with trials.seeded(trial):
        return hierarchical.Hierarchical(**parameters).build(trials.site(trial))


def test_two_tokens_are_logistic_regression() -> None:
    trial = Trial(vocabulary=2, width=8, batch=2, length=13)
    head = build(trial)
    h_ND, y_N = rows_and_targets(trial)
    score_N = head.nodes(torch.zeros(len(h_ND), dtype=torch.int64)) @ head.nodes.weight[0] * 0 + h_ND @ head.nodes.weight[0] + head.bias[0]
    left = head.children_T2[0, 0] == -1 - y_N
    torch.testing.assert_close(head.nll(h_ND, y_N), torch.nn.functional.binary_cross_entropy_with_logits(score_N, left.double(), reduction="none"))


def test_the_mean_path_follows_the_tree() -> None:
    counts = trials.zipf_vocabulary(500).counts
    mean = {}
    for kind in ("huffman", "balanced", "random"):
        head = build(Trial(vocabulary=500), tree=kind)
        assert sorted(head.length_V.tolist()) == sorted(trees.Tree(head.children_T2.numpy()).paths().length_V.tolist())
        mean[kind] = float((head.length_V * torch.tensor(counts)).sum() / counts.sum())
    assert trees.entropy_bits(counts) <= mean["huffman"] < trees.entropy_bits(counts) + 1
    assert mean["huffman"] < 8 < mean["balanced"] <= 9
    assert 8 < mean["random"] <= 9


def test_only_nodes_on_the_paths_get_a_gradient_sparse_or_not() -> None:
    dense, sparse = build(), build(sparse=True)
    h_ND, _ = rows_and_targets(EXACT)
    y_N = torch.full((len(h_ND),), 17)
    gradients = [torch.autograd.grad(head.loss(h_ND, y_N), head.nodes.weight)[0] for head in (dense, sparse)]
    assert gradients[1].is_sparse
    torch.testing.assert_close(gradients[1].to_dense(), gradients[0])
    paths = trees.Tree(dense.children_T2.numpy()).paths()
    on_path = paths.node_P[paths.begin_V[17] : paths.begin_V[17] + paths.length_V[17]]
    assert np.flatnonzero(gradients[0].abs().sum(dim=1).numpy()).tolist() == sorted(on_path.tolist())


def test_a_tree_from_vectors_comes_with_the_saved_model(tmp_path: Path) -> None:
    file = tmp_path / "vectors.safetensors"
    save_file({"words": torch.randn(40, 3, generator=torch.Generator().manual_seed(0))}, file)
    head = build(tree="semantic", vectors=file)
    save_file({"words": torch.randn(40, 3, generator=torch.Generator().manual_seed(1))}, file)
    other = build(Trial(width=8, vocabulary=40, seed=7), tree="semantic", vectors=file)
    assert not torch.equal(head.children_T2, other.children_T2)
    other.load_state_dict(head.state_dict())
    h_ND, y_N = rows_and_targets(EXACT)
    assert torch.equal(other.nll(h_ND, y_N), head.nll(h_ND, y_N))
    assert torch.equal(other.log_prob(h_ND), head.log_prob(h_ND))
    assert "children_T2" not in build().state_dict()


def test_what_does_not_fit_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="belong together"):
        hierarchical.Hierarchical(tree="semantic")
    with pytest.raises(ValidationError, match="belong together"):
        hierarchical.Hierarchical(vectors=tmp_path)
    with pytest.raises(ValueError, match="at least 2 tokens, but the vocabulary has 1"):
        build(Trial(vocabulary=1))
