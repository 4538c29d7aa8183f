"""What the techniques that pack weights after training share: which matrices, the swap, what is said of it, and the way back from the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch
from pydantic import field_validator
from torch import Tensor, nn

from engines.api import Context, Matches, Technique, param
from engines.toolbox.packed import GridMatrix, Kind, StoredMatrix, bytes_of, matrices_of, record_of, restored, store
from engines.toolbox.quantisers import Granularity, Range, Scheme

FLOAT = "Products are computed in float from the unpacked weights: bytes are saved, operations and time are not (simulated in speed)."


class Packing(Technique):
    """A technique that stores matrices in fewer bits. A subclass says by `compress` how each is rounded."""

    replaces: ClassVar[tuple[str, ...]] = ("Linear", "LSTM", "GRU", "Conv1d", "Conv2d", "Embedding", "LookupTable")
    after: ClassVar[tuple[str, ...]] = ("pruning/magnitude", "pruning/structured")

    types: tuple[Kind, ...] = param(("Linear", "LSTM", "GRU", "Conv1d", "Conv2d"), "Types of modules whose matrices are packed.")
    include: tuple[str, ...] = param(("*",), "Patterns over full module names (* matches anything); one must match.")
    exclude: tuple[str, ...] = param((), "Patterns over full module names; none may match.")
    keep_unpacked: bool = param(
        False, "Unpack once, at the first call, and keep the floats: the speed and memory of a float model, a small file. Else at each call."
    )

    def matches(self, module: nn.Module, text: Sequence[Any] = ()) -> Matches:
        weights, skipped = matrices_of(module, self.types, self.include, self.exclude)
        return Matches(tuple(weights), tuple(f"{each} is skipped." for each in skipped))

    def prepare(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> str:
        """Changes weights without changing the model, before they are rounded; what is to be said of it, or nothing."""
        return ""

    def compress(self, module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> tuple[dict[str, StoredMatrix], str]:
        """A stored form of each matrix, and what is to be said beside its size: sentences, or nothing. Tied weights share one form."""
        raise NotImplementedError

    def finish(self, module: nn.Module, ctx: Context) -> tuple[nn.Module, dict[str, Any]]:
        """The module with its matched children in packed form; the record describes each matrix."""
        module.eval()
        weights, skipped = matrices_of(module, self.types, self.include, self.exclude)
        left = f" Skipped: {', '.join(skipped)}." if skipped else ""
        if not weights:
            ctx.effect(
                f"Nothing was quantised: no {' or '.join(self.types)} of the model matches include = {list(self.include)} and exclude = "
                f"{list(self.exclude)}.{left}"
            )
            return module, {"matrices": {}}
        shared, size = _shared_outside(module, weights), bytes_of(module)
        weights = _separated(module, weights, ctx)
        prepared = self.prepare(module, weights, ctx)
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        matrices, said = self.compress(module, weights, ctx)
        said = " ".join(part for part in (prepared, said) if part)
        for matrix in matrices.values():
            matrix.kept = self.keep_unpacked
        store(module, matrices)
        sentence, figures = told(before, matrices)
        now = bytes_of(module)
        ctx.effect(
            f"{sentence} {size / 2**20:.2f} MiB of the model became {now / 2**20:.2f}. {said + ' ' if said else ''}{FLOAT}{shared}{left}",
            **figures, bytes_before=size, bytes_after=now,
        )  # fmt: skip
        return module, record_of(matrices)

    def restore(self, module: nn.Module, record: dict[str, Any]) -> nn.Module:
        """The same structure with room for the codes that a state_dict brings."""
        return restored(module, record)


class GridPacking(Packing):
    """Packing on linear grids."""

    bits: int = param(4, "Bits of a weight.", unit="bits", symbol="b", ge=2, le=8)
    symmetric: bool = param(True, "A grid centred on zero; else one that moves with the range (affine, with a zero point).")
    granularity: Granularity = param("group", "What shares a scale: the matrix, a row (output channel), or a group along a row.")
    group_size: int = param(64, "Members of a group, along the inputs.", symbol="g", ge=1)
    layer_bits: dict[str, int] = param({}, "Pattern over full parameter names -> bits of what matches, in place of `bits`. A later match wins.")
    range: Range = param("min_max", "Range of a grid: all its weights, all but a thousandth at each end, or the one with the least squared error.")
    half_scales: bool = param(False, "Store scales in 16 bits, not 32.")

    @field_validator("layer_bits")
    @classmethod
    def _bits_that_there_are(cls, layer_bits: dict[str, int]) -> dict[str, int]:
        return legal_bits(layer_bits, 2)

    def scheme(self, name: str) -> Scheme:
        """The grid of one matrix."""
        return Scheme(bits_for(name, self.layer_bits, self.bits), self.symmetric, self.granularity, self.group_size, self.range, self.half_scales)


def bits_for(name: str, layer_bits: Mapping[str, int], otherwise: int) -> int:
    """Bits of the matrix of this full name; the last pattern that matches wins."""
    return next((bits for pattern, bits in reversed(list(layer_bits.items())) if fnmatchcase(name, pattern)), otherwise)


def legal_bits(layer_bits: dict[str, int], least: int) -> dict[str, int]:
    """The same; raises ValueError with a sentence for a width that codes cannot have."""
    for pattern, bits in layer_bits.items():
        if not least <= bits <= 8:
            raise ValueError(f'"{pattern}" is given {bits} bits: codes have {least} to 8.')
    return layer_bits


def relative(error: Tensor, reference: Tensor) -> float:
    """Frobenius norm of an error over that of what it is the error of; 0 where both are nothing."""
    norm = float(reference.detach().double().norm())
    return float(error.detach().double().norm()) / norm if norm else 0.0


@torch.no_grad()
def told(before: Mapping[str, Tensor], matrices: Mapping[str, StoredMatrix]) -> tuple[str, dict[str, float]]:
    """Sizes and errors of the stored matrices: a sentence, and figures with those of each layer. Tied ones are counted once."""
    errors = {name: relative(matrix.dense().to(before[name].device) - before[name].flatten(1), before[name]) for name, matrix in matrices.items()}
    single = {id(matrix): (name, matrix) for name, matrix in reversed(list(matrices.items()))}.values()
    weights = sum(matrix.rows * matrix.columns for _, matrix in single)
    stored_bytes = sum(matrix.bytes() for _, matrix in single)
    code_bits = sum(matrix.rows * matrix.columns * matrix.bits for _, matrix in single) / weights
    worst = max(errors, key=errors.__getitem__)
    whole = sum((errors[name] * float(before[name].double().norm())) ** 2 for name, _ in single)
    error = (whole / (sum(float(before[name].double().norm()) ** 2 for name, _ in single) or 1.0)) ** 0.5
    figures: dict[str, float] = {
        "modules": len({name.rpartition(".")[0] for name in matrices}), "weights": weights, "bits": 8 * stored_bytes / weights,
        "code_bits": code_bits, "stored_bytes": stored_bytes, "relative_error": error,
    }  # fmt: skip
    figures |= {f"error {name}": value for name, value in errors.items()}
    figures |= {f"bits {name}": 8 * matrix.bytes() / (matrix.rows * matrix.columns) for name, matrix in matrices.items()}
    return (
        f"{weights:,} weights in {figures['modules']} modules take {figures['bits']:.2f} bits each as stored ({code_bits:.3g} of them codes, the "
        f"rest scales and padding). Error of the weights {error:.2%}, at most {errors[worst]:.2%} ({worst}).",
        figures,
    )


def grid_matrices(quantised: Mapping[str, Any]) -> dict[str, StoredMatrix]:
    """`GridMatrix` of each `Quantised`; one that stands under two names is packed once."""
    made: dict[int, StoredMatrix] = {}
    return {name: made.setdefault(id(each), GridMatrix.of(each)) for name, each in quantised.items()}


def once_each(weights: Mapping[str, nn.Parameter]) -> dict[str, str]:
    """{name: the first name of the same weight}: tied weights stand under several."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(weight), name) for name, weight in weights.items()}


