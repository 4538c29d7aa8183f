"""Class-based softmax: partitions, classes from vectors that come with the saved model, row gradients, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from engines.api import Trial
from engines.toolbox import trials
from plugins.softmax import class_based
from tests.plugins.checks import EXACT
from tests.plugins.softmax.rows import rows_and_targets


def build(trial: Trial = EXACT, **parameters: object) -> class_based.ClassSoftmax:
    with trials.seeded(trial):
        return class_based.ClassBased(**parameters).build(trials.site(trial))


@pytest.mark.parametrize("classes", [1, 2, 39, 40])
def test_any_number_of_classes_is_a_distribution(classes: int) -> None:
    head = build(classes=classes)
    h_ND, y_N = rows_and_targets(EXACT)
    log_p = head.log_prob(h_ND)
    torch.testing.assert_close(log_p.exp().sum(dim=1), torch.ones(len(h_ND), dtype=torch.float64))
    torch.testing.assert_close(head.nll(h_ND, y_N), -log_p.gather(1, y_N[:, None]).squeeze(1))


def test_the_default_has_as_many_classes_as_the_root_of_the_vocabulary() -> None:
    head = build(Trial(vocabulary=900))
    assert head.classes.out_features == len(head.sizes) == 30
    assert max(head.sizes) < 100


def test_only_rows_of_occurring_classes_get_a_gradient_sparse_or_not() -> None:
    dense, sparse = build(Trial(vocabulary=300)), build(Trial(vocabulary=300), sparse=True)
    h_ND, _ = rows_and_targets(Trial(vocabulary=300))
    y_N = torch.randint(250, 255, (len(h_ND),), generator=torch.Generator().manual_seed(0))
    gradients = [torch.autograd.grad(head.loss(h_ND, y_N), head.output.weight)[0] for head in (dense, sparse)]
    assert gradients[1].is_sparse
    torch.testing.assert_close(gradients[1].to_dense(), gradients[0])
    touched = gradients[0].abs().sum(dim=1) > 0
    assert touched.tolist() == torch.isin(dense.class_V, dense.class_V[y_N].unique()).tolist()


@pytest.mark.parametrize("by", ["kmeans", "bisection"])
def test_classes_from_vectors_come_with_the_saved_model(by: str, tmp_path: Path) -> None:
    file = tmp_path / "vectors.safetensors"
    save_file({"words": torch.randn(40, 3, generator=torch.Generator().manual_seed(0))}, file)
    head = build(by=by, vectors=file, classes=5)
    save_file({"words": torch.randn(40, 3, generator=torch.Generator().manual_seed(1))}, file)
    other = build(Trial(width=8, vocabulary=40, seed=7), by=by, vectors=file, classes=5)
    assert not torch.equal(head.class_V, other.class_V)
    other.load_state_dict(head.state_dict())
    h_ND, y_N = rows_and_targets(EXACT)
    assert torch.equal(other.nll(h_ND, y_N), head.nll(h_ND, y_N))
    torch.testing.assert_close(other.log_prob(h_ND).exp().sum(dim=1), torch.ones(len(h_ND), dtype=torch.float64))
    assert "class_V" not in build().state_dict()


def test_what_does_not_fit_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="40 tokens cannot be cut into 41 classes"):
        build(classes=41)
    with pytest.raises(ValidationError, match=r'by is "kmeans" and vectors is missing'):
        class_based.ClassBased(by="kmeans")
    with pytest.raises(ValidationError, match=r'by is "random" and vectors names'):
        class_based.ClassBased(by="random", vectors=tmp_path)
