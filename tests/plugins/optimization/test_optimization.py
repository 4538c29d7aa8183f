"""sgd, adam, sparse_adam, clip_norm, cosine: what they build equals torch's own, and what they say is true."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from pydantic import ValidationError

from engines.api import Trial
from engines.toolbox.optimization import decay_groups, gradient_values, largest_difference, trainable
from engines.toolbox.specimen import Surroundings, backward_of, batches, gradients, specimen
from plugins.memory.gradient_accumulation import GradientAccumulation
from plugins.optimization.adam import Adam
from plugins.optimization.clip_norm import ClipNorm, direction_and_length, sparse_equals_dense
from plugins.optimization.cosine import Cosine
from plugins.optimization.sgd import Sgd
from plugins.optimization.sparse_adam import SparseAdam, equals_adam, three_updates
from plugins.precision.mixed import Mixed

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


# --- Sparse row gradients ---------------------------------------------------------------------------------------------------------------------


def rows_specimen(*, sparse: bool = True) -> torch.nn.Module:
    """The specimen, whose table hands out rows."""
    module = specimen(TRIAL)
    module.embedding.sparse = sparse
    return module


def test_sparse_adam_is_torchs_sparse_adam_on_rows_and_its_adam_on_the_rest() -> None:
    def updated(build) -> torch.Tensor:
        module = rows_specimen()
        optimizers = build(module)
        for batch in batches(TRIAL, 4):
            backward_of(module)(batch, None)
            for optimizer in optimizers:
                optimizer.step()
            module.zero_grad()
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    def torchs(module):
        rest = [p for name, p in module.named_parameters() if name != "embedding.weight"]
        return torch.optim.SparseAdam([module.embedding.weight], lr=0.01), torch.optim.Adam(rest, lr=0.01)

    context = Surroundings(rows_specimen())
    ours = updated(lambda module: [SparseAdam(lr=0.01).optimizer(None, context)(module)])
    assert torch.equal(ours, updated(torchs))
    assert [sentence for sentence, _ in context.effects][1].startswith("1 of ")


def test_sparse_adam_without_sparse_gradients_is_adam_and_says_so() -> None:
    context = Surroundings(specimen(TRIAL))
    ours = trained(lambda module: SparseAdam(lr=0.01, weight_decay=0.1).optimizer(None, context)(module))
    assert torch.equal(ours, trained(lambda module: Adam(lr=0.01, weight_decay=0.1).optimizer(None, Surroundings(module))(module)))
    assert "this is Adam" in context.effects[1][0]


def test_sparse_adam_leaves_rows_that_did_not_occur_alone_and_goes_on_from_its_state() -> None:
    def run(interrupted: bool) -> torch.Tensor:
        module = rows_specimen()
        build = SparseAdam(lr=0.01, weight_decay=0.1).optimizer(None, Surroundings(module))
        optimizer, before = build(module), module.embedding.weight.detach().clone()
        used: set[int] = set()
        for n, batch in enumerate(batches(TRIAL, 4)):
            if interrupted and n == 2:
                saved = optimizer.state_dict()
                optimizer = build(module)
                optimizer.load_state_dict(saved)
            short = type(batch)(batch.inputs_BT[:, :2], batch.targets_BT[:, :2])
            backward_of(module)(short, None)
            used |= set(short.inputs_BT.flatten().tolist())
            optimizer.step()
            optimizer.zero_grad()
        moved = (module.embedding.weight != before).any(dim=1).nonzero().flatten().tolist()
        assert set(moved) == used
        assert len(used) < TRIAL.vocabulary
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    assert torch.equal(run(True), run(False))


def test_a_gradient_that_changes_its_kind_is_refused() -> None:
    module = rows_specimen()
    optimizer = SparseAdam().optimizer(None, Surroundings(module))(module)
    for sparse, refused in ((True, False), (False, True)):
        module.embedding.sparse = sparse
        module.zero_grad()
        backward_of(module)(batches(TRIAL, 1)[0], None)
        if refused:
            with pytest.raises(ValueError, match="is dense in this update and was sparse before"):
                optimizer.step()
        else:
            optimizer.step()


@pytest.mark.parametrize("technique", [Adam(), Adam(weight_decay=0.1), Sgd(momentum=0.9), Sgd(weight_decay=0.1)], ids=repr)
def test_optimizers_that_move_every_row_refuse_sparse_gradients_by_name(technique) -> None:
    module = rows_specimen()
    optimizer = technique.optimizer(None, Surroundings(module))(module)
    backward_of(module)(batches(TRIAL, 1)[0], None)
    with pytest.raises(ValueError, match=r"embedding\.weight hands out sparse ones: use optimization/sparse_adam"):
        optimizer.step()


@pytest.mark.parametrize("tied", [False, True])
def test_plain_sgd_takes_sparse_gradients_and_moves_as_with_dense_ones(tied: bool) -> None:
    def run(sparse: bool) -> torch.Tensor:
        module = specimen(TRIAL, tied=tied)
        module.embedding.sparse = sparse
        optimizer = Sgd(lr=0.3).optimizer(None, Surroundings(module))(module)
        for batch in batches(TRIAL, 3):
            backward_of(module)(batch, None)
            assert module.embedding.weight.grad.is_sparse == (sparse and not tied), "a tied full softmax reads all rows"
            optimizer.step()
            optimizer.zero_grad()
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    assert largest_difference(run(True), run(False)) < 1e-12


@pytest.mark.parametrize("half", [False, True])
def test_sparse_gradients_accumulate_and_survive_mixed_precision_as_dense_ones_do(half: bool) -> None:
    def run(sparse: bool) -> torch.Tensor:
        with torch.random.fork_rng():
            module = rows_specimen(sparse=sparse).float()
        context = Surroundings(module)
        loss_of = Mixed().loss(module, context) if half else module
        backward = GradientAccumulation(micro_batches=2).gradient(backward_of(loss_of), context)
        update = ClipNorm(max_norm=0.01).step(lambda: None, context)
        if half:
            update = Mixed().step(update, context)
        backward(batches(TRIAL, 1)[0], None)
        assert module.embedding.weight.grad.is_sparse == sparse
        update()
        return torch.cat([p.grad.to_dense().flatten() for p in module.parameters()])

    assert largest_difference(run(True), run(False)) < 1e-8


def test_the_loss_scale_is_exact_on_sparse_gradients() -> None:
    def run(scaled: bool) -> torch.Tensor:
        module = rows_specimen()
        backward = backward_of(module)
        if scaled:
            context = Surroundings(module)
            backward = Mixed(dtype="fp16").gradient(backward, context)
        backward(batches(TRIAL, 1)[0], None)
        if scaled:
            Mixed(dtype="fp16").step(lambda: None, context)()
            assert context.state["clean"] == 1
        return torch.cat([values.flatten() for values in gradient_values(module.parameters())])

    assert torch.equal(run(True), run(False))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("certificate", [three_updates, equals_adam, sparse_equals_dense, direction_and_length])
def test_certificates_of_sparse_gradients_on_a_gpu(certificate, dtype: str) -> None:
    assert certificate(Trial(device="cuda", dtype=dtype)) < (1e-6 if dtype == "float64" else 1e-4)