def _separated(module: nn.Module, weights: Mapping[str, nn.Parameter], ctx: Context) -> dict[str, nn.Parameter]:
    """The weights by name, where those that a module outside shares are copies of their own now: what is done to them is not done to that module.
    An optimizer that moved the shared one moves the copy too, with the same memory."""
    outside = {id(p) for name, p in module.named_parameters(remove_duplicate=False) if name not in weights}
    copies = {id(weight): nn.Parameter(weight.detach().clone(), weight.requires_grad) for weight in weights.values() if id(weight) in outside}
    for name, weight in weights.items():
        if id(weight) in copies:
            owner, _, own = name.rpartition(".")
            setattr(module.get_submodule(owner), own, copies[id(weight)])
    with suppress(RuntimeError):  # a model that was not trained by steps has no optimizer
        for group in ctx.optimizer.param_groups:
            for weight in [each for each in group["params"] if id(each) in copies]:
                group["params"].append(copies[id(weight)])
                ctx.optimizer.state[copies[id(weight)]] = deepcopy(ctx.optimizer.state[weight])
    return {name: copies.get(id(weight), weight) for name, weight in weights.items()}


def _shared_outside(module: nn.Module, weights: Mapping[str, nn.Parameter]) -> str:
    """What stays behind in float where a packed weight is tied to a module that is not packed."""
    packed = {id(weight): name for name, weight in weights.items()}
    others = [
        f" {name} keeps the float table that {packed[id(p)]} was tied to, which has codes of its own."
        for name, p in module.named_parameters(remove_duplicate=False)
        if id(p) in packed and name not in weights
    ]
    return "".join(others)
