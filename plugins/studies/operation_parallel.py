"""Independent operations at the same time: on threads of a CPU, on streams of a GPU."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import torch
from torch import Tensor

from engines.api import Axis, Cell, Conclusion, Group, Measured, Study, Text, Trial, certificate, param
from engines.toolbox.studies import LECTURE, Verdict, crossing, cuda_of, drawn, faster, not_faster, ratio, threads_words, took, usable_cores
from engines.toolbox.trials import relative_error

ONE_BY_ONE = "one after the other, 1 thread"
EACH_A_THREAD = "each on a thread of its own"


class OperationParallel(Study):
    """Independent operations at the same time

    Operation-wise parallelism of the lecture: k products that do not need each other, A_i B_i with matrices (n, n), i = 1 ... k (1). Alternatives:

        one after the other on one thread
        one after the other, each cut into k parts for k threads (parallelism within the operation)
        each on a thread of its own (torch gives the interpreter's lock back while it computes)
        on a CUDA GPU: on one stream, and on k streams

    Cost: 2 k n^3 operations in each. Handing work to a thread and waiting for it costs tens of microseconds; "the difficulty is to minimise
    dependencies and memory movement": here there are none, so this is the best case.
    Does nothing when: the machine has one usable core, or one operation already fills it.
    """

    paper = LECTURE
    x = Axis("size")
    y = Axis("speed", "GFLOP/s", better="higher", scale=1e-9)
    expects = "Large independent operations on threads of their own are faster than one after the other on one thread."

    sizes: list[int] = param([16, 32, 64, 128, 256, 512, 1024], "Sizes n.", symbol="n")
    operations: int = param(0, "Independent operations; 0: as many as there are usable cores, at least 2.", symbol="k", ge=0, le=256)
    device: Literal["auto", "cpu", "cuda"] = param("auto", "cpu: only the CPU; auto: streams of a GPU too, where there is one.")

    def count(self) -> int:
        return self.operations or max(2, usable_cores())

    def groups(self, text: Text | None) -> Iterable[Group]:
        return [group for n in sorted(set(self.sizes)) for group in self._groups(n)]

    def _groups(self, n: int) -> list[Group]:
        count = self.count()
        fields: dict[str, Any] = {"work": 2.0 * count * n**3}
        host = (2 + 2 * 3) * count * 4 * n * n
        cells = (
            Cell(ONE_BY_ONE, _one_by_one, threads=1, **fields),
            Cell(_within(count), _one_by_one, threads=count, **fields),
            Cell(EACH_A_THREAD, each_on_a_thread, threads=1, **fields),
        )
        groups = [Group(float(n), cells, lambda: pairs(count, n), host, 1e-4)]
        if cuda := cuda_of(self.device):
            fields |= {"device": cuda, "device_bytes": 2 * 3 * count * 4 * n * n}
            streams = (Cell(f"{cuda}, one stream", _one_by_one, **fields), Cell(f"{cuda}, {count} streams", each_on_a_stream, **fields))
            groups.append(Group(float(n), streams, lambda: [(a.to(cuda), b.to(cuda)) for a, b in pairs(count, n)], host, 1e-4))
        return groups

    def conclude(self, measured: Measured) -> Conclusion:
        count, findings = self.count(), []
        known = measured.xs(EACH_A_THREAD)
        for curve in (_within(count), EACH_A_THREAD):
            common = [n for n in measured.xs(curve) if measured.speedup(curve, ONE_BY_ONE, n)]
            if not common:
                continue
            small, large = (measured.speedup(curve, ONE_BY_ONE, n) for n in (common[0], common[-1]))
            if small and large:
                findings.append(f"{curve}: {ratio(small)} as fast as one after the other at n = {common[0]:g}, {ratio(large)} at n = {common[-1]:g}.")
            crossed = crossing(measured, curve, ONE_BY_ONE)
            if crossed and crossed[0] is not None:
                findings.append(f"{curve}: it begins to pay between n = {crossed[0]:g} and {crossed[1]:g}.")
            elif crossed is None:
                findings.append(f"{curve}: it does not pay at n = {common[-1]:g}, the largest size.")
        between = measured.speedup(EACH_A_THREAD, _within(count), known[-1]) if known else None
        if between:
            findings.append(f"At n = {known[-1]:g} whole operations on {count} threads are {ratio(between)} as fast as {count} threads in each.")
        alone = measured.seconds(ONE_BY_ONE, known[0]) if known else None
        threads = measured.seconds(EACH_A_THREAD, known[0]) if known else None
        if alone and threads and threads.value > alone.value:
            findings.append(f"At n = {known[0]:g} the {count} products take {took(alone)}, with threads {took(threads)}: handing over costs more.")
        findings += self._streams(measured)
        lines = {
            f"measured peak, {threads_words(threads_)}": peak * self.y.scale
            for threads_ in (1, count)
            if (peak := measured.peak("flops_per_s", dtype="float32", threads=threads_))
        }
        return Conclusion(tuple(findings), *self._judge(measured), lines)

    def _streams(self, measured: Measured) -> list[str]:
        one, many = f"{cuda_of(self.device)}, one stream", f"{cuda_of(self.device)}, {self.count()} streams"
        return [
            f"{many}: {ratio(found)} as fast as one stream at n = {n:g}."
            for n in (measured.xs(many)[:1] + measured.xs(many)[-1:])
            if (found := measured.speedup(many, one, n))
        ]

    def _judge(self, measured: Measured) -> tuple[Verdict, str]:
        known = measured.xs(EACH_A_THREAD)
        found = measured.speedup(EACH_A_THREAD, ONE_BY_ONE, known[-1]) if known else None
        if usable_cores() == 1:
            return "not decided", "There is one usable core."
        if found is None:
            return "not decided", "The largest size was not measured."
        outcome: Verdict = "met" if faster(found) else "refuted" if not_faster(found) else "not decided"
        return outcome, f"At n = {known[-1]:g}, the largest size, it is {ratio(found)} as fast."

    def not_shown(self) -> tuple[str, ...]:
        missing = []
        if not cuda_of(self.device):
            why = "device = cpu leaves the GPU out" if self.device == "cpu" else "torch finds no CUDA GPU here"
            missing.append(f"{why[0].upper()}{why[1:]}: streams were not measured.")
        if usable_cores() == 1:
            missing.append("This machine has one usable core: threads can only take turns on it.")
        return tuple(missing)


Pairs = list[tuple[Tensor, Tensor]]


def pairs(count: int, n: int) -> Pairs:
    """Independent operands A_i, B_i, each (n, n)."""
    return [(drawn(n, n, seed=2 * i), drawn(n, n, seed=2 * i + 1)) for i in range(count)]


def _one_by_one(operands: Pairs) -> Callable[[], list[Tensor]]:
    return lambda: [a_NN @ b_NN for a_NN, b_NN in operands]  # (1)


def each_on_a_thread(operands: Pairs) -> Callable[[], list[Tensor]]:
    """The first product on the caller's thread, each other one on a thread that waits for it and uses one core."""
    pool = ThreadPoolExecutor(max(1, len(operands) - 1), initializer=torch.set_num_threads, initargs=(1,))
    (a_NN, b_NN), *others = operands

    def products() -> list[Tensor]:
        waiting = [pool.submit(torch.matmul, *pair) for pair in others]
        return [a_NN @ b_NN, *(product.result() for product in waiting)]

    weakref.finalize(products, pool.shutdown, wait=False)
    return products


def each_on_a_stream(operands: Pairs) -> Callable[[], list[Tensor]]:
    """Every product on a CUDA stream of its own; the caller's stream waits for all."""
    main = torch.cuda.current_stream(operands[0][0].device)
    streams = [torch.cuda.Stream(operands[0][0].device) for _ in operands]

    def products() -> list[Tensor]:
        found = []
        for stream, (a_NN, b_NN) in zip(streams, operands, strict=True):
            stream.wait_stream(main)
            with torch.cuda.stream(stream):
                found.append(a_NN @ b_NN)
        for stream, product in zip(streams, found, strict=True):
            main.wait_stream(stream)
            product.record_stream(main)
        return found

    return products


def _within(count: int) -> str:
    return f"one after the other, {threads_words(count)}"


@certificate("Products on threads of their own are those one after the other", tolerance=1e-5)
def same_values(trial: Trial) -> float:
    """Largest error of a product."""
    dtype = getattr(torch, trial.dtype)
    operands = [(a.to(trial.device, dtype), b.to(trial.device, dtype)) for a, b in pairs(trial.batch + 1, trial.width)]
    alone, together = _one_by_one(operands)(), each_on_a_thread(operands)()
    return max(relative_error(mine, theirs) for mine, theirs in zip(together, alone, strict=True))
