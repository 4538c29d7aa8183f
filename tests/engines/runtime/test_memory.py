"""Memory by owner against cases that can be computed by hand, and against torch's own counters."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from engines.runtime.memory import Watch
from tests.engines.runtime import session as small

MIB = 2**20


def watched(model, optimizer, step, device="cpu"):
    with Watch(model, optimizer, torch.device(device)) as watch:
        step(watch.enter)
    return watch.reading


def bytes_of(mib: float) -> int:
    assert (mib * MIB).is_integer()
    return int(mib * MIB)


# --- By hand --------------------------------------------------------------------------------------------------------------------------------


def test_a_chain_of_linear_layers_holds_what_the_formula_says():
    """n layers d -> d on B rows, B > d. Each keeps its input; backward frees them from the end, and needs two gradients of activations at once."""
    n, b, d = 5, 64, 16
    model = nn.Sequential(*[nn.Linear(d, d) for _ in range(n)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x_BD = torch.randn(b, d)

    def step(enter):
        enter("forward")
        model(x_BD).sum().backward()
        enter("update")
        optimizer.step()
        optimizer.zero_grad()

    found = watched(model, optimizer, step)
    # scalars: the sum, and the 1 with which backward begins.
    layer, row, scalars = 4 * (d * d + d), 4 * b * d, 8
    # Layers 1 to n - 1 make what is kept; the last output dies in the sum.
    assert bytes_of(max(found.owners["activations"])) == (n - 1) * row + scalars
    # The peak is in the second node of backward: one kept output is gone, the gradients of two outputs and of two layers are there.
    held = {owner: bytes_of(mib) for owner, mib in found.owners_mib.items()}
    assert held == {"parameters": n * layer, "gradients": 2 * layer, "optimizer": 0, "activations": (n - 2) * row + scalars, "other": 3 * row}
    assert bytes_of(found.other_mib["start"]) == row  # x
    assert bytes_of(found.peak_mib) == sum(held.values())
    by_module = {entry["name"]: entry for entry in found.modules}
    assert sum(bytes_of(entry["mib"]) for entry in found.modules) == bytes_of(found.peak_mib)
    assert bytes_of(by_module["0"]["owners_mib"]["activations"]) == row
    assert "activations" not in by_module["4"]["owners_mib"]
    # The gradient that a node of the third layer computes is of that layer, though no hook stands in the backward pass.
    assert bytes_of(by_module["3"]["owners_mib"]["other"]) == row
    assert [phase["name"] for phase in found.phases] == ["forward", "backward", "update"]


@pytest.mark.parametrize(("make", "copies"), [(torch.optim.SGD, 0), (torch.optim.Adam, 2), (lambda p: torch.optim.SGD(p, momentum=0.9), 1)])
def test_an_optimiser_holds_its_copies_of_the_parameters(make, copies):
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 8))
    optimizer = make(model.parameters())

    def step(enter):
        enter("forward")
        model(torch.randn(4, 32)).sum().backward()
        enter("update")
        optimizer.step()
        optimizer.zero_grad()

    first = watched(model, optimizer, step)
    second = watched(model, optimizer, step)
    parameters = sum(4 * p.numel() for p in model.parameters())
    counters = 4 * 4 if copies == 2 else 0  # Adam counts the updates of each tensor in one of its own
    for found in (first, second):
        # The first step makes the state, and the reading knows it although it was born inside.
        assert bytes_of(found.owners["optimizer"][-1]) == copies * parameters + counters
        assert bytes_of(max(found.owners["gradients"])) == parameters
        assert bytes_of(found.owners["gradients"][-1]) == 0
    assert second.owners["optimizer"][0] == second.owners["optimizer"][-1]


def test_views_and_tied_weights_count_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(50, 8)
            self.out = nn.Linear(8, 50, bias=False)
            self.out.weight = self.table.weight

        def forward(self, ids):
            h = self.table(ids)
            return self.out(h.view(-1, 4, 8).transpose(0, 1)[1:].reshape(-1, 8))

    model = Tied()
    ids = torch.arange(40) % 50
    found = watched(model, None, lambda enter: (enter("forward"), model(ids).sum().backward()))
    assert bytes_of(found.owners_mib["parameters"]) == 4 * 50 * 8
    assert bytes_of(found.owners["gradients"][-1]) == 4 * 50 * 8


def test_sparse_gradients_are_gradients():
    model = nn.Embedding(1000, 4, sparse=True)
    found = watched(model, None, lambda enter: (enter("forward"), model(torch.arange(10)).sum().backward(), enter("update")))
    assert bytes_of(found.owners["gradients"][-1]) == 10 * 4 * 4 + 10 * 8


def test_what_a_forward_pass_drops_is_no_activation():
    model = nn.Linear(8, 8)

    def step(enter):
        enter("forward")
        torch.randn(1000, 1000).sum()
        model(torch.randn(2, 8)).sum().backward()

    found = watched(model, None, step)
    assert found.peak_mib > 4_000_000 / MIB
    assert bytes_of(found.other_mib["forward"]) >= 4_000_000
    assert max(found.owners["activations"]) < 1000 / MIB


# --- Against torch --------------------------------------------------------------------------------------------------------------------------


def allocator_peak(step) -> int:
    """The highest number of bytes above the start that the CPU allocator reports, by the profiler's memory events."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]" and event.device_type().name == "CPU"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize("techniques", [[], [{"id": "memory/gradient_checkpointing"}], [{"id": "memory/gradient_accumulation"}]])
