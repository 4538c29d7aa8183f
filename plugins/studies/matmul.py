"""How long does a matrix product take, on a CPU and on a GPU?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from engines.api import Axis, Cell, Conclusion, Group, Measured, Study, Text, Trial, certificate, param
from engines.toolbox.studies import (
    LECTURE,
    Verdict,
    amount,
    crossing,
    cuda_of,
    doublings,
    drawn,
    faster,
    not_faster,
    one_and_all,
    ratio,
    threads_words,
    took,
)
from engines.toolbox.trials import relative_error

Number = Literal["float32", "bfloat16", "float16", "float64"]
TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "float16": 0.02, "bfloat16": 0.1}
"""Largest error relative to the largest entry: inputs are rounded to the format, sums have up to 8192 terms."""


class Matmul(Study):
    """Matrix product over sizes

    The first picture of the lecture. For square matrices A, B (n, n):

        C_ij = sum_k A_ik B_kj,   2 n^3 operations on 3 n^2 numbers         (1)

    Small products cost what a call costs, whatever their size; large ones run at the speed of the arithmetic. Curves: each number format on
    the CPU with each thread count; where there is a CUDA GPU also there, once with the matrices on the device, once with the copies there
    and back. What a launch alone takes is in the findings.

    Cost: 2 n^3 operations. Sizes that do not fit the memory, or would take longer than their time, are left out and named. All of
    `step = 16` from 16 to 8192 are 512 sizes.
    Does nothing when: never; but without a GPU there is no crossover to see.
    """

    paper = LECTURE
    x = Axis("size")
    y = Axis("speed", "GFLOP/s", better="higher", scale=1e-9)
    expects = "Small products are as fast on the CPU as on the GPU, copies counted; from some size on the GPU is faster."

    smallest: int = param(16, "Smallest n.", symbol="n", ge=1)
    largest: int = param(8192, "Largest n.", symbol="n", ge=1, le=65536)
    step: int = param(0, "Distance of the sizes; 0: they double.", ge=0)
    per_doubling: int = param(1, "Sizes for each doubling, where step is 0.", ge=1, le=16)
    dtypes: list[Number] = param(["float32", "bfloat16"], "Number formats.")
    threads: list[int] = param([], "Thread counts on the CPU; none: one, and all usable cores.")
    device: Literal["auto", "cpu", "cuda"] = param("auto", "cpu: only the CPU; auto: a GPU too, where there is one.")

    @model_validator(mode="after")
    def _sizes_rise(self) -> Matmul:
        if self.largest < self.smallest:
            raise ValueError(f"largest = {self.largest} lies below smallest = {self.smallest}")
        if not self.dtypes or any(count < 1 for count in self.threads):
            raise ValueError("dtypes must name at least one format, and thread counts are at least 1")
        return self

    def sizes(self) -> list[int]:
        if self.step:
            return list(range(self.smallest, self.largest + 1, self.step))
        return doublings(self.smallest, self.largest, self.per_doubling, multiple=min(16, self.smallest))

    def groups(self, text: Text | None) -> Iterable[Group]:
        return [self._group(n) for n in self.sizes()]

    def _group(self, n: int) -> Group:
        cells, host = [], 0
        cuda = cuda_of(self.device)
        for name in self.dtypes:
            size = n * n * torch.finfo(getattr(torch, name)).bits // 8
            host += 2 * size
            fields: dict[str, Any] = {"work": 2.0 * n**3, "host_bytes": 2 * size, "tolerance": TOLERANCE[name]}
            cells += [Cell(_cpu(name, count), _product(name), threads=count, **fields) for count in one_and_all(self.threads)]
            if cuda:
                fields |= {"device": cuda, "device_bytes": 3 * size}
                cells.append(Cell(f"{cuda} {name}", _product(name, cuda), **fields))
                cells.append(Cell(f"{cuda} {name} with copies", _product_with_copies(name, cuda), **fields))
                cells.append(Cell(f"{cuda} {name} launch", _product(name, cuda), wait=False, shown=False, **fields))
        return Group(float(n), tuple(cells), lambda: operands(n, self.dtypes), host, TOLERANCE["float32"])

    def conclude(self, measured: Measured) -> Conclusion:
        findings, lines = [], {}
        for curve in measured.curves:
            if not curve.endswith("launch"):
                findings += self._of_curve(measured, curve)
        for name in self.dtypes:
            for count in one_and_all(self.threads):
                for device, threads in (("cpu", count), (cuda_of(self.device), 0)):
                    peak = measured.peak("flops_per_s", dtype=name, device=device, threads=threads) if device else None
                    if peak:
                        lines[f"measured peak, {_cpu(name, count) if device == 'cpu' else f'{device} {name}'}"] = peak * self.y.scale
        findings += self._formats(measured)
        crossed, outcome, reason = self._crossover(measured)
        return Conclusion((*findings, *crossed), outcome, reason, lines)

    def _of_curve(self, measured: Measured, curve: str) -> list[str]:
        rates = {x: found for x in measured.xs(curve) if (found := measured.rate(curve, x))}
        best = max(rates, key=lambda x: rates[x].value)
        fast = next(x for x in rates if rates[x].value >= rates[best].value / 2)
        device, name = curve.split(",")[0].split()[:2]
        threads = next((count for count in one_and_all(self.threads) if curve == _cpu(name, count)), 0)
        peak = measured.peak("flops_per_s", dtype=name, device=device, threads=threads)
        share = f", {rates[best].value / peak:.0%} of the measured peak" if peak else ""
        sentences = [f"{curve}: at most {amount(rates[best].value * self.y.scale)} GFLOP/s (n = {best:g}{share}); half of that from n = {fast:g} on."]
        grows = measured.exponent(curve)
        if grows:
            sentences.append(
                f"{curve}: between n = {grows.first:.0f} and {grows.last:.0f} a product takes time as n^{grows.value:.2f} "
                f"[{grows.low:.2f}, {grows.high:.2f}]; its operations grow as n^3."
            )
        return sentences

    def _formats(self, measured: Measured) -> list[str]:
        """Each format against the first at the largest common size."""
        sentences = []
        first = self.dtypes[0]
        for count in one_and_all(self.threads):
            for name in self.dtypes[1:]:
                common = set(measured.xs(_cpu(name, count))) & set(measured.xs(_cpu(first, count)))
                found = measured.speedup(_cpu(name, count), _cpu(first, count), max(common)) if common else None
                if found:
                    sentences.append(f"{name} is {ratio(found)} as fast as {first} on the CPU with {threads_words(count)} (n = {max(common):g}).")
        return sentences

    def _crossover(self, measured: Measured) -> tuple[list[str], Verdict, str]:
        cuda, name = cuda_of(self.device), self.dtypes[0]
        gpu = f"{cuda} {name} with copies"
        if not cuda or not measured.xs(gpu):
            return [], "not decided", "No GPU was measured."
        n = measured.xs(gpu)[0]
        parts = [
            f"{words} {took(found)}"
            for words, curve in (("handing a product over takes", f"{cuda} {name} launch"), ("having it", f"{cuda} {name}"), ("with copies", gpu))
            if (found := measured.seconds(curve, n))
        ]
        sentences = [f"On the GPU at n = {n:g}: {', '.join(parts)}."]
        cpu = max((_cpu(name, count) for count in one_and_all(self.threads)), key=lambda curve: _fastest(measured, curve))
        for curve in (f"{cuda} {name}", gpu):
            crossed = crossing(measured, curve, cpu)
            if crossed is None:
                sentences.append(f"{curve} does not pass {cpu} up to n = {measured.xs(curve)[-1]:g}.")
            elif crossed[0] is None:
                sentences.append(f"{curve} is faster than {cpu} from the smallest size on (n = {crossed[1]:g}).")
            else:
                sentences.append(f"{curve} passes {cpu} between n = {crossed[0]:g} and {crossed[1]:g}.")
        small, large = measured.speedup(gpu, cpu, measured.xs(gpu)[0]), measured.speedup(gpu, cpu, measured.xs(gpu)[-1])
        if small is None or large is None:
            return sentences, "not decided", "The smallest or the largest size was not measured on both."
        first, last = measured.xs(gpu)[0], measured.xs(gpu)[-1]
        reason = f"Copies counted, {cuda} is {ratio(small)} as fast as {cpu} at n = {first:g}, {ratio(large)} at n = {last:g}."
        if not_faster(small) and faster(large):
            return sentences, "met", reason
        return sentences, "refuted" if faster(small) or not_faster(large) else "not decided", reason

    def not_shown(self) -> tuple[str, ...]:
        if cuda_of(self.device):
            return ()
        why = "device = cpu leaves the GPU out" if self.device == "cpu" else "torch finds no CUDA GPU here"
        return (f"{why[0].upper()}{why[1:]}: the crossover of CPU and GPU, copies and launches were not measured.",)


def operands(n: int, dtypes: Iterable[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """The same two matrices (n, n) in each number format, on the host."""
    a_NN, b_NN = drawn(n, n, seed=1), drawn(n, n, seed=2)
    return {name: (a_NN.to(getattr(torch, name)), b_NN.to(getattr(torch, name))) for name in dtypes}


def _product(name: str, device: str = "cpu") -> Callable[[Any], Callable[[], Tensor]]:
    def build(shared: dict[str, tuple[Tensor, Tensor]]) -> Callable[[], Tensor]:
        a_NN, b_NN = (operand.to(device) for operand in shared[name])
        return lambda: a_NN @ b_NN  # (1)

    return build


def _product_with_copies(name: str, device: str) -> Callable[[Any], Callable[[], Tensor]]:
    def build(shared: dict[str, tuple[Tensor, Tensor]]) -> Callable[[], Tensor]:
        a_NN, b_NN = shared[name]
        return lambda: (a_NN.to(device) @ b_NN.to(device)).cpu()

    return build


def _cpu(name: str, threads: int) -> str:
    return f"cpu {name}, {threads_words(threads)}"


def _fastest(measured: Measured, curve: str) -> float:
    return max((found.value for x in measured.xs(curve) if (found := measured.rate(curve, x))), default=0.0)


@certificate("The product equals its definition, sum by sum", tolerance=1e-5)
def by_definition(trial: Trial) -> float:
    """Error of the product in the trial's number format against (1) in double precision on the same numbers."""
    n, dtype = trial.width, getattr(torch, trial.dtype)
    a_NN, b_NN = (drawn(n, n, seed=trial.seed + i).to(trial.device, dtype) for i in (1, 2))
    exact_NN = (a_NN.cpu().double()[:, :, None] * b_NN.cpu().double()[None]).sum(1)
    return relative_error((a_NN @ b_NN).cpu().double(), exact_NN)
