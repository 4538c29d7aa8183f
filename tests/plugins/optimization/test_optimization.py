"""sgd, adam, clip_norm, cosine: what they build equals torch's own, and what they say is true."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

from engines.api import Trial
from engines.toolbox.optimization import decay_groups, largest_difference, trainable
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen
from plugins.optimization.adam import Adam
from plugins.optimization.clip_norm import ClipNorm
from plugins.optimization.cosine import Cosine
from plugins.optimization.sgd import Sgd

TRIAL = Trial(length=5, width=8, vocabulary=11)


def trained(build, steps: int = 3) -> torch.Tensor:
    """All weights of the specimen after a few updates of the optimiser that build(model) returns."""
    module = specimen(TRIAL, tied=True)
    optimizer = build(module)
    for batch in batches(TRIAL, steps):
        backward_of(module)(batch, None)
        optimizer.step()
        optimizer.zero_grad()
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@pytest.mark.parametrize(
    ("technique", "reference"),
    [
        (Sgd(lr=0.3), lambda m: torch.optim.SGD(m.parameters(), lr=0.3)),
        (Sgd(lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.01), lambda m: torch.optim.SGD(m.parameters(), 0.3, 0.9, 0, 0.01, True)),
        (Adam(lr=0.01), lambda m: torch.optim.Adam(m.parameters(), lr=0.01)),
        (Adam(lr=0.01, weight_decay=0.1, decoupled=False), lambda m: torch.optim.Adam(m.parameters(), lr=0.01, weight_decay=0.1)),
        (Adam(lr=0.01, amsgrad=True, beta1=0.5), lambda m: torch.optim.Adam(m.parameters(), lr=0.01, betas=(0.5, 0.999), amsgrad=True)),
        (Adam(lr=0.01, weight_decay=0.1), lambda m: torch.optim.AdamW(decay_groups(m.parameters(), 0.1), lr=0.01)),
    ],
    ids=["sgd", "sgd-nesterov-decay", "adam", "adam-coupled", "amsgrad", "adamw"],
)
def test_three_updates_equal_torch(technique, reference) -> None:
    ours = trained(lambda module: technique.optimizer(None, Surroundings(module))(module))
    assert torch.equal(ours, trained(reference))


def test_a_tied_weight_is_moved_once_and_frozen_ones_not_at_all() -> None:
    module = specimen(TRIAL, tied=True)
    module.layers[0].requires_grad_(False)
    context = Surroundings(module)
    optimizer = Adam().optimizer(None, context)(module)
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    assert len({id(p) for p in moved}) == len(moved) == len(trainable(module))
    assert sum(p is module.embedding.weight for p in moved) == 1
    assert f"moves {sum(p.numel() for p in moved):,} parameters in {len(moved)} tensors" in context.effects[0][0]


def test_decoupled_decay_spares_vectors() -> None:
    module = specimen(TRIAL)
    optimizer = Adam(weight_decay=0.1).optimizer(None, Surroundings(module))(module)
    assert {(p.ndim > 1, group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]} == {(True, 0.1), (False, 0.0)}


def test_nesterov_without_momentum_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValidationError, match="set momentum"):
        Sgd(nesterov=True)


def test_clipping_equals_torch_and_logs_the_norm_before_it() -> None:
    module = specimen(TRIAL)
    batch = batches(TRIAL, 1)[0]
    backward_of(module)(batch, None)
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 0.01)
    expected = gradients(module).clone()

    module.zero_grad()
    backward_of(module)(batch, None)
    context, seen = Surroundings(module), []
    update = ClipNorm(max_norm=0.01).step(lambda: seen.append(gradients(module).clone()), context)
    update()
    assert largest_difference(seen[0], expected) == 0
    assert context.logged == [("train/gradient_norm", pytest.approx(float(norm)), ""), ("clipped", 1.0, "share of updates")]
    context.step = 1
    update()
    assert len(context.logged) == 2, "a norm is read only every few updates"


def test_a_norm_that_is_no_number_does_not_hide() -> None:
    module = specimen(TRIAL)
    backward_of(module)(batches(TRIAL, 1)[0], None)
    module.embedding.weight.grad[0, 0] = math.nan
    context = Surroundings(module)
    ClipNorm().step(lambda: None, context)()
    assert math.isnan(context.logged[0][1])


def test_cosine_is_positive_from_the_first_update_continuous_and_multiplies_what_it_gets() -> None:
    technique = Cosine(warmup=0.1, floor=0.1)
    m = technique.schedule(lambda p: 2.0, Surroundings(specimen(TRIAL)))
    values = [m(i / 1000) for i in range(1001)]
    assert values[0] > 0
    assert max(abs(a - b) for a, b in itertools.pairwise(values)) < 0.03
    assert max(values) == pytest.approx(2.0)
    assert m(1.0) == m(1.5) == pytest.approx(0.2)
    assert Cosine(warmup=0, floor=1).at(0.7) == 1.0
