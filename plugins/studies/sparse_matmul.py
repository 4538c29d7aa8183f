"""From how many zeros on does a sparse format pay?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor

from engines.api import Axis, BreakEven, Cell, Conclusion, Group, Measured, Study, Text, Trial, certificate, param
from engines.toolbox.sparse import Format, as_format, operands, sparse_product, unavailable_2_4
from engines.toolbox.studies import Verdict, amount, break_even, cuda_of, faster, not_faster, ratio
from engines.toolbox.trials import relative_error

BLOCK = 16
TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.02}
"""Largest error relative to the largest entry: sums have some thousand terms, added in another order."""
TITLES: dict[Format, str] = {"csr": "CSR", "bsr": f"BSR {BLOCK} x {BLOCK}", "2:4": "2:4 float16"}
JUDGED = 0.1
"""The density at which the expectation is held against the figures."""


class SparseMatmul(Study):
    """Sparse against dense products

    A linear layer with the matrix W (N, N), of which a share d is not zero, on B rows x:

        dense   Y = X W^T                                         2 B N^2 operations           (1)
        CSR     y_o = sum over the stored W_oi of row o, W_oi x_i      2 d B N^2 operations, an index for each number        (2)
        BSR     (2) on blocks of 16 x 16, stored whole            2 d B N^2 operations, an index for each block      (3)
        2:4     two of each four numbers in a row are stored      only d = 1/2, only where CUDA has it       (4)

    Each format is held against (1) on the very same matrix: zeros at random for CSR, whole blocks of them for BSR. The break-even density is
    where the two take as long, on a straight line between the densities measured beside it (logarithms of both): with fewer weights left the
    format is faster. Its interval ends where the limits of the ratio cross 1. The speed counts the operations of (1) for all, so that a curve is
    twice as high where a product takes half the time.

    Symbols: d density, B rows, N width.
    Cost: the dense product reads 4 N^2 bytes, CSR 8 to 12 d N^2: it pays from memory alone below d = 1/3 to 1/2, the kernel permitting.
    Does nothing when: never; formats that this machine lacks are left out, with the reason.
    """

    paper: ClassVar[str] = (
        "Gale, Zaharia, Young and Elsen (2020), Sparse GPU Kernels for Deep Learning, https://arxiv.org/abs/2006.10901; Mishra et al. (2021), "
        "Accelerating Sparse Deep Neural Networks, https://arxiv.org/abs/2104.08378"
    )
    x = Axis("density")
    y = Axis("speed", "GFLOP/s of the dense product", better="higher", scale=1e-9)
    expects = "With a tenth of the weights left, zeros at random (CSR) are faster than the dense product, for one row as for many."

    densities: list[float] = param([0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5], "Shares of the weights that are not zero.", unit="share", symbol="d")
    batches: list[int] = param([1, 8, 64], "Rows of a batch.", unit="rows", symbol="B")
    widths: list[int] = param([256, 1024], f"Inputs and outputs of the layer: multiples of {BLOCK}.", symbol="N")
    threads: int = param(1, "Torch threads.", ge=1)
    device: Literal["auto", "cpu", "cuda"] = param("auto", "cpu: only the CPU; auto: a GPU too, where there is one.")

    @model_validator(mode="after")
    def _sizes_fit(self) -> SparseMatmul:
        if not (self.densities and self.batches and self.widths):
            raise ValueError("densities, batches and widths must each name at least one")
        if wrong := [density for density in self.densities if not 0 < density <= 1]:
            raise ValueError(f"densities are shares above 0 and at most 1, not {wrong[0]:g}")
        if wrong := [batch for batch in self.batches if batch < 1]:
            raise ValueError(f"batches have at least 1 row, not {wrong[0]}")
        if wrong := [width for width in self.widths if width < BLOCK or width % BLOCK]:
            raise ValueError(f"widths are multiples of {BLOCK}, the side of a block, not {wrong[0]}")
        return self

    def groups(self, text: Text | None) -> Iterable[Group]:
        return [self._group(density, *each) for density in sorted(set(self.densities)) for each in self.pairs() if each[0] != "2:4" or density == 0.5]

    def pairs(self) -> list[tuple[Format, str, int, int]]:
        """(format, device, width, batch) of every pair of curves."""
        cuda = cuda_of(self.device)
        sizes = list(product(sorted(set(self.widths)), sorted(set(self.batches))))
        formats: list[tuple[Format, str]] = [("csr", "cpu"), ("bsr", "cpu")]
        if cuda:
            formats += [("csr", cuda), ("bsr", cuda), *([] if unavailable_2_4() else [("2:4", cuda)])]  # type: ignore[list-item]
        return [(format, device, *size) for format, device in formats for size in sizes]

    def _group(self, density: float, format: Format, device: str, width: int, batch: int) -> Group:
        """The dense product and the format on the same matrix. Of the dense ones with the same sizes, the one beside CSR is a curve."""
        dtype = torch.float16 if format == "2:4" else torch.float32
        size = 12 * width * width + 8 * batch * width
        fields: dict[str, Any] = {"work": 2.0 * batch * width * width, "tolerance": TOLERANCE[dtype]}
        fields |= {"device": device, "device_bytes": size} if device != "cpu" else {"threads": self.threads, "host_bytes": size}
        dense, sparse = curves(format, device, width, batch)
        cells = (
            Cell(dense, partial(_dense, device), shown=format != "bsr", **fields),
            Cell(sparse, partial(_sparse, format, device), **fields),
        )
        return Group(density, cells, lambda: operands(density, width, batch, format, BLOCK, dtype), size, TOLERANCE[dtype])

    def conclude(self, measured: Measured) -> Conclusion:
        findings, found = [], []
        for format, device, width, batch in self.pairs():
            dense, sparse = curves(format, device, width, batch)
            ratios = [(x, ratio_) for x in measured.xs(sparse) if (ratio_ := measured.speedup(sparse, dense, x))]
            if not ratios:
                continue
            threads = self.threads if device == "cpu" else 0
            if format == "2:4":
                findings.append(f"{sparse}: {ratio(ratios[0][1])} as fast as the dense product in float16.")
                continue
            even = break_even(ratios)
            found.append(BreakEven(TITLES[format], device, threads, batch, width, *even, ratios[0][0], ratios[-1][0]))
            findings.append(_told(sparse, found[-1], ratios))
        return Conclusion(tuple(findings), *self._judge(measured), break_even=tuple(found))

    def _judge(self, measured: Measured) -> tuple[Verdict, str]:
        """By CSR on the CPU at the density that is nearest to a tenth."""
        told: list[tuple[Verdict, str]] = []
        for format, device, width, batch in self.pairs():
            dense, sparse = curves(format, device, width, batch)
            xs = measured.xs(sparse)
            if (format, device) != ("csr", "cpu") or not xs:
                continue
            x = min(xs, key=lambda x: abs(x - JUDGED))
            found = measured.speedup(sparse, dense, x)
            if found:
                verdict: Verdict = "met" if faster(found) else "refuted" if not_faster(found) else "not decided"
                told.append((verdict, f"batch {batch}, {width} x {width}: {ratio(found)} at d = {x:g}"))
        if not told:
            return "not decided", "CSR was not measured on the CPU."
        order: tuple[Verdict, ...] = ("refuted", "not decided", "met")
        worst = next(verdict for verdict in order if any(verdict == each for each, _ in told))
        return worst, f"CSR as fast as dense, {'; '.join(sentence for verdict, sentence in told if verdict == worst)}."

    def not_shown(self) -> tuple[str, ...]:
        if not cuda_of(self.device):
            why = "device = cpu leaves the GPU out" if self.device == "cpu" else "torch finds no CUDA GPU here"
            return (f"{why[0].upper()}{why[1:]}: formats on a GPU, and 2:4, which only GPUs multiply, were not measured.",)
        lacking = unavailable_2_4() or ("" if 0.5 in self.densities else "densities has no 0.5, which is that of 2:4.")
        return (f"2:4 was not measured: {lacking}",) if lacking else ()


def curves(format: Format, device: str, width: int, batch: int) -> tuple[str, str]:
    """Names of the dense product and of the format beside it."""
    where = f"{'' if device == 'cpu' else f', {device}'}, batch {batch}, {width} wide"
    beside = {"csr": "dense", "bsr": "dense on blocks", "2:4": "dense float16"}[format]
    return f"{beside}{where}", f"{TITLES[format]}{where}"


def _dense(device: str, shared: tuple[Tensor, Tensor]) -> Callable[[], Tensor]:
    x_BI, w_OI = (operand.to(device) for operand in shared)
    return lambda: F.linear(x_BI, w_OI)  # (1)


def _sparse(format: Format, device: str, shared: tuple[Tensor, Tensor]) -> Callable[[], Tensor]:
    x_BI, w_OI = (operand.to(device) for operand in shared)
    stored = as_format(w_OI, format, BLOCK)
    return lambda: sparse_product(x_BI, stored)  # (2), (3), (4)


def _told(curve: str, even: BreakEven, ratios: list[tuple[float, Any]]) -> str:
    """One sentence of the break-even table."""
    (first, best), (last, worst) = ratios[0], ratios[-1]
    if even.density is not None:
        limits = " to ".join("?" if limit is None else f"{limit:.1%}" for limit in (even.low, even.high))
        return f"{curve}: as fast as dense with {even.density:.1%} of the weights left [{limits}], faster with fewer; {ratio(best)} at d = {first:g}."
    if even.always:
        return f"{curve}: faster than dense at every density measured, {ratio(worst)} at d = {last:g} still."
    return f"{curve}: faster than dense at no density measured, {amount(best.value)}x at d = {first:g}."


@certificate(
    "CSR and BSR compute the dense product on the same matrix, for one row and for several", tolerance=1e-5
)
def equals_dense(trial: Trial) -> float:
    """Largest error, over densities from nearly none to all."""
    dtype, width = getattr(torch, trial.dtype), BLOCK * max(2, trial.width // BLOCK)
    worst = 0.0
    for format, density, batch in product(("csr", "bsr"), (0.02, 0.3, 1.0), (1, trial.batch + 1)):
        x_BI, w_OI = (operand.to(trial.device) for operand in operands(density, width, batch, format, BLOCK, dtype))  # type: ignore[arg-type]
        found = sparse_product(x_BI, as_format(w_OI, format, BLOCK))  # type: ignore[arg-type]
        worst = max(worst, relative_error(found, F.linear(x_BI, w_OI)))
    return worst
