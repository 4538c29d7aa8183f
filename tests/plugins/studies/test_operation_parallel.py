"""Independent operations: they really run at the same time, threads go away, and what is concluded."""

from __future__ import annotations

import gc
import threading

import pytest
import torch

from plugins.studies import operation_parallel
from plugins.studies.operation_parallel import EACH_A_THREAD, ONE_BY_ONE, OperationParallel, each_on_a_thread, pairs
from tests.engines.processes import until
from tests.plugins.studies.figures import every, figures


def test_each_product_is_on_a_thread_of_its_own_and_the_threads_go_away(monkeypatch):
    seen = set()
    together = threading.Barrier(3, timeout=10)

    class Product(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if function.__name__ in ("matmul", "__matmul__"):
                seen.add(threading.get_ident())
                together.wait()  # only passes when all three are under way at once
            return super().__torch_function__(function, types, args, kwargs or {})

    before = threading.active_count()
    products = each_on_a_thread([(a.as_subclass(Product), b) for a, b in pairs(3, 4)])
    assert len(products()) == 3
    assert len(seen) == 3
    assert threading.get_ident() in seen
    del products
    gc.collect()
    until(lambda: threading.active_count() <= before, "the end of the threads")


def test_small_operations_do_not_pay_and_large_ones_do(monkeypatch):
    monkeypatch.setattr(operation_parallel, "usable_cores", lambda: 2)
    study = OperationParallel(device="cpu")

    def seconds(curve, n):
        work = 2 * 2 * n**3 / 100e9
        return {ONE_BY_ONE: work + 1e-6, EACH_A_THREAD: work / 2 + 30e-6}.get(curve, work / 1.8 + 5e-6)

    found = study.conclude(figures(list(study.groups(None)), every(study, seconds)))
    assert study.count() == 2
    assert found.outcome == "met"
    assert f"{EACH_A_THREAD}: it begins to pay between n = 64 and 128." in found.findings
    assert any("handing over costs more" in sentence for sentence in found.findings)
    assert any(sentence.startswith("At n = 1024 whole operations on 2 threads are 1.1") for sentence in found.findings)
    assert study.not_shown() == ("Device = cpu leaves the GPU out: streams were not measured.",)


@pytest.mark.parametrize(("gain", "outcome"), [(0.5, "refuted"), (1.0, "refuted"), (1.02, "not decided")])
def test_where_threads_do_not_pay(monkeypatch, gain, outcome):
    monkeypatch.setattr(operation_parallel, "usable_cores", lambda: 2)
    study = OperationParallel(device="cpu")
    known = every(study, lambda curve, n: 1e-3 / gain if curve == EACH_A_THREAD else 1e-3)
    assert study.conclude(figures(list(study.groups(None)), known)).outcome == outcome


def test_one_core_decides_nothing(monkeypatch):
    monkeypatch.setattr(operation_parallel, "usable_cores", lambda: 1)
    study = OperationParallel(device="cpu")
    assert study.conclude(figures(list(study.groups(None)), every(study, lambda curve, n: 1e-3))).outcome == "not decided"
    assert len(study.not_shown()) == 2


@pytest.mark.gpu
def test_streams_compute_the_same():
    operands = [(a.cuda(), b.cuda()) for a, b in pairs(4, 64)]
    for found, (a, b) in zip(operation_parallel.each_on_a_stream(operands)(), operands, strict=True):
        torch.testing.assert_close(found, a @ b)