def test_the_peak_is_what_the_allocator_counts(techniques):
    """Nearly every allocation of these operators is a tensor; attention's kernels and saved random states are not, a few percent."""
    from engines.runtime.rehearsal import Rehearsal

    plan = small.plan([{"id": "optimization/adam"}, *techniques], training={"batch": 4, "sequence": 32})
    plan["model"]["layers"] = [small.TRANSFORMER]
    rehearsal = Rehearsal(plan, text=small.text())
    for _ in range(4):
        rehearsal.step()
    counted = allocator_peak(rehearsal.step)
    session = rehearsal.session
    found = watched(session.model, session.optimizer, lambda enter: (enter("forward"), rehearsal.step()))
    start = sum(series[0] for series in found.owners.values()) * MIB
    assert 0.95 * counted <= found.peak_mib * MIB - start <= counted


class Ledger:
    """An allocator that counts what it is told."""

    def __init__(self):
        self.held = self.most = 0
        self.libraries = 0

    def take(self, size):
        self.held += size
        self.most = max(self.most, self.held)

    def bytes(self):
        asked, self.most = (self.held, self.most), self.held
        return asked

    def of_libraries(self):
        return self.libraries


def test_what_kernels_and_libraries_take_is_a_workspace_of_their_module(monkeypatch):
    ledger = Ledger()
    ledger.take(10_000)  # of somebody whom the step never touches

    def tensor(size):
        made = torch.zeros(size // 4)
        ledger.take(size)
        weakref.finalize(made.untyped_storage(), ledger.take, -size)
        return made

    def kernel(x):
        if not ledger.libraries:
            ledger.libraries = 300
            ledger.take(300)
        made = tensor(800)
        ledger.take(5000)  # and freed before it ends
        ledger.take(-5000)
        return made

    library = torch.library.Library("test_memory", "DEF")
    library.define("kernel(Tensor x) -> Tensor")
    library.impl("kernel", kernel, "CPU")

    class Model(nn.Module):
        def forward(self, x):
            return torch.ops.test_memory.kernel(x)

    model = Model()
    x = tensor(400)
    with Watch(model, None, torch.device("cpu"), [x], allocator=ledger) as watch:
        watch.enter("forward")
        kept = model(x)
        del kept
        again = tensor(4000)
        torch.neg_(again)
    found = watch.reading
    assert bytes_of(found.peak_mib) == 400 + 800 + 300 + 5000
    assert bytes_of(found.owners_mib["workspace"]) == 5300
    assert bytes_of(found.owners["workspace"][0]) == 0
    assert bytes_of(found.owners["workspace"][-1]) == 300
    by_module = {entry["name"]: entry["owners_mib"] for entry in found.modules}
    assert bytes_of(by_module["(model)"]["workspace"]) == 5000
    assert bytes_of(by_module["(outside)"]["workspace"]) == 300
    assert watch.allocated_peak == 10_000 + bytes_of(found.peak_mib)


def steps_of_linear_layers(rows, wide, device):
    """A function that makes one step of four layers, and its model and optimiser, after the first step."""
    model = nn.Sequential(*[nn.Linear(wide, wide) for _ in range(4)]).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.randn(rows, wide, device=device)

    def step(enter):
        enter("forward")
        model(x).sum().backward()
        enter("update")
        optimizer.step()
        optimizer.zero_grad()

    step(lambda phase: None)
    return step, model, optimizer


@pytest.mark.gpu
def test_the_peak_is_what_the_cuda_allocator_counts():
    """Of a step nobody watches, too: reductions stage their sums in memory of their own, products have a workspace of cuBLAS."""
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()
    before = torch.cuda.memory_allocated()  # what earlier tests left
    step, model, optimizer = steps_of_linear_layers(2048, 512, "cuda")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step(lambda phase: None)
    unwatched = torch.cuda.max_memory_allocated()
    others = torch.zeros(3 * MIB, device="cuda")  # never touched by the step
    with Watch(model, optimizer, torch.device("cuda")) as watch:
        step(watch.enter)
    found = watch.reading
    assert watch.allocated_peak == pytest.approx(unwatched + others.nbytes, rel=0.01)
    assert found.peak_mib * MIB == pytest.approx(unwatched - before, rel=0.02)
    assert found.owners_mib["workspace"] > 4  # cuBLAS keeps at least as much
    tensors = found.peak_mib - found.owners_mib["workspace"]
    layer, row = 4 * (512 * 512 + 512), 4 * 2048 * 512
    # By hand, as on the CPU above: parameters, two states of Adam, gradients of two layers, two kept outputs, two gradients of outputs, and x.
    assert tensors * MIB == pytest.approx(12 * layer + 2 * layer + 5 * row, rel=0.01)


@pytest.mark.gpu
def test_where_kernels_need_no_memory_the_cuda_allocator_holds_tensors_alone():
    x = torch.randn(1024, 1024, device="cuda")
    doubled = nn.Identity()

    def step(enter):
        enter("forward")
        for _ in range(3):
            y = doubled(x) * 2
            y.add_(1)

    torch._C._cuda_clearCublasWorkspaces()
    found = watched(doubled, None, step, "cuda")
    assert found.owners_mib["workspace"] == pytest.approx(0, abs=0.01)
    assert found.peak_mib == pytest.approx(12, rel=0.01)
