"""placement/device. The logic of crossings is tested on the CPU with a second CPU device (cpu:1, whose tensors live in the same memory);
the real thing needs a GPU."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from engines.api import Trial
from engines.toolbox import placement
from engines.toolbox.placement import Ledger, carry, ledger_of, outermost, place, torn
from engines.toolbox.specimen import Surroundings, backward_of, batches, specimen
from plugins.memory.gradient_checkpointing import GradientCheckpointing
from plugins.optimization.adam import Adam
from plugins.optimization.clip_norm import ClipNorm
from plugins.placement.device import DevicePlacement

TRIAL = Trial(length=5, width=8, vocabulary=13, dtype="float32")
OTHER = torch.device("cpu", 1)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of every placed part seem to lie on cpu:1, so that arguments have to cross."""
    monkeypatch.setattr(placement, "device_of", lambda part: OTHER)


def test_what_moves_is_counted_once_and_its_gradient_on_the_way_back() -> None:
    x, ids = torch.ones(3, 4, requires_grad=True), torch.zeros(5, dtype=torch.int64)
    ledger = Ledger()
    y, (same, flag) = carry((x * 2, [ids, True]), OTHER, ledger)
    assert (ledger.transfers, ledger.bytes) == (2, 3 * 4 * 4 + 5 * 8)
    assert flag is True
    assert torch.equal(same, ids)
    y.sum().backward()
    assert (ledger.transfers, ledger.bytes) == (3, 2 * 3 * 4 * 4 + 5 * 8)
    assert torch.equal(x.grad, torch.full((3, 4), 2.0))
    ledger.clear()
    with torch.no_grad():
        carry(x, OTHER, ledger)
    assert ledger.transfers == 0, "evaluation is not counted"
    carry(x, torch.device("cpu"), ledger)
    assert ledger.transfers == 0, "what is there already does not move"


def test_a_placed_model_computes_the_same_and_counts_every_entrance(elsewhere: None) -> None:
    batch = batches(TRIAL, 1)[0]
    plain, parted = specimen(TRIAL), specimen(TRIAL)
    ledger = Ledger()
    for name in ("embedding", "layers.0", "head"):
        place(parted.get_submodule(name), ledger)
    ours, theirs = backward_of(parted)(batch, None), backward_of(plain)(batch, None)
    assert torch.equal(ours[0], theirs[0])
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(parted.parameters(), plain.parameters(), strict=True))
    hidden = 2 * 5 * 8 * 4
    # ids; the layer's input and its gradient; the head's input, its gradient, and the targets
    assert (ledger.transfers, ledger.bytes) == (6, 2 * 5 * 8 + 2 * hidden + 2 * hidden + 2 * 5 * 8)
    assert list(parted.state_dict()) == list(plain.state_dict())


def test_one_entrance_calling_another_crosses_once(elsewhere: None) -> None:
    class Head(nn.Module):
        def log_prob(self, x: torch.Tensor) -> torch.Tensor:
            return x

        def nll(self, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return self.log_prob(x).sum(1)

    head, ledger = Head(), Ledger()
    place(head, ledger)
    head.nll(torch.ones(2, 3), torch.zeros(2, dtype=torch.int64))
    assert ledger.transfers == 2
    head.log_prob(torch.ones(2, 3))
    assert ledger.transfers == 3


def test_a_copy_crosses_to_its_own_weights(elsewhere: None) -> None:
    module = specimen(TRIAL)
    place(module.layers[0], Ledger())
    GradientCheckpointing().model(module, Surroundings(module))
    copied = copy.deepcopy(module)
    backward_of(copied)(batches(TRIAL, 1)[0], None)
    assert all(p.grad is None for p in module.parameters())
    assert copied.layers[0].feedforward.linear.weight.grad is not None
    assert ledger_of(copied).transfers > 0
    assert ledger_of(module).transfers == 0


def test_patterns_name_outermost_parts_and_members_of_lists() -> None:
    module = specimen(TRIAL)
    assert outermost(module, "layers") == ["layers.0", "layers.1"]
    assert outermost(module, "layers.*") == ["layers.0", "layers.1"]
    assert outermost(module, "*.mixer") == ["layers.0.mixer", "layers.1.mixer"]
    assert outermost(module, "encoder") == []


def test_where_the_run_is_anyway_nothing_moves_and_that_is_said() -> None:
    module = specimen(TRIAL)
    context = Surroundings(module)
    technique = DevicePlacement(parts={"embedding": "cpu", "decoder": "cpu"})
    technique.model(module, context)
    assert [sentence for sentence, _ in context.effects] == [
        'Nothing was placed on cpu: no part of the model matches "decoder".',
        "embedding is on cpu already, where the run is: nothing was moved.",
    ]
    update = context.optimizer.step
    assert technique.step(update, context) == update


def test_counts_are_stated_and_logged(elsewhere: None) -> None:
    module = specimen(TRIAL)
    place(module.head, Ledger())
    context = Surroundings(module)
    update = DevicePlacement().step(lambda: None, context)
    for step in range(2):
        context.step = step
        backward_of(module)(batches(TRIAL, 1)[0], None)
        update()
    assert context.effects[0][0].startswith("3 tensors of 0.00 MiB together cross")
    assert [(key, value) for key, value, _ in context.logged] == [("transfers", 3), ("transferred", (2 * 320 + 80) / 2**20)]
    assert ledger_of(module).transfers == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without GPU answers")
def test_a_gpu_that_is_not_there_is_refused_with_the_way_out() -> None:
    module = specimen(TRIAL)
    with pytest.raises(ValueError, match='asked to put "head" on cuda, but torch finds no CUDA GPU on this machine: place it on "cpu"'):
        DevicePlacement(parts={"head": "cuda"}).model(module, Surroundings(module))


def test_devices_are_checked_by_name() -> None:
    with pytest.raises(ValidationError, match='"head" is placed on "gpu", which is no device'):
        DevicePlacement(parts={"head": "gpu"})


def test_tied_weights_are_not_torn() -> None:
    module, home = specimen(TRIAL, tied=True), torch.device("cuda")
    assert torn(module, {"embedding": torch.device("cpu")}, home) == [("embedding.weight", "head.output.weight")]
    assert torn(module, {"embedding": torch.device("cpu"), "head": torch.device("cpu")}, home) == []


@pytest.mark.gpu
@pytest.mark.parametrize("half", [False, True])
def test_on_a_gpu_parts_train_on_the_cpu(half: bool) -> None:
    trial = Trial(device="cuda", dtype="float32")
    plain, parted = specimen(trial), specimen(trial)
    context = Surroundings(parted)
    technique = DevicePlacement(parts={"embedding": "cpu", "head": "cpu"})
    technique.model(parted, context)
    assert parted.embedding.weight.device.type == "cpu"
    context.optimizer = Adam().optimizer(None, context)(parted)
    update = technique.step(ClipNorm().step(context.optimizer.step, context), context)
    losses = []
    for module in (plain, parted):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
            loss, count, *_ = module(batches(trial, 1)[0], None)
        (loss / count).backward()
        losses.append(float(loss.detach()) / count)
    assert losses[0] == pytest.approx(losses[1], rel=1e-2 if half else 1e-5)
    for one, other in zip(plain.parameters(), parted.parameters(), strict=True):
        assert torch.allclose(one.grad.cpu(), other.grad.cpu(), rtol=0.1 if half else 1e-3, atol=1e-3 if half else 1e-6)
    update()
    assert "cross between devices in a step" in context.effects[-1][0]
