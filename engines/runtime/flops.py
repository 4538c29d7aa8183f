"""Work of a callable: operations by torch's counter and our formulas, bytes moved, and the names of heavy operators that nobody has a formula
for.

One multiply-add counts as two operations; element-wise work is not counted, as is usual. The model of bytes is that of `traffic`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from engines.runtime.formulas import FORMULAS, skipped_share
from engines.runtime.traffic import moved, size, tensors


@dataclass(frozen=True)
class Work:
    """flops: nominal, as the operators are defined. executed_flops: without what kernels skip (pairs behind a causal mask, zeros that a sparse
    layout does not store). bytes: read and written. operators: calls that moved any. uncounted: heavy operators without a formula (name ->
    calls), which are in no count of operations.
    """

    flops: int
    executed_flops: int
    bytes: int
    operators: int
    uncounted: dict[str, int]

    def __add__(self, more: Work) -> Work:
        """Both together."""
        return Work(
            self.flops + more.flops, self.executed_flops + more.executed_flops, self.bytes + more.bytes,
            self.operators + more.operators, dict(Counter(self.uncounted) + Counter(more.uncounted)),
        )  # fmt: skip

    def __sub__(self, earlier: Work) -> Work:
        """What was done since `earlier`."""
        return Work(
            self.flops - earlier.flops, self.executed_flops - earlier.executed_flops, self.bytes - earlier.bytes,
            self.operators - earlier.operators, dict(Counter(self.uncounted) - Counter(earlier.uncounted)),
        )  # fmt: skip


NOTHING = Work(0, 0, 0, 0, {})


@dataclass(frozen=True)
class Operation:
    """One call of an operator that moved bytes. dtype: number format of the first tensor it took or gave that holds fractions ("float32")."""

    name: str
    executed_flops: float
    bytes: int
    dtype: str


def count(function: Callable[[], Any]) -> tuple[Work, Any]:
    """Run `function` and count what it does, backward passes inside it included."""
    with counting() as so_far:
        result = function()
    return so_far(), result


@contextmanager
def counting(each: Callable[[Operation], None] | None = None) -> Iterator[Callable[[], Work]]:
    """Count what is done inside; the function that it gives says what was done so far. each: is told every operator."""
    meter = _Meter(each)
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)

    def so_far() -> Work:
        nominal = counter.get_total_flops()
        return Work(nominal, nominal - round(meter.skipped), meter.bytes, meter.operators, dict(meter.uncounted))

    with counter, meter:
        yield so_far


_HEAVY = (
    "mm", "matmul", "conv", "rnn", "lstm", "gru", "fft", "attention", "linear", "dot", "sparse", "einsum", "mv", "quantized", "cdist",
    "euclidean_dist", "linalg", "cholesky", "solve", "svd", "_compute_linear_combination", "by_package",
)  # fmt: skip
_LIGHT = (
    "prepack", "make_quantized", "sparse_coo_tensor", "sparse_compressed_tensor", "sparse_csr_tensor", "sparse_dim", "sparse_mask", "to_sparse",
    "sparse_resize", "sparse_sum", "comm", "normalize", "linspace", "thnn_fused", "thnn_differentiable", "upsample", "gamma", "cummax", "cummin",
    "vector_norm", "resolve_conj", "flatten_weight", "reorder", "hamming",
)  # fmt: skip
"""Names that only look heavy: packing of weights, bookkeeping of sparse tensors, exchanges, element-wise cells whose products came before."""


class _Meter(TorchDispatchMode):
    """Bytes moved, operations that kernels skip, and operators that look heavy by name and have no formula."""

    supports_higher_order_operators = True

    def __init__(self, each: Callable[[Operation], None] | None) -> None:
        super().__init__()
        self._each = each
        self.bytes = 0
        self.operators = 0
        self.skipped = 0.0
        self.uncounted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return self._higher_order(func, args, kwargs)
        formula = _KNOWN.get(func.overloadpacket)
        if formula is None and not func.is_view:
            # As torch's counter does: an operator that is made of others is those (in inference mode they arrive whole).
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        result = func(*args, **kwargs)
        through = moved(func, args, kwargs, result)
        executed = 0.0
        if formula is None:
            name = str(func.overloadpacket)
            short = name.split(".")[-1]
            if any(word in short for word in _HEAVY) and not any(word in short for word in _LIGHT):
                self.uncounted[name] += 1
        else:
            share, nominal = skipped_share(func, args, kwargs), formula(*args, **kwargs, out_val=result)
            self.skipped += share * nominal
            executed = nominal - share * nominal
        if through:
            self.bytes += through
            self.operators += 1
            if self._each is not None:
                self._each(Operation(str(func.overloadpacket), executed, through, _format((*args, result))))
        return result

    def _higher_order(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operator whose arguments include functions (flex_attention): it has no schema, so all its tensors are read."""
        result = func(*args, **kwargs)
        self.bytes += sum(size(tensor) for tensor in tensors((*args, *kwargs.values(), result)))
        if func not in _KNOWN:
            self.uncounted[str(func)] += 1
        return result


def _format(values: Any) -> str:
    found = next((tensor for tensor in tensors(values) if tensor.is_floating_point() or tensor.is_complex()), None)
    found = found if found is not None else next(tensors(values), None)
    return "" if found is None else str(found.dtype).removeprefix("torch.")


_KNOWN: dict[Any, Any] = {**flop_registry, **FORMULAS}
