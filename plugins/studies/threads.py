"""Threads inside one operation: where they help, and where they hurt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from engines.api import Axis, Cell, Conclusion, Estimate, Group, Measured, Study, Text, Trial, certificate, param
from engines.toolbox.studies import LECTURE, MARGIN, Verdict, drawn, faster, not_faster, ratio, thread_counts, threads_words, usable_cores
from engines.toolbox.studies import slower as is_slower
from engines.toolbox.trials import relative_error

Operation = Literal["matmul", "tanh"]

class Threads(Study):
    """Threads inside one operation

    Within-operation parallelism of the lecture: a library cuts one operation into parts and gives each thread one. For matrices (n, n):

        matmul   C = A B,         2 n^3 operations on 3 n^2 numbers          (1)
        tanh     C = tanh(A),     n^2 evaluations on 2 n^2 numbers           (2)

    Waking threads and waiting for the last one costs microseconds whatever the size, so "thread management overhead is counter-productive
    when operations are small". Libraries keep operations that they think too small on one thread. More threads than usable cores take turns.

    Cost: the same operations with every count. In (2) one evaluation counts as one operation.
    Does nothing when: the machine has one core; then only the loss is to be seen.
    """

    paper = LECTURE
    x = Axis("size")
    y = Axis("speed", "GFLOP/s", better="higher", scale=1e-9)
    expects = "As many threads as cores make large operations faster and small ones slower."

    sizes: list[int] = param([8, 16, 32, 64, 128, 256, 512, 1024], "Sizes n.", symbol="n")
    operations: list[Operation] = param(["matmul", "tanh"], "What is computed.")
    threads: list[int] = param([], "Thread counts; none: 1, 2, 4 ... up to the usable cores, and twice as many as these.")
    dtype: Literal["float32", "bfloat16", "float64"] = param("float32", "Number format.")

    @model_validator(mode="after")
    def _something_is_asked(self) -> Threads:
        if not self.operations or not self.sizes or any(value < 1 for value in (*self.sizes, *self.threads)):
            raise ValueError("operations and sizes must name at least one each; sizes and thread counts are at least 1")
        return self

    def counts(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self.threads)) or thread_counts(usable_cores())

    def groups(self, text: Text | None) -> Iterable[Group]:
        return [self._group(operation, n) for n in sorted(set(self.sizes)) for operation in self.operations]

    def _group(self, operation: Operation, n: int) -> Group:
        dtype = getattr(torch, self.dtype)
        cell = {"work": 2.0 * n**3 if operation == "matmul" else float(n * n)}
        made = _matmul if operation == "matmul" else _tanh
        cells = tuple(Cell(_curve(operation, count), made, threads=count, **cell) for count in self.counts())  # type: ignore[arg-type]
        size = n * n * torch.finfo(dtype).bits // 8
        tolerance = 0.1 if self.dtype == "bfloat16" else 1e-4
        build: Callable[[], Any] = lambda: (drawn(n, n, seed=1, dtype=dtype), drawn(n, n, seed=2, dtype=dtype))  # noqa: E731
        return Group(float(n), cells, build, host_bytes=(2 + 2 * len(cells)) * size, tolerance=tolerance)

    def conclude(self, measured: Measured) -> Conclusion:
        findings, lines = [], {}
        for operation in self.operations:
            for count in self.counts():
                if count > 1:
                    findings += self._of_count(measured, operation, count)
        for count in (count for count in self.counts() if count <= usable_cores()):
            peak = measured.peak("flops_per_s", dtype=self.dtype, threads=count)
            if peak and "matmul" in self.operations:
                lines[f"measured peak, {threads_words(count)}"] = peak * self.y.scale
        return Conclusion(tuple(findings) or ("Only one thread was measured.",), *self._judge(measured), lines)

    def _of_count(self, measured: Measured, operation: Operation, count: int) -> list[str]:
        gains = self._gains(measured, operation, count)
        if not gains:
            return []
        over = " (more than there are usable cores)" if count > usable_cores() else ""
        slower = [n for n, found in gains.items() if is_slower(found)]
        gaining = [n for n, found in gains.items() if faster(found)]
        worst = min(slower, key=lambda n: gains[n].value, default=None)
        hurt = f"slower than one thread at n = {_listed(slower)}, at worst {ratio(gains[worst])} as fast (n = {worst:g})" if worst is not None else ""
        last = max(gains)
        help_ = f"faster from n = {_lasting(gains, gaining):g} on" if last in gaining else f"faster at n = {_listed(gaining)}" if gaining else ""
        end = "" if last == worst else f"{ratio(gains[last])} as fast at n = {last:g}"
        words = "; ".join(part for part in (hurt, help_, end) if part)
        return [f"{operation} with {threads_words(count)}{over}: {words}."]

    def _judge(self, measured: Measured) -> tuple[Verdict, str]:
        count = max((count for count in self.counts() if count <= usable_cores()), default=1)
        if count == 1:
            return "not decided", "There is one usable core, or only one thread was asked for."
        operation = self.operations[0]
        gains = self._gains(measured, operation, count)
        if not gains or any(found.low is None or found.high is None for found in gains.values()):
            return "not decided", "There are too few rounds at some size."
        last = max(gains)
        hurts = [n for n, found in gains.items() if n < last and is_slower(found)]
        harmless = all(found.low is not None and found.low > 1 / MARGIN for found in gains.values())
        reason = f"{operation} with {threads_words(count)}: {ratio(gains[last])} as fast at n = {last:g}, slower at " + (
            f"n = {_listed(hurts)}." if hurts else "no size that could be told."
        )
        if hurts and faster(gains[last]):
            return "met", reason
        return "refuted" if harmless or not_faster(gains[last]) else "not decided", reason

    def _gains(self, measured: Measured, operation: Operation, count: int) -> dict[float, Estimate]:
        """{n: times faster than one thread}, rising in n."""
        curve, single = _curve(operation, count), _curve(operation, 1)
        return {n: found for n in measured.xs(curve) if (found := measured.speedup(curve, single, n))}

    def not_shown(self) -> tuple[str, ...]:
        return () if usable_cores() > 1 else ("This machine has one usable core: threads can only take turns on it.",)


def _matmul(shared: tuple[Tensor, Tensor]) -> Callable[[], Tensor]:
    a_NN, b_NN = shared
    return lambda: a_NN @ b_NN  # (1)


def _tanh(shared: tuple[Tensor, Tensor]) -> Callable[[], Tensor]:
    a_NN = shared[0]
    return lambda: torch.tanh(a_NN)  # (2)


def _curve(operation: str, threads: int) -> str:
    return f"{operation}, {threads_words(threads)}"


def _lasting(gains: dict[float, Estimate], gaining: list[float]) -> float:
    """The first size from which on all are among the faster ones."""
    first = max(gains)
    for n in sorted(gains, reverse=True):
        if n not in gaining:
            break
        first = n
    return first


def _listed(sizes: list[float]) -> str:
    return ", ".join(f"{n:g}" for n in sizes)


@certificate("Two threads compute the values of one", tolerance=1e-5)
def same_values(trial: Trial) -> float:
    """Largest error of either operation with two threads against one."""
    dtype = getattr(torch, trial.dtype)
    a_NN, b_NN = (drawn(trial.length, trial.length, seed=trial.seed + i).to(trial.device, dtype) for i in range(2))
    before = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append([made((a_NN, b_NN))() for made in (_matmul, _tanh)])
    finally:
        torch.set_num_threads(before)
    return max(relative_error(two, one) for one, two in zip(*found, strict=True))
