"""Heads that are trained on samples, on a CUDA GPU: the CPU's numbers, draws where the model is, sparse rows, autocast."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engines.api import Trial
from engines.toolbox import trials
from plugins.softmax.hard_negatives import HardNegatives
from plugins.softmax.importance_sampled import ImportanceSampled
from plugins.softmax.nce import NoiseContrastive
from plugins.softmax.negative_sampling import NegativeSampling
from tests.plugins.softmax.rows import rows_and_targets

TRIAL = Trial(dtype="float64", vocabulary=300)
BLOCKS: dict[str, Any] = {
    "sampled": ImportanceSampled(samples=20),
    "sampled, each its own": ImportanceSampled(samples=20, unique=False, shared=False),
    "BlackOut": ImportanceSampled(samples=20, estimator="blackout"),
    "NCE": NoiseContrastive(samples=20, penalty=0.1),
    "negative sampling": NegativeSampling(samples=20),
    "hard negatives": HardNegatives(negatives=7),
}

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", BLOCKS)
def test_the_same_sample_gives_the_loss_and_the_gradients_of_the_cpu(name: str) -> None:
    with trials.seeded(TRIAL):
        head = BLOCKS[name].build(trials.site(TRIAL))
    h_ND, y_N = rows_and_targets(TRIAL, ignored=2)
    each = name in ("sampled, each its own", "hard negatives")
    sample = torch.arange(7 * len(y_N)).view(-1, 7) % 300 if each else torch.arange(0, 300, 11)
    found = []
    for device in ("cpu", "cuda"):
        head = head.to(device)
        here_ND = h_ND.detach().to(device).requires_grad_()
        loss = head.loss_on(here_ND, y_N.to(device), sample.to(device))
        found.append([part.cpu() for part in (loss, *torch.autograd.grad(loss, [here_ND, *head.parameters()]))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", BLOCKS)
def test_draws_sparse_rows_and_autocast(name: str) -> None:
    trial = Trial(dtype="float32", vocabulary=300)
    with trials.seeded(trial):
        head = BLOCKS[name].model_copy(update={"sparse": True}).build(trials.site(trial)).to("cuda")
    h_ND, y_N = (each.to("cuda") for each in rows_and_targets(trial))
    torch.cuda.manual_seed(0)
    exact = head.loss(h_ND, y_N)
    torch.cuda.manual_seed(0)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        mixed = head.loss(h_ND, y_N)
    mixed.backward()
    assert mixed.dtype == torch.float32
    assert trials.relative_error(mixed, exact) < 0.02
    assert head.output.weight.grad.is_sparse
    torch.optim.SparseAdam([head.output.weight], lr=0.1).step()
    assert head.output.weight.isfinite().all()
